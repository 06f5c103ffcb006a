"""A file, a device or a URL comes in, BGR frames go out one after the other. The only file that opens a VideoCapture.

Never waits longer than it was told to, and never prints what a URL holds of secrets: OpenCV's and FFmpeg's words are
shut off.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import SourceError
from edge_agent.settings import CameraSource

Picture: TypeAlias = npt.NDArray[np.uint8]

_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
"""Where OpenCV looks for the transport of RTSP: one for the whole process, so all cameras of a gateway share it."""

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


CATCH_UP_S = 1.0
"""Longest to pass frames over: what comes faster than its own stamps for so long has stamps that mean nothing."""

_WINDOW_S = 30.0


class Stream(Protocol):
    """Frames of something that is open. `tests/edge_agent/sources/test_stream_contract.py` holds the contract.

    - `read` answers with the next frame, or with None when there is none and none will come: open another.
    - It may raise SourceError instead, where the cause is known.
    - Each frame is an array of its own: what was read earlier does not change.
    - One thread reads and closes; `close` may be called twice.
    """

    def read(self) -> Picture | None:
        """The next frame [h, w, 3] in BGR; None at the end, and when the other side was silent for too long."""

    def close(self) -> None:
        """Let go of it."""


OpenStream: TypeAlias = Callable[[], Stream]
"""Opens a stream. Raises SourceError when it cannot be opened."""


class Capture:
    """A stream that OpenCV reads."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def read(self) -> Picture | None:
        """The next frame; None at the end, for whatever reason."""
        try:
            is_there, picture = self._capture.read()
        except cv2.error:
            return None
        return np.asarray(picture, np.uint8) if is_there and picture.size else None

    def close(self) -> None:
        """Close the file, device or connection."""
        self._capture.release()


class Delay:
    """How much later frames come than they did at their best lately, by the stamps of their camera."""

    def __init__(self) -> None:
        self._best_s = self._before_s = math.inf
        self._since_s = -math.inf

    def see(self, came_s: float, taken_s: float) -> float:
        """The lag of a frame. Of two windows the best: two clocks drift apart, and nobody sets them."""
        delay_s = came_s - taken_s
        if came_s - self._since_s > _WINDOW_S:
            self._before_s, self._best_s, self._since_s = self._best_s, delay_s, came_s
        self._best_s = min(self._best_s, delay_s)
        return delay_s - min(self._best_s, self._before_s)


class LiveCapture(Capture):
    """A stream over the network, of which only frames are given that come when they are taken.

    While it is opened FFmpeg collects frames, and then gives them all at once; where the reader cannot keep up they
    wait for it. Nothing tells that they are of the past but their own pace, so that is watched.
    """

    def __init__(
        self, capture: cv2.VideoCapture, max_lag_s: float = 0.0, now_s: Callable[[], float] = monotonic
    ) -> None:
        """`max_lag_s` is for streams with stamps of the camera; 0: they are not looked at."""
        super().__init__(capture)
        self._max_lag_s = max_lag_s
        self._now_s = now_s
        self._delay = Delay()
        self._is_live = False

    def read(self) -> Picture | None:
        """The next frame; what is of the past is passed over.

        Raises:
            SourceError: all of it is of the past.
        """
        picture = super().read()
        if not self._is_live:
            picture = self._catch_up(picture)
        return self._keep_up(picture) if self._max_lag_s else picture

    def _catch_up(self, picture: Picture | None) -> Picture | None:
        """The first frame that came at its own pace."""
        came_s, taken_s, end_s = self._now_s(), self._taken_s(), self._now_s() + CATCH_UP_S
        while picture is not None and not self._is_live:
            picture = super().read()
            before_s, taken_before_s = came_s, taken_s
            came_s, taken_s = self._now_s(), self._taken_s()
            step_s = taken_s - taken_before_s
            self._is_live = step_s <= 0 or came_s - before_s >= step_s / 2 or came_s > end_s
        return picture

    def _keep_up(self, picture: Picture | None) -> Picture | None:
        end_s = self._now_s() + CATCH_UP_S
        while picture is not None and (lag_s := self._delay.see(self._now_s(), self._taken_s())) > self._max_lag_s:
            if self._now_s() > end_s:
                message = f"its frames come {lag_s:.1f} s late"
                raise SourceError(
                    message, "ask the camera for fewer or smaller ones; `max_lag_ms` if its stamps are wrong"
                )
            picture = super().read()
        return picture

    def _taken_s(self) -> float:
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def open_file(path: Path) -> Stream:
    """The frames of a video file.

    Raises:
        SourceError: it is not there, or is no video that can be read.
    """
    if not path.is_file():
        message = f"there is no file {path}"
        raise SourceError(message, "correct `path`")
    # One thread: with more of them FFmpeg holds back as many frames as it has threads.
    return Capture(_capture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1], str(path)))


def open_camera(settings: CameraSource) -> Stream:
    """The frames of a camera, live.

    Raises:
        SourceError: it cannot be reached, is in use, refuses us, or its password's file cannot be read.
    """
    if "://" not in settings.url:
        return _open_device(settings)
    password = _read_secret(settings.password_file) if settings.password_file is not None else ""
    wanted = [
        (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(settings.open_s * 1000)),
        (cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.silent_s * 1000)),
        (cv2.CAP_PROP_N_THREADS, 1),
    ]
    options = f"rtsp_transport;{settings.transport}"
    if os.environ.get(_FFMPEG_OPTIONS) != options:
        os.environ[_FFMPEG_OPTIONS] = options
    url = _with_user(settings.url, settings.user, password)
    numbers = [number for pair in wanted for number in pair]
    has_stamps = settings.url.startswith("rtsp")
    capture = _capture(url, cv2.CAP_FFMPEG, numbers, settings.url)
    return LiveCapture(capture, settings.max_lag_ms / 1000 if has_stamps else 0.0)


def _open_device(settings: CameraSource) -> Stream:
    name = settings.url if settings.url.startswith("/") else f"/dev/video{settings.url}"
    if not Path(name).exists():
        message = f"there is no device {name}"
        raise SourceError(message, "is the camera plugged in? `ls /dev/video*` shows what is there")
    wanted = [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.pixels) if settings.pixels else 0),
        (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
        (cv2.CAP_PROP_FPS, round(settings.rate_hz)),
    ]
    return Capture(_capture(name, cv2.CAP_V4L2, [number for pair in wanted if pair[1] for number in pair], name))


def _capture(what: str, backend: int, options: Sequence[int], shown: str) -> cv2.VideoCapture:
    try:
        capture = cv2.VideoCapture(what, backend, options)
    except cv2.error as error:
        message = f"cannot open {shown}"
        raise SourceError(message, _HINT) from error
    if not capture.isOpened():
        capture.release()
        message = f"cannot open {shown}"
        raise SourceError(message, _HINT)
    return capture


_HINT = "look whether another program shows it, and at `url`, `user` and `password_file`, or `path`"


def _with_user(url: str, user: str, password: str) -> str:
    if not user:
        return url
    parts = urlsplit(url)
    known = f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"
    return urlunsplit(parts._replace(netloc=known))


def _read_secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read the password in {path}"
        raise SourceError(message, "let the agent read the file; it holds the password and nothing else") from error
