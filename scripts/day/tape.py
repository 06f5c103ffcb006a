"""The verdicts of gateways as the line was told them: lines of JSON are read as they are appended."""

from collections.abc import Iterator
from pathlib import Path

import msgspec


class Told(msgspec.Struct, frozen=True):
    """What the line was told of one part."""

    trigger: int
    verdict: str
    reason: str
    score: float | None
    latency_ms: float


class Tape:
    """The file output of one gateway: `read` gives what came since the last call, never half a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.verdicts: dict[int, str] = {}

    def read(self) -> list[Told]:
        """The new lines; `verdicts` has what was said of each trigger so far."""
        new = list(self._lines())
        self.verdicts |= {told.trigger: told.verdict for told in new}
        return new

    def _lines(self) -> Iterator[Told]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            if (told := _parse(line)) is not None:
                yield told


def _parse(line: bytes) -> Told | None:
    """A killed gateway may leave half a line, which its successor ends."""
    try:
        return msgspec.json.decode(line, type=Told)
    except msgspec.MsgspecError:
        return None
