"""A velocity and the limits of a machine come in, the letter of its zone goes out.

The limits stand in the bundle: which of a standard's groups a machine belongs to is decided where the bundle is made.
"""

ZONES = "ABCD"


def zone(velocity_mm_s: float, limits_mm_s: tuple[float, float, float]) -> str:
    """A below the first limit, as new; B, C: not for long; D from the last: damage."""
    return ZONES[sum(velocity_mm_s >= limit for limit in limits_mm_s)]
