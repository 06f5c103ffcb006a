"""What the running models may be asked: what they take, tensors in and out, and the verdict on a picture.

A question is no part: it takes no trigger, leaves no record, and runs beside the line on the neighbour's own thread. A
model is called by the pipeline it runs in, or by its bundle's name where that names one release.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic_ns
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from edge_agent.errors import InferenceError
from edge_agent.inference.lane import Guard, inspect, make_sampler
from edge_agent.inference.model import Model
from edge_agent.inference.picture import read_header
from edge_agent.inference.signals import Sampler
from edge_agent.sample import Channel, Sample
from edge_agent.serving import oip
from edge_agent.serving.answer import told
from edge_agent.serving.http import JSON, Head, Reply, as_json, whole_number
from edge_agent.serving.refusal import Refusal
from edge_agent.serving.signature import signature_of
from edge_agent.serving.tally import Lap, Tally
from edge_agent.serving.turnstile import Turnstile
from edge_protocol.bundle import ImageInput, InputContract, WindowInput
from edge_protocol.codes import Reason, Verdict

PLATFORM = "onnxruntime_onnx"
PICTURE_BYTES = 32 * 2**20
MAX_PIXELS = 16_000_000
"""The largest picture of a neighbour. The line itself takes larger ones, but nobody else may need their memory."""

Ask: TypeAlias = Callable[[str, str, float], None]
"""Called with (pipeline, infer or verdict, seconds) after each question."""


@dataclass(slots=True)
class _Means:
    """What is made of a model to answer by it, once. Dies with it: nothing here keeps a swapped model in memory."""

    signature: oip.Signature
    twin: Model | None = None
    sampler: Sampler | None = None
    guards: dict[str, Guard] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Desk:
    """The model that a question is for, while it is answered."""

    pipeline: str
    model: Model
    means: _Means
    tally: Tally


class Models:
    """Answers about and by the models. `running` gives them by pipeline, `doubts` why one must not be asked.

    `unready` tells by pipeline why one is not ready: it may be asked nevertheless, but a router asks another.
    `guard` makes what says whether an input can be trusted: for a pipeline and its model, without a memory.
    """

    def __init__(
        self,
        running: Callable[[], Mapping[str, Model]],
        doubts: Callable[[str], Sequence[str]] = lambda _pipeline: (),
        asked: Ask = lambda _pipeline, _kind, _seconds: None,
        turnstile: Turnstile | None = None,
        *,
        guard: Callable[[str, Model], Guard] = lambda _pipeline, _model: lambda _look: Reason.NONE,
        unready: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._running = running
        self._doubts = doubts
        self._unready = unready
        self._asked = asked
        self._turnstile = turnstile or Turnstile()
        self._guard = guard
        self._means: WeakKeyDictionary[Model, _Means] = WeakKeyDictionary()
        self._tallies: dict[str, Tally] = {}
        self._lock = threading.Lock()

    def room(self, name: str, version: str | None, end: str) -> int:
        """The longest body of a question to a model. Raises Refusal: 404: there is no such model."""
        desk = self._desk(name, version)
        return desk.means.signature.body_bytes() if end == "/infer" else _sample_bytes(desk.model.manifest.input)

    def metadata(self, name: str, version: str | None) -> Reply:
        """Names, datatypes and shapes."""
        desk = self._desk(name, version)
        manifest = desk.model.manifest
        return as_json(
            {
                "name": name,
                "versions": [manifest.version],
                "platform": PLATFORM,
                "inputs": _tensors(desk.means.signature.inputs),
                "outputs": _tensors(desk.means.signature.outputs),
                "parameters": {
                    "pipeline": desk.pipeline,
                    "bundle": manifest.name,
                    "digest": desk.model.digest,
                    "variant": desk.model.variant,
                    "task": manifest.task,
                },
            }
        )

    def readiness(self, name: str, version: str | None) -> Reply:
        """200, or 503 with the reasons."""
        why = self._unready().get(self._desk(name, version).pipeline, "")
        status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
        return as_json({"name": name, "ready": not why, "reasons": [why] if why else []}, status)

    def config(self, name: str, version: str | None) -> Reply:
        """What a Triton client asks for as the model's configuration."""
        desk = self._desk(name, version)
        return as_json(
            {
                "name": name,
                "platform": PLATFORM,
                "backend": "onnxruntime",
                "max_batch_size": 0,
                "input": _dims(desk.means.signature.inputs),
                "output": _dims(desk.means.signature.outputs),
            }
        )

    def stats(self, name: str, version: str | None) -> Reply:
        """How often neighbours asked, and how long it took."""
        desk = self._desk(name, version)
        return as_json({"model_stats": [desk.tally.told(name, desk.model.manifest.version)]})

    def all_stats(self) -> dict[str, Any]:
        """The same of every model."""
        desks = [self._of(name, model) for name, model in self._running().items()]
        return {"model_stats": [each.tally.told(each.pipeline, each.model.manifest.version) for each in desks]}

    def index(self) -> list[dict[str, str]]:
        """What there is."""
        found, unready = [], self._unready()
        for name, model in self._running().items():
            why = unready.get(name, "")
            state = "UNAVAILABLE" if why else "READY"
            found.append({"name": name, "version": model.manifest.version, "state": state, "reason": why})
        return found

    def infer(self, name: str, version: str | None, head: Head, body: memoryview) -> Reply:
        """Tensors in, tensors out; states are zeros where they are not sent, and none are kept."""
        desk = self._trusted(name, version)

        def answer(lap: Lap) -> Reply:
            header_bytes = whole_number(head.fields, "inference-header-content-length")
            # Text is made numbers in here too: while it is, the line's threads wait.
            with self._turnstile.turn():
                lap.mark("queue")
                question = oip.parse(body, header_bytes, desk.means.signature)
                lap.mark("compute_input")
                outputs = _run(desk.model, question)
                lap.mark("compute_infer")
                length, buffers = oip.reply(name, desk.model.manifest.version, question, outputs)
                lap.mark("compute_output")
            if length is None:
                return Reply(HTTPStatus.OK, JSON, buffers)
            fields = (("Inference-Header-Content-Length", str(length)),)
            return Reply(HTTPStatus.OK, "application/octet-stream", buffers, fields)

        return self._timed(desk, "infer", answer)

    def verdict(self, name: str, version: str | None, _head: Head, body: memoryview) -> Reply:
        """The verdict on encoded bytes: a picture, or a window or an array as .npy. What the guard refuses has none."""
        desk = self._trusted(name, version)

        def answer(lap: Lap) -> Reply:
            with self._turnstile.turn():
                lap.mark("queue")
                reply = self._judge(desk, bytes(body))
                lap.mark("compute_infer")
            return as_json({"model": name, "version": desk.model.manifest.version, **reply})

        return self._timed(desk, "verdict", answer)

    def _judge(self, desk: _Desk, data: bytes) -> dict[str, Any]:
        """In its turn: what is made to answer with belongs to one question at a time."""
        _check_size(desk.model.manifest.input, data)
        means = desk.means
        if means.twin is None:
            means.twin, means.sampler = desk.model.twin(), make_sampler(desk.model)
        if desk.pipeline not in means.guards:
            means.guards[desk.pipeline] = self._guard(desk.pipeline, desk.model)
        means.twin.operating_point = desk.model.operating_point
        return _judge(means.twin, means.sampler, means.guards[desk.pipeline], data)

    def _timed(self, desk: _Desk, kind: str, answer: Callable[[Lap], Reply]) -> Reply:
        lap, ok = Lap(), False
        try:
            reply = answer(lap)
            ok = True
            return reply
        finally:
            desk.tally.add(lap, ok=ok)
            self._asked(desk.pipeline, kind, lap.whole_s)

    def _trusted(self, name: str, version: str | None) -> _Desk:
        desk = self._desk(name, version)
        if doubts := self._doubts(desk.pipeline):
            message = f"{name} is not ready: {'; '.join(doubts)}"
            headers = (("Retry-After", "1"),)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, "ask /v2/health/ready", headers=headers)
        return desk

    def _desk(self, name: str, version: str | None) -> _Desk:
        """The one release that is meant."""
        running = self._running()
        found = {n: m for n, m in running.items() if n == name} or {
            n: m for n, m in running.items() if m.manifest.name == name
        }
        if not found:
            known = ", ".join(running)
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no model {name[:80]!r}", f"pipelines here: {known}")
        fitting = {n: m for n, m in found.items() if version is None or m.manifest.version == version}
        if not fitting:
            versions = ", ".join(sorted({m.manifest.version for m in found.values()}))
            raise Refusal(HTTPStatus.NOT_FOUND, f"{name} has no version {str(version)[:20]!r}", f"it runs {versions}")
        if len({m.digest for m in fitting.values()}) > 1:
            message = f"{name} runs in several releases"
            raise Refusal(HTTPStatus.CONFLICT, message, f"ask by version, or by pipeline: {', '.join(fitting)}")
        return self._of(*next(iter(fitting.items())))

    def _of(self, pipeline: str, model: Model) -> _Desk:
        with self._lock:
            means = self._means.get(model)
            if means is None:
                means = self._means[model] = _Means(signature_of(model))
            return _Desk(pipeline, model, means, self._tallies.setdefault(pipeline, Tally()))


def _run(model: Model, question: oip.Question) -> dict[str, oip.Array]:
    try:
        return model.engine.run(question.tensors)
    except InferenceError as error:
        # Other tensors of the same shapes may well pass: it is these that do not.
        raise Refusal(HTTPStatus.BAD_REQUEST, f"with these tensors {error}") from error


def _sample_bytes(contract: InputContract) -> int:
    """The longest sample: a picture, or a .npy file of as many values as the contract says."""
    if isinstance(contract, ImageInput):
        return PICTURE_BYTES
    values = contract.length if isinstance(contract, WindowInput) else math.prod(contract.shape)
    return oip.HEADER_BYTES + values * 8


def _check_size(contract: InputContract, data: bytes) -> None:
    if not isinstance(contract, ImageInput):
        return
    with suppress(InferenceError):  # What is no picture is told as such by who decodes it.
        header = read_header(data)
        if header.width * header.height > MAX_PIXELS:
            message = f"the picture has {header.width} × {header.height} pixels, {MAX_PIXELS} are taken here"
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, "send it smaller, or through a push source")


def _judge(twin: Model, sampler: Sampler | None, guard: Guard, data: bytes) -> dict[str, Any]:
    sample = Sample({twin.preprocessor.channel: Channel(data, monotonic_ns() // 1000)})
    try:
        twin.forget()  # A question stands for itself: no state of the one before.
        array = twin.decode(sample)
        seen = inspect(twin, sampler, guard, sample, array)
        if seen.reason is not Reason.NONE:
            return _refused(seen.reason, seen.detail, "")
        prediction = twin.predict_values(array)
    except InferenceError as error:
        return _refused(error.reason, str(error), error.hint)
    verdict, reason = twin.verdict(prediction)
    found = {"verdict": verdict.name, "reason": (reason or Reason.NONE).name}
    return {**found, **told(prediction), "signals": seen.signals}


def _refused(reason: Reason, detail: str, hint: str) -> dict[str, Any]:
    return {"verdict": Verdict.UNINSPECTED.name, "reason": reason.name, "detail": detail, "hint": hint}


def _tensors(tensors: Mapping[str, oip.Tensor]) -> list[dict[str, Any]]:
    return [{"name": each.name, "datatype": each.datatype, "shape": each.shape} for each in tensors.values()]


def _dims(tensors: Mapping[str, oip.Tensor]) -> list[dict[str, Any]]:
    return [{"name": t.name, "data_type": f"TYPE_{t.datatype}", "dims": t.shape} for t in tensors.values()]
