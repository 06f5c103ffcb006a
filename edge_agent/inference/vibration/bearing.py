"""A bearing's geometry comes in, the orders at which its faults strike go out."""

import math

from edge_protocol.contract import Bearing


def fault_orders(bearing: Bearing) -> dict[str, float]:
    """How often each fault strikes in one turn of the shaft, the outer ring at rest, without slip.

    With n balls of diameter d on a pitch circle D at contact angle a, and r = d / D · cos a: outer race n/2 (1 - r),
    inner race n/2 (1 + r), ball D/2d (1 - r²), cage (1 - r)/2 (Randall and Antoni, MSSP 25, 2011). A ball strikes both
    races in one turn of its own, so its second harmonic is often the strong one.
    """
    ratio = bearing.ball_mm / bearing.pitch_mm * math.cos(math.radians(bearing.contact_deg))
    return {
        "bpfo": bearing.balls / 2 * (1 - ratio),
        "bpfi": bearing.balls / 2 * (1 + ratio),
        "bsf": bearing.pitch_mm / (2 * bearing.ball_mm) * (1 - ratio**2),
        "ftf": (1 - ratio) / 2,
    }
