"""A picture or video file comes in as if a camera showed it: each trigger gets the next frame.

Never claims to be live: its samples say `replayed`, and a frame may come again.
"""

from pathlib import Path

from edge_agent.errors import SourceError
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import VideoSource as Settings
from edge_agent.sources.folder import MAX_FILE_BYTES
from edge_agent.sources.stream import Picture, Stream, open_file
from edge_protocol.codes import Reason, Verdict

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""What a PNG and a JPEG begin with."""


class VideoSource:
    """A file that is played; its frames are counted on when it begins again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stream: Stream | _Still | None = None
        self._next: Picture | bytes | None = None
        self._number = 0
        self._detail = "it is not open"

    def open(self) -> None:
        """Open the file and read its first frame.

        Raises:
            SourceError: it is not there, or holds no picture.
        """
        self.close()
        self._rewind()
        if self._next is None:
            self.close()
            message = f"source {self._settings.name!r}: {self._settings.path} holds no picture"
            raise SourceError(message, "take a PNG, a JPEG, or a video that OpenCV reads")

    def waiting(self, mono_us: int) -> bool:  # noqa: ARG002 (a file waits for nobody)
        """Whether there is a frame left."""
        return self._next is not None

    def grab(self, trigger: Trigger) -> Sample:
        """The next frame, its part named by file and number where the line does not name it."""
        if self._next is None:
            return Sample(fault=Reason.SOURCE_FAULT, detail=f"{self._settings.path}: {self._detail}")
        self._number += 1
        picture = self._next
        self._advance()
        part = trigger.part or f"{self._settings.path.stem}-{self._number:06d}"
        number = self._number if trigger.number is None else trigger.number
        return Sample({"image": Channel(picture, trigger.mono_us)}, part=part, number=number, replayed=True)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._next, self._detail = None, None, "it is closed"

    def _advance(self) -> None:
        """Read one frame ahead, so that `waiting` knows whether there is one."""
        self._next = self._stream.read() if self._stream is not None else None
        if self._next is None and self._settings.loop:
            try:
                self._rewind()
            except SourceError as error:
                self._detail = str(error)
        elif self._next is None:
            self._detail = "it has been played to its end"

    def _rewind(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._stream = _open(self._settings.path)
        self._next = self._stream.read()


class _Still:
    """A picture as a film of one frame, encoded: whoever decodes it checks it as every other picture."""

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data

    def read(self) -> bytes | None:
        data, self._data = self._data, None
        return data

    def close(self) -> None:
        self._data = None


def _open(path: Path) -> Stream | _Still:
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head.startswith(_PICTURES):
                return _Still(head + file.read(MAX_FILE_BYTES))
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise SourceError(message, "correct `path`") from error
    return open_file(path)
