"""What comes in from the line: a trigger says that a part is there, a sample is what was seen or heard of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_protocol.codes import Reason


@dataclass(frozen=True, slots=True)
class Trigger:
    """One part to judge. `(epoch, n)` is ours and never repeats; part, product and lot are the line's, if any.

    `number` is the source's own of this part, where it counts them.
    """

    epoch: int
    n: int
    at_us: int
    mono_us: int
    part: str = ""
    product: str = ""
    lot: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One named stream of a sample with the time it was taken.

    `data` is what the source delivered: encoded bytes (a picture, a .npy window), a uint8 picture [h, w, 3] in BGR
    or [h, w] in grey, or a float window [length].
    """

    data: bytes | npt.NDArray[np.uint8] | npt.NDArray[np.float64]
    mono_us: int
    missing: int = 0
    """Values that the source knows to be missing in this window; where they belong stands NaN or a filling."""

    taken_us: int | None = None
    """The source's own time of capture, from whatever beginning."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source gives for one trigger. `fault` says why there is nothing to judge, where there is nothing.

    `number` is the source's own count of parts: a hole in it is parts that were lost; it may repeat or begin again.
    """

    channels: Mapping[str, Channel] = field(default_factory=dict)
    part: str = ""
    product: str = ""
    lot: str = ""
    number: int | None = None
    fault: Reason = Reason.NONE
    detail: str = ""
    replayed: bool = False

    @property
    def size_bytes(self) -> int:
        """What its channels hold of the memory."""
        held = (channel.data for channel in self.channels.values())
        return sum(len(data) if isinstance(data, bytes) else data.nbytes for data in held)


@dataclass(frozen=True, slots=True)
class Look:
    """What a guard sees of a decoded input. Its arrays are lent: they hold something else after the next input.

    `values` are every s-th row of a picture, or the window or tensor itself; `luma` are the same rows in grey, None
    where the input is no picture. `signals` are the monitored quantities, `at_us` our time of capture.
    """

    values: npt.NDArray[Any]
    luma: npt.NDArray[np.uint8] | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    at_us: int = 0
    taken_us: int | None = None
    missing: int = 0
    replayed: bool = False
