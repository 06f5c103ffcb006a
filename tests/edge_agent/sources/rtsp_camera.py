"""A camera that speaks RTSP on loopback: numbered frames as RTP/JPEG (RFC 2435) within the TCP connection."""

import base64
import contextlib
import socketserver
import struct
import threading
import time
from itertools import count
from typing import Self

import cv2

from tests.edge_agent.sources.streams import frame

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n"
PERIOD_S = 0.02


class RtspCamera:
    """Shows frames until it is unplugged; with `user` and `password` only to who knows them."""

    def __init__(self, port: int = 0, user: str = "", password: str = "") -> None:
        self.unplugged = threading.Event()
        self.muted = threading.Event()
        self.transports: list[str] = []
        known = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.wanted = f"Basic {known}" if user else ""
        self._server = _Server(("127.0.0.1", port), _Session)
        self._server.camera = self
        self.port = int(self._server.server_address[1])
        self.url = f"rtsp://127.0.0.1:{self.port}/stream"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """End every connection and listen no more. May be called twice."""
        self.unplugged.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    camera: RtspCamera


class _Session(socketserver.StreamRequestHandler):
    server: _Server
    timeout = 0.5

    def handle(self) -> None:
        show: threading.Thread | None = None
        with contextlib.suppress(OSError, ValueError):
            while not self.server.camera.unplugged.is_set() and (request := self._read_request()):
                method, headers = request
                self._answer(method, headers)
                if method == "PLAY" and show is None:
                    show = threading.Thread(target=self._show)
                    show.start()
        if show is not None:
            show.join()

    def _read_request(self) -> tuple[str, dict[str, str]] | None:
        """The next request; what the client reports of its reception is skipped."""
        while (first := self._read_byte()) == b"$":
            self.rfile.read(struct.unpack(">xH", self.rfile.read(3))[0])
        line = first + self.rfile.readline()
        headers = {}
        while header := self.rfile.readline().strip():
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        return (line.split()[0].decode(), headers) if line.strip() else None

    def _read_byte(self) -> bytes:
        while not self.server.camera.unplugged.is_set():
            with contextlib.suppress(TimeoutError):
                self.connection.settimeout(0.05)
                data: bytes = self.connection.recv(1)
                self.connection.settimeout(self.timeout)
                return data
        return b""

    def _answer(self, method: str, headers: dict[str, str]) -> None:
        camera = self.server.camera
        status, more, body = "200 OK", "", ""
        if camera.wanted and headers.get("authorization") != camera.wanted:
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "OPTIONS":
            more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body, more = SDP, f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n"
        elif method == "SETUP":
            camera.transports.append(headers["transport"])
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        answer = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{more}\r\n{body}"
        self.wfile.write(answer.encode())

    def _show(self) -> None:
        with contextlib.suppress(OSError):
            for n in count(1):
                if self.server.camera.unplugged.wait(PERIOD_S):
                    break
                if not self.server.camera.muted.is_set():
                    self.wfile.write(_packet(n))
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)


def _packet(n: int) -> bytes:
    """Frame `n` in one RTP packet, in its frame of the TCP connection."""
    picture = frame(n)
    tables, scan = _parse(cv2.imencode(".jpg", picture)[1].tobytes())
    height, width = picture.shape[:2]
    rtp = struct.pack(">BBHII", 0x80, 0x80 | 26, n & 0xFFFF, int(time.monotonic() * 90_000) & 0xFFFFFFFF, 7)
    jpeg = struct.pack(">IBBBB", 0, 1, 255, width // 8, height // 8) + struct.pack(">BBH", 0, 0, len(tables))
    packet = rtp + jpeg + tables + scan
    return struct.pack(">cBH", b"$", 0, len(packet)) + packet


def _parse(data: bytes) -> tuple[bytes, bytes]:
    """The quantization tables and the scan of a baseline JPEG with 4:2:0."""
    at, tables = 2, b""
    while True:
        marker, length = struct.unpack_from(">xBH", data, at)
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            tables += b"".join(segment[start + 1 : start + 65] for start in range(0, len(segment), 65))
        elif marker == 0xDA:
            return tables, data[at:-2]
