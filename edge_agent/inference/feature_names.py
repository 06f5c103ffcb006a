"""What the features of a window are called: a contract comes in, names go out in the order of the tensor's values."""

from itertools import pairwise

from edge_protocol.contract import WindowInput


def feature_names(contract: WindowInput) -> tuple[str, ...]:
    """A name for each feature, with its unit where it has one; none for a raw window, whose values have no names."""
    if contract.features == "log-power-spectrum":
        return _bands(contract)
    return ()


def _bands(contract: WindowInput) -> tuple[str, ...]:
    """`power 0-4 Hz`, …: as `features.log_power_spectrum` cuts the bins of the spectrum."""
    bins = contract.length // 2 + 1
    edges = [band * bins // contract.bands * contract.rate_hz / contract.length for band in range(contract.bands + 1)]
    return tuple(f"power {low:.4g}-{high:.4g} Hz" for low, high in pairwise(edges))
