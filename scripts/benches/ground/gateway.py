"""A real gateway in a folder: `edge-agent run` as a child, fed with files as a camera and a sensor would write them."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from string import Template
from time import monotonic, sleep

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from edge_agent import identity
from scripts.benches.failure import BenchError
from scripts.benches.ground import supplies

ID = "bench"
PART_HZ = 20
WINDOW_HZ = 10
STOP_S = 20
START_S = 30

_BIN = Path(sys.executable).parent
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed agent has its bytecode beside it; in a checkout the first start must be allowed to leave it there."""

_TOML = Template("""\
[gateway]
id = "$id"

[hub]
broker = "mqtt://127.0.0.1:$port"

[[sources]]
name = "camera"
kind = "folder"
path = "camera"
settle_s = 0        # files appear whole

[[sources]]
name = "sensor"
kind = "folder"
path = "sensor"
settle_s = 0

[[triggers]]
name = "parts"
kind = "source"
source = "camera"

[[triggers]]
name = "windows"
kind = "source"
source = "sensor"

[[outputs]]
name = "journal"
kind = "file"
path = "verdicts.jsonl"

[[pipelines]]
name = "surface"
bundle = "surface-anomaly"
source = "camera"
trigger = "parts"
outputs = ["journal"]
guard = { blur_share = 0 }     # small pictures enlarged: less sharp than those the model was taught on

[[pipelines]]
name = "engine"
bundle = "engine-fault"
source = "sensor"
trigger = "windows"
outputs = ["journal"]
""")


def configuration(broker_port: int) -> str:
    """The text of the gateway's TOML."""
    return _TOML.substitute(id=ID, port=broker_port)


def data_dir(folder: Path) -> Path:
    """Where the gateway in a folder keeps what it makes."""
    return folder / "data"


class Gateway:
    """Both demo models, a camera's folder, a sensor's folder, a journal. One child at a time."""

    def __init__(
        self, folder: Path, broker_port: int, *, more: str = "", enrol: Callable[[Path], None] | None = None
    ) -> None:
        """`more` ends its TOML; `enrol` fills its identity folder, by default for a hub that will never answer."""
        self._folder = folder
        self._log = folder / "agent.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._sent = 0
        for name in ("camera", "sensor"):
            (folder / name).mkdir(parents=True)
        (folder / "gateway.toml").write_text(configuration(broker_port) + more)
        for name in (supplies.SURFACE, supplies.ENGINE):
            shutil.copytree(supplies.BUNDLES / name, data_dir(folder) / "bundles" / name)
        (enrol or _enrol)(data_dir(folder) / "identity")
        self._pictures = supplies.jpegs(supplies.frames(folder, supplies.PARTS))
        self._windows = [_npy(window) for window in supplies.windows()]

    @property
    def pid(self) -> int:
        """The process that runs."""
        return self._running().pid

    def start(self) -> None:
        """Start the agent."""
        with self._log.open("ab") as log:
            command = [str(_BIN / "edge-agent"), "run", "--config", str(self._folder / "gateway.toml")]
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_ENVIRONMENT)

    def stop(self) -> None:
        """Ask it to end, and wait. May be called twice."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def put(self, *, window: bool = True) -> None:
        """A picture of the next part appears, and a window."""
        n = self._sent = self._sent + 1
        if window:
            self._write("sensor", f"P{n:06d}.npy", self._windows[n % len(self._windows)])
        self._write("camera", f"P{n:06d}.jpg", self._pictures[n % len(self._pictures)])

    def feed(self, seconds: float) -> None:
        """Parts at 20 a second, windows at 10.

        Raises:
            BenchError: the gateway ended by itself.
        """
        start_s = monotonic()
        for n in range(round(seconds * PART_HZ)):
            sleep(max(0.0, start_s + n / PART_HZ - monotonic()))
            self.put(window=n % (PART_HZ // WINDOW_HZ) == 0)
            self._running()

    def verdicts(self) -> int:
        """How many verdicts the line has been told."""
        try:
            return (self._folder / "verdicts.jsonl").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def has_told(self, words: str) -> bool:
        """Whether the line has been told these words."""
        try:
            return words.encode() in (self._folder / "verdicts.jsonl").read_bytes()
        except FileNotFoundError:
            return False

    def rss_mb(self) -> float:
        """Its resident memory now."""
        return kilobytes(self.pid, "VmRSS") / 1024

    def wait_for(self, verdicts: int) -> None:
        """Wait until the line has been told so many.

        Raises:
            BenchError: it did not come to that.
        """
        deadline_s = monotonic() + START_S
        while self.verdicts() < verdicts:
            if monotonic() > deadline_s:
                message = f"the gateway gave no {verdicts} verdicts within {START_S} s"
                raise BenchError(message, self._last_words())
            self._running()
            sleep(0.002)

    def _write(self, folder: str, name: str, content: bytes) -> None:
        """Whole or not there: a name that begins with a dot is not taken."""
        part = self._folder / folder / f".{name}"
        part.write_bytes(content)
        part.rename(part.with_name(name))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            message = "the gateway does not run"
            raise BenchError(message, self._last_words())
        return self._child

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-6:])


def kilobytes(pid: int, field: str) -> int:
    """A figure of /proc/PID/status."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _enrol(folder: Path) -> None:
    """A key for the gateway, and one for a hub that will never answer."""
    identity.new(folder, ID)
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "hub-keys.json").write_text(json.dumps({"keys": [{"pem": pem.decode()}]}))


def _npy(window: np.typing.NDArray[np.float64]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, window, allow_pickle=False)
    return stream.getvalue()
