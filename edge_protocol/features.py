"""What the features of a window are called, in the order of the tensor's values: a contract comes in, names go out.

Pure data, and a part of the specification: reasons, references and weights speak of features by these names.
"""

import math
from itertools import pairwise

from edge_protocol.contract import Vibration, WindowInput

TIME = (
    "mean",
    "rms",
    "peak",
    "peak_to_peak",
    "std",
    "skewness",
    "kurtosis",
    "crest",
    "shape",
    "impulse",
    "clearance",
)
VELOCITY = "velocity_rms_mm_s"
SPECTRUM = ("spectral_centroid_hz", "spectral_entropy")
ORDERS = ("order_1", "order_2", "order_3")
MESH = ("mesh_1", "mesh_2", "mesh_sidebands")
ENVELOPE = ("envelope_rms", "envelope_kurtosis")
FAULTS = ("bpfo", "bpfi", "bsf", "ftf")
"""Of a bearing: outer race, inner race, ball, cage."""

FAULT_PARTS = ("1", "2", "3", "sidebands", "prominence")
SPEED = "speed_hz"

FIRST_BIN = 4
"""Of the spectrum, where the lowest band begins: below it a window has hardly four periods."""


def feature_names(contract: WindowInput) -> tuple[str, ...]:
    """A name for each feature, with its unit where it has one; none for a raw window, whose values have no names."""
    if contract.features == "raw":
        return ()
    if contract.features == "vibration":
        return _vibration(contract, contract.vibration or Vibration())
    return _bands(_equal_bins(contract.length, contract.bands), contract)


def is_speed_known(vibration: Vibration) -> bool:
    """Whether orders, gears and bearings can be looked for."""
    return bool(vibration.shaft_hz or vibration.speed_channel)


def log_bins(length: int, bands: int) -> tuple[int, ...]:
    """Where logarithmic bands of a spectrum of `length // 2 + 1` bins begin, and where the last one ends."""
    end = length // 2 + 1
    edges = [FIRST_BIN]
    for band in range(1, bands):
        wanted = round(FIRST_BIN * math.exp(math.log(end / FIRST_BIN) * band / bands))
        edges.append(max(wanted, edges[-1] + 1))
    return (*edges, end)


def _vibration(contract: WindowInput, vibration: Vibration) -> tuple[str, ...]:
    is_known = is_speed_known(vibration)
    of_one = (
        *TIME,
        VELOCITY,
        *_bands(log_bins(contract.length, vibration.bands), contract),
        *SPECTRUM,
        *(ORDERS if is_known else ()),
        *(MESH if vibration.gear_teeth else ()),
        *ENVELOPE,
        *((f"{fault}_{part}" for fault in FAULTS for part in FAULT_PARTS) if vibration.bearing else ()),
    )
    axes = (contract.channel, *vibration.axes)
    of_all = of_one if len(axes) == 1 else tuple(f"{axis} {name}" for axis in axes for name in of_one)
    return (*of_all, *((SPEED,) if vibration.speed_channel else ()), *vibration.context)


def _equal_bins(length: int, bands: int) -> tuple[int, ...]:
    return tuple(band * (length // 2 + 1) // bands for band in range(bands + 1))


def _bands(bins: tuple[int, ...], contract: WindowInput) -> tuple[str, ...]:
    """`power 0-4 Hz`, …: from where each band begins up to where the next one does."""
    edges = [each * contract.rate_hz / contract.length for each in bins]
    return tuple(f"power {low:.5g}-{high:.5g} Hz" for low, high in pairwise(edges))
