"""What is kept of one verdict so that it can be told and shown later, and how its files are called.

Pure data: a shelf and a ring keep it, `explain` tells it.
"""

from pathlib import Path

import msgspec

from edge_protocol.messages import Explanation

FOLDER = "exhibits"
"""In the gateway's data directory."""

WINDOWS = "windows.ring"


class Exhibit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One verdict, what judged it, and why.

    `accept` and `reject` are the thresholds it was judged by; `picture` is the file beside this one, and `no_picture`
    says why there is none; areas are in `area_unit`. After `until_us` nothing of it may be kept; 0: for as long as
    there is room.
    """

    at_us: int
    verdict: str
    reason: str
    bundle: str
    version: str
    digest: str
    variant: str
    accept: float
    reject: float
    explanation: Explanation
    part: str = ""
    operating_point: str = ""
    value: float | None = None
    unit: str = ""
    area_unit: str = "px"
    severity: str = ""
    picture: str = ""
    no_picture: str = ""
    until_us: int = 0

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        return file_name(self.explanation.epoch, self.explanation.trigger, self.explanation.pipeline)


def file_name(epoch: int, trigger: int, pipeline: str) -> str:
    """How the files of an exhibit are called, without ending."""
    return f"{epoch}-{trigger}-{pipeline}"


def read_exhibit(path: Path) -> Exhibit | None:
    """The exhibit in a file; None where there is none, or one that cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Exhibit)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
