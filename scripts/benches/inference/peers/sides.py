"""Servers of the same model, each a process with an environment of its own; who is not asked stands still."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.assembly import NEIGHBOURS_NICE
from scripts.benches import environment
from scripts.benches.failure import BenchError
from scripts.benches.ground import supplies

START_S = 60
STOP_S = 20
HERE = Path(__file__).parent
HOST = "127.0.0.1"
MODEL = "model"

GIVE_WAY = ("nice", "-n", str(NEIGHBOURS_NICE))
"""Peers have the priority that our neighbours' threads have: a machine that is not quiet disturbs all alike."""

_TOML = """\
[gateway]
id = "bench"

[serving]
port = {port}

[[sources]]
name = "camera"
kind = "folder"
path = "camera"

[[triggers]]
name = "parts"
kind = "source"
source = "camera"

[[pipelines]]
name = "model"
bundle = "{bundle}"
source = "camera"
trigger = "parts"
"""

Tensor = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Subject:
    """What everybody is asked: a shipped model, one tensor for it, and the number that must be in the answer.

    `model` is what a peer is told: the file of the chosen variant, the session's options, the tensor's shape.
    """

    bundle: str
    tensor: str
    array: Tensor
    output: str
    expected: float
    model: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A whole request as it goes over the wire, and how the last number of an output is read from what comes back."""

    how: str
    request: bytes
    answer: Callable[[bytes, str], float]


@dataclass(slots=True)
class Side:
    """A server: how it is started, what it is asked, and its process group while it runs."""

    name: str
    port: int
    command: Sequence[str | Path]
    ready: str
    questions: Sequence[Question]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        """Start it, wait until it is ready, and let it stand still.

        Raises:
            BenchError: it does not get ready.
        """
        log = folder / f"{self.name}.log"
        with log.open("wb") as output:
            more = {**os.environ, **self.environment}
            self.process = subprocess.Popen(
                self.command, cwd=folder, env=more, stdout=output, stderr=output, start_new_session=True
            )
        end_s = monotonic() + START_S
        while not _is_ready(self.port, self.ready):
            if monotonic() > end_s or self.process.poll() is not None:
                message = f"{self.name} does not get ready"
                raise BenchError(message, "\n".join(log.read_text(errors="replace").splitlines()[-6:]))
            sleep(0.05)
        self.freeze()

    def freeze(self) -> None:
        """Stand still: no thread of it takes a processor from the others."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it. May be called twice."""
        process, group = self.process, self.process.pid if self.process is not None else 0
        if process is None:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)  # its workers, should they have stayed
        process.wait()
        self.process = None

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)


def ours(folder: Path, subject: Subject) -> Side:
    """A gateway with a line that stands still, asked by the binary extension."""
    folder.mkdir()
    port = _free_port()
    (folder / "camera").mkdir()
    (folder / "gateway.toml").write_text(_TOML.format(port=port, bundle=subject.bundle))
    bundles = folder / "data" / "bundles"
    shutil.copytree(supplies.BUNDLES / subject.bundle, bundles / subject.bundle)
    question = binary(subject, MODEL)
    program = Path(sys.executable).parent / "edge-agent"
    command: list[str | Path] = [program, "run", "--config", folder / "gateway.toml"]
    return Side("lineside", port, command, "/v2/health/ready", (question,))


def binary(subject: Subject, name: str) -> Question:
    """The tensor as it is, by the protocol's binary extension."""
    about = {"name": subject.tensor, "shape": subject.array.shape, "datatype": "FP32"}
    sized = {**about, "parameters": {"binary_data_size": subject.array.nbytes}}
    header = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    head = (f"Inference-Header-Content-Length: {len(header)}",)
    return Question("binary", _post(f"/v2/models/{name}/infer", header + subject.array.tobytes(), *head), _from_binary)


def mlserver(folder: Path, subject: Subject) -> Side:
    """MLServer with our adapter, its model in the serving process: faster than its default, a worker behind a queue."""
    ports = [_free_port() for _ in range(3)]
    python = environment.python("mlserver")
    settings: dict[str, Any] = {"debug": False, "host": HOST, "parallel_workers": 0, "gzip_enabled": False}
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(
        json.dumps({"name": MODEL, "implementation": "mlserver_onnx.OnnxModel"})
    )
    path = f"/v2/models/{MODEL}/infer"
    plain = {
        "name": subject.tensor,
        "shape": subject.array.shape,
        "datatype": "FP32",
        "data": subject.array.ravel().tolist(),
    }
    text = base64.b64encode(subject.array.tobytes()).decode()
    packed: dict[str, Any] = {"name": subject.tensor, "shape": [1], "datatype": "BYTES", "data": [text]}
    packed["parameters"] = {"content_type": "base64"}
    questions = (
        Question("base64", _post(path, json.dumps({"inputs": [packed]}).encode()), _from_protocol),
        Question("JSON", _post(path, json.dumps({"inputs": [plain]}).encode()), _from_protocol),
    )
    more = {"PYTHONPATH": str(HERE), "BENCH_MODEL": json.dumps(subject.model)}
    command: list[str | Path] = [*GIVE_WAY, python.with_name("mlserver"), "start", folder]
    return Side("mlserver", ports[0], command, f"/v2/models/{MODEL}/ready", questions, more)


def litserve(subject: Subject) -> Side:
    """LitServe as its documentation says: an API process, a worker for the model."""
    port = _free_port()
    text = json.dumps({"tensor": base64.b64encode(subject.array.tobytes()).decode()}).encode()
    limit = "lineside-bench"
    form = (
        f'--{limit}\r\nContent-Disposition: form-data; name="tensor"; filename="t"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + subject.array.tobytes()
    form += f"\r\n--{limit}--\r\n".encode()
    questions = (
        Question("base64", _post("/predict", text), _from_plain),
        Question("upload", _post("/predict", form, kind=f"multipart/form-data; boundary={limit}"), _from_plain),
    )
    more = {"BENCH_MODEL": json.dumps(subject.model)}
    command: list[str | Path] = [*GIVE_WAY, environment.python("litserve"), HERE / "litserve_onnx.py", str(port)]
    return Side("litserve", port, command, "/health", questions, more)


def _post(path: str, body: bytes, *fields: str, kind: str = "application/json") -> bytes:
    lines = (f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join((*lines, "", "")).encode() + body


def _from_binary(reply: bytes, output: str) -> float:
    head, _, body = reply.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    at = length = int(fields[b"inference-header-content-length"])
    for each in json.loads(body[:length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        if each["name"] == output:
            return float(np.frombuffer(body[at : at + size], np.float32)[-1])
        at += size
    return float("nan")


def _from_protocol(reply: bytes, output: str) -> float:
    outputs = json.loads(reply.partition(b"\r\n\r\n")[2])["outputs"]
    return float(next(each for each in outputs if each["name"] == output)["data"][-1])


def _from_plain(reply: bytes, output: str) -> float:
    return float(json.loads(reply.partition(b"\r\n\r\n")[2])[output][-1])


def _is_ready(port: int, path: str) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in sock.recv(200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as one:
        port: int = one.getsockname()[1]
        return port
