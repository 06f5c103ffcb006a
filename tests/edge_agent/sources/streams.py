"""Streams for tests: one that gives what a test puts in, a video file, and a camera that speaks MJPEG over HTTP."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import pytest

from edge_agent.errors import SourceError
from edge_agent.sources.stream import Picture, Stream

PATIENCE_S = 20.0


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail("waited in vain")


def frame(n: int) -> Picture:
    """A frame whose brightness tells its number."""
    return np.full((48, 64, 3), 40 + 4 * (n % 50), np.uint8)


def number(picture: Picture) -> int:
    """The number of a frame, whatever a codec did to it."""
    return round((float(picture.mean()) - 39) / 4)


def write_video(path: Path, frames: int) -> Path:
    """A video file of numbered frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for n in range(frames):
        writer.write(frame(n))
    writer.release()
    return path


class Reel:
    """A stream of what a test puts in; None ends it, and so does an error."""

    def __init__(self, pictures: Sequence[Picture | SourceError | None] = ()) -> None:
        self.pictures: queue.SimpleQueue[Picture | SourceError | None] = queue.SimpleQueue()
        self.closed = 0
        for picture in pictures:
            self.pictures.put(picture)

    def read(self) -> Picture | None:
        picture = self.pictures.get(timeout=PATIENCE_S) if not self.closed else None
        if isinstance(picture, SourceError):
            raise picture
        return None if picture is None else picture.copy()

    def close(self) -> None:
        self.closed += 1


class Cinema:
    """Opens one reel after the other; without one it is away, and says how often it was asked."""

    def __init__(self, *reels: Reel) -> None:
        self.reels = list(reels)
        self.asked: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def open(self) -> Stream:
        self.asked.put(bool(self.reels))
        if not self.reels:
            message = "the camera does not answer"
            raise SourceError(message, "plug it in")
        return self.reels.pop(0)


class Socket:
    """A place where a camera is plugged in and out; what it shows is what a test puts in."""

    def __init__(self) -> None:
        self.pictures: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self.is_plugged = threading.Event()

    def open(self) -> Stream:
        if not self.is_plugged.is_set():
            message = "nothing is plugged in"
            raise SourceError(message, "plug it in")
        return self

    def read(self) -> Picture | None:
        while self.is_plugged.is_set():
            with suppress(queue.Empty):
                return self.pictures.get(timeout=0.01)
        return None

    def close(self) -> None:
        pass


class HttpCamera:
    """A camera that shows numbered frames as MJPEG over HTTP, until it is unplugged."""

    def __init__(self, port: int = 0) -> None:
        self._unplugged = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/video.mjpg"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """End every connection and listen no more. May be called twice."""
        self._unplugged.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        unplugged = self._unplugged

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                n = 0
                while not unplugged.wait(0.02):
                    n += 1
                    data = cv2.imencode(".jpg", frame(n % 100))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return

            def log_message(self, *_words: object) -> None:
                pass

        return Handler
