"""An ONNX model and a tensor come in, the named outputs go out. The only file that knows ONNX Runtime.

The optimised form of a model is kept in a cache and loaded from there, hashed like everything that we derive; what does
not match is made again. Never reads a file that belongs to the model: external data is refused.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from edge_agent.durable import write_file
from edge_agent.errors import InferenceError
from edge_agent.inference.hardware import cpu_flags
from edge_protocol.bundle import Manifest, Variant, runs
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]

RUNTIME = f"onnxruntime {ort.__version__}"
"""What runs the graphs here."""

WARM_UP_RUNS = 3
CACHED_MODELS = 16
"""Optimised models that are kept; the least recently written goes first."""

_DIGEST_BYTES = 32
_EXTERNAL_DATA = b"\x0a\x08location"
"""How a graph names a file beside it: the key `location` of an entry of ONNX's external data."""

_PREFERENCE = ("u8s8-vnni", "u8s8-7bit", "s8s8-arm", "fp32")

# Warnings here are about optimised models being bound to a machine, which the key of the cache takes care of.
ort.set_default_logger_severity(3)


def choose_variant(manifest: Manifest, flags: frozenset[str], arch: str) -> Variant:
    """The fastest variant that this processor runs as it should: by architecture and one of its flags.

    Raises:
        InferenceError: NO_MODEL: the bundle has none for this processor.
    """
    for name in _PREFERENCE:
        for variant in manifest.variants:
            if variant.name == name and runs(variant, arch, flags):
                return variant
    message = f"{manifest.name} {manifest.version} has no variant for this {arch} processor"
    raise InferenceError(message, f"it has {', '.join(v.name for v in manifest.variants)}", Reason.NO_MODEL)


class Engine:
    """A loaded and warmed-up model. `run` may be called from any one thread at a time.

    Raises:
        InferenceError: NO_MODEL: not a model that can be run here.
    """

    def __init__(self, model: bytes, *, threads: int = 1, cache: Path | None = None, optimise: bool = True) -> None:
        if _EXTERNAL_DATA in model:
            message = "the model wants to read files beside it"
            raise InferenceError(message, "save it with its weights inside", Reason.NO_MODEL)
        try:
            self._session = _open(model, threads, cache if optimise else None, optimise=optimise)
        except Exception as error:  # ONNX Runtime raises classes of its own for each kind of bad model
            message = f"the model cannot be loaded: {_first_line(error)}"
            raise InferenceError(message, "make the bundle again, or update the agent", Reason.NO_MODEL) from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.inputs = {i.name: (i.type, tuple(i.shape)) for i in self._session.get_inputs()}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs."""
        return tuple(self._outputs)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name.

        Raises:
            InferenceError: ENGINE_FAULT: the run failed.
        """
        try:
            values = self._session.run(self._outputs, tensors)
        except Exception as error:
            message = f"the model failed: {_first_line(error)}"
            raise InferenceError(message, "see whether the bundle's self-test passes", Reason.ENGINE_FAULT) from error
        return dict(zip(self._outputs, values, strict=True))

    def warm_up(self, tensors: Mapping[str, Array]) -> None:
        """Run a few times, so that the first part is judged as fast as the second."""
        for _ in range(WARM_UP_RUNS):
            self.run(tensors)


def _open(model: bytes, threads: int, cache: Path | None, *, optimise: bool) -> ort.InferenceSession:
    if cache is None:
        level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL if optimise else ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _session(model, threads, level)
    path = cache / f"{_cache_key(model, threads)}.opt"
    optimised = _read_cached(path)
    if optimised is None:
        optimised = _optimise(model, threads)
        _write_cached(path, optimised)
    # Loaded from the same bytes when they were just made as when they were found: one path, one behaviour.
    return _session(optimised, threads, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)


def _session(model: bytes, threads: int, level: Any, save_as: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = level
    # Spinning costs 47 % of two cores at 20 Hz where sleeping costs 6 %, and its p99 is worse.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if save_as is not None:
        options.optimized_model_filepath = str(save_as)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _cache_key(model: bytes, threads: int) -> str:
    flags = " ".join(sorted(cpu_flags()))
    parts = (hashlib.sha256(model).hexdigest(), ort.__version__, flags, f"all threads={threads}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read_cached(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, optimised = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return optimised if hashlib.sha256(optimised).digest() == digest else None


def _write_cached(path: Path, optimised: bytes) -> None:
    # A cache that cannot be written costs time at the next start and nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, hashlib.sha256(optimised).digest() + optimised)
        _prune(path.parent)


def _optimise(model: bytes, threads: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
        saved = Path(folder) / "model.onnx"
        _session(model, threads, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, save_as=saved)
        return saved.read_bytes()


def _prune(cache: Path) -> None:
    newest_first = sorted(cache.glob("*.opt"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[CACHED_MODELS:]:
        path.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
