"""An ONNX model and a tensor come in, the named outputs go out. The only file that knows ONNX Runtime.

The optimised form of a model is kept in a cache and loaded from there as the signed model would be. Never reads a file
that belongs to the model, never loads an operator of somebody else's, and never leaves a provider without saying so.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from edge_agent.errors import InferenceError
from edge_agent.inference import graph, providers
from edge_agent.inference.cache import Cache, StorePlans, StoreRows
from edge_agent.inference.hardware import architecture, cpu_flags, cpu_quota
from edge_agent.inference.providers import CPU, Lack
from edge_agent.inference.tuning import fingerprint
from edge_agent.store import Store
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]

VERSION: str = ort.__version__

RUNTIME = f"onnxruntime {VERSION}"
"""What runs the graphs here."""

WARM_UP_RUNS = 3

_OPSET = re.compile(r"till opset (\d+)")
_MARKS = re.compile(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ")
"""What stands before the cause in ONNX Runtime's errors: more than once, and by place in its source, of a plugin's."""

_REGISTERING = Lock()

# Warnings here are about optimised models being bound to a machine, which the key of the cache takes care of.
ort.set_default_logger_severity(3)


@dataclass(frozen=True, slots=True)
class Options:
    """How a session runs. `dimensions` gives the sides that the graph leaves open a number, by their name there.

    One thread is what a gateway's cores share best; more are worth it where `edge-agent tune` has measured it.
    """

    threads: int = 1
    arena: bool = True
    provider: str = CPU
    dimensions: Mapping[str, int] = field(default_factory=dict)
    optimise: bool = True


class Engine:
    """A loaded model. `run` keeps nothing between two calls.

    `provider` is what runs it, `lack` why that is not the one that was asked for, or not it alone; `inputs` and
    `results` are type and shape by name.

    Raises:
        InferenceError: NO_MODEL: not a model that can be run here.
    """

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        cache: Cache | None = None,
        optimise: bool = True,
        arena: bool = True,
        provider: str = CPU,
        dimensions: Mapping[str, int] | None = None,
    ) -> None:
        self.provider, self.lack = settle_provider(provider)
        self.options = Options(threads, arena, self.provider, dict(dimensions or {}), optimise)
        self._spare = b""
        with _loading():
            self._session = self._open(model, cache)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.inputs = {each.name: (each.type, tuple(each.shape)) for each in self._session.get_inputs()}
        self.results = {each.name: (each.type, tuple(each.shape)) for each in self._session.get_outputs()}

    @property
    def fallback(self) -> str:
        """What is lacking in words; empty where it runs as was asked."""
        return self.lack.says if self.lack is not None else ""

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
        """Run a few times, so that the first part is judged as fast as the second. Called once, by who loads a model.

        What fails here on another provider is left to the CPU from now on, and said. After it nothing is kept for that.

        Raises:
            InferenceError: ENGINE_FAULT: the run failed on the CPU; NO_MODEL: the CPU does not run such a model.
        """
        spare, self._spare = self._spare, b""
        try:
            self._run_often(tensors)
        except InferenceError as error:
            if not spare:
                raise
            with _loading():
                self._session = self._fall_back(spare, f"{error}")
            self._run_often(tensors)

    def _run_often(self, tensors: Mapping[str, Array]) -> None:
        for _ in range(WARM_UP_RUNS):
            self.run(tensors)

    def _open(self, model: bytes, cache: Cache | None) -> ort.InferenceSession:
        if self.provider != CPU:
            return self._open_elsewhere(model)
        if cache is None or not self.options.optimise:
            check(model)
            return _session(model, self.options)
        key = cache_key(model, self.options)
        optimised = cache.read(key)
        if optimised is None:
            optimised = optimise(model, self.options)
            cache.write(key, optimised)
        # Loaded from the same bytes when they were just made as when they were found: one path, one behaviour.
        return _session(optimised, self.options, is_optimised=True)

    def _open_elsewhere(self, model: bytes) -> ort.InferenceSession:
        """On another provider, which compiles for itself; what it cannot do, or all where it fails, the CPU does."""
        check(model)
        try:
            session = _session(model, self.options)
            taken, whole = _taken(session, providers.name_of(self.provider))
        except Exception as error:  # noqa: BLE001 (whatever a driver raises: the processor is always there)
            return self._fall_back(model, f"it does not take the model: {_first_line(error)}")
        if not taken:
            return self._fall_back(model, "it takes none of the model's nodes")
        if taken < whole:
            reason = f"{self.provider}: it takes {taken} of {whole} nodes, the CPU the others"
            self.lack = Lack(reason, "see with edge-agent tune whether the CPU alone is faster")
        self._spare = model
        return session

    def _fall_back(self, model: bytes, reason: str) -> ort.InferenceSession:
        self.lack = Lack(f"{self.provider}: {reason}", "update its driver, or export the model for it")
        self.provider, self.options = CPU, replace(self.options, provider=CPU)
        return _session(model, self.options)


@contextmanager
def _loading() -> Iterator[None]:
    """What ONNX Runtime raises of a model while it is loaded, by our name."""
    try:
        yield
    except InferenceError:
        raise
    except Exception as error:  # it has classes of its own for each kind of bad model
        message = f"the model cannot be loaded: {_first_line(error)}"
        raise InferenceError(message, "make the bundle again, or update the agent", Reason.NO_MODEL) from error


def check(model: bytes) -> None:
    """See that a model stands alone, and that its operators and their versions are known here.

    Raises:
        InferenceError: NO_MODEL, naming what is wrong and the cure.
    """
    graph.check(graph.read(model), newest_opset)


def optimise(model: bytes, options: Options | None = None) -> bytes:
    """The model as it runs on this processor: what the cache keeps, and what an audit looks at.

    Raises:
        InferenceError: NO_MODEL: as `check`.
        Exception: of ONNX Runtime, for a model it does not load.
    """
    check(model)
    with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
        saved = Path(folder) / "model.onnx"
        _session(model, options or Options(), save_as=saved)
        return saved.read_bytes()


def open_cache(folder: Path, store: Store) -> Cache:
    """What was made of models on this gateway, by its database."""
    return Cache(folder, StoreRows(store), StorePlans(store, own_fingerprint()))


def own_fingerprint(quota: float | None = None) -> str:
    """What plans that are measured now hold for; with `quota`, those of a process here that has so many processors."""
    return fingerprint(architecture(), cpu_flags(), cpu_quota() if quota is None else quota, RUNTIME)


def settle_provider(wanted: str) -> tuple[str, Lack | None]:
    """The provider that will be asked to run a model, and why that is not the one that was wanted.

    The library of a plugin is loaded for it, and stays.
    """
    lack = _lack(wanted)
    return (wanted if lack is None else CPU), lack


def list_providers() -> dict[str, Lack | None]:
    """The providers beside the CPU that are installed here, each with why it cannot be used."""
    built_in = [name for name in ort.get_available_providers() if name in providers.WHEELS]
    plugged = [name for name in providers.PLUGINS if providers.installed(name)]
    return {name: _lack(name) for name in (*built_in, *plugged)}


def _lack(wanted: str) -> Lack | None:
    plugin = providers.installed(wanted)
    if plugin is None:
        return None if wanted in ort.get_available_providers() else providers.lack(wanted)
    try:
        with _REGISTERING:
            _register(providers.name_of(wanted), plugin.module)
    except Exception as error:  # noqa: BLE001 (whatever a package or its library raises: the processor is always there)
        says = f"{wanted} is installed, but does not load: {_first_line(error)}"
        return Lack(says, f"see what {plugin.package} asks of system and driver, and install it anew")
    if not _devices(wanted):
        kind = providers.kind_of(wanted)
        says = f"{wanted} is installed, but finds no {kind} here that it can use"
        return Lack(says, f"see that the system has the {kind}'s driver and the agent's user may use the device")
    return None


@lru_cache
def _register(name: str, module: str) -> None:
    """Bring a plugin's library into this process: once, and again only where it failed."""
    ort.register_execution_provider_library(name, import_module(module).get_library_path())


def _devices(provider: str) -> list[Any]:
    name, kind = providers.name_of(provider), providers.kind_of(provider)
    return [each for each in ort.get_ep_devices() if (each.ep_name, each.device.type.name) == (name, kind)]


@lru_cache
def newest_opset(domain: str) -> int | None:
    """The latest version of a domain's operators that is known here: what ONNX Runtime says of one from the future."""
    name = domain.encode()
    opset = b"\x0a" + bytes([len(name)]) + name + b"\x10\xff\xff\x7f"
    model = b"\x08\x08\x3a\x00\x42" + bytes([len(opset)]) + opset
    try:
        ort.InferenceSession(model, providers=[CPU])
    except Exception as error:  # noqa: BLE001 (one that says nothing of it leaves it unknown)
        found = _OPSET.search(str(error))
        return int(found[1]) if found is not None else None
    return None


def _taken(session: ort.InferenceSession, provider: str) -> tuple[int, int]:
    """How many nodes a provider runs, of how many: the list of providers says who was asked, not who works."""
    if provider not in session.get_providers():
        return 0, 1
    if not hasattr(session, "get_provider_graph_assignment_info"):  # of ONNX Runtime before 1.32
        return 1, 1
    shares = [(each.ep_name, len(each.get_nodes())) for each in session.get_provider_graph_assignment_info()]
    return sum(count for name, count in shares if name == provider), sum(count for _, count in shares)


def cache_key(model: bytes, options: Options) -> str:
    """What an optimised model depends on: the signed model, who optimised it, for which processor, and how.

    Threads and arena change nothing of it: every plan of a variant loads the same file.
    """
    flags = " ".join(sorted(cpu_flags()))
    sides = " ".join(f"{name}={side}" for name, side in sorted(options.dimensions.items()))
    how = f"all provider={options.provider} {sides}"
    parts = (hashlib.sha256(model).hexdigest(), VERSION, flags, how)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _session(
    model: bytes, how: Options, *, is_optimised: bool = False, save_as: Path | None = None
) -> ort.InferenceSession:
    levels, options = ort.GraphOptimizationLevel, ort.SessionOptions()
    # Never left to the library: it counts the machine's cores, not the cgroup's quota, and binds threads to them.
    options.intra_op_num_threads = how.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    is_done = is_optimised or not how.optimise
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if is_done else levels.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = how.arena
    # At the pace of a line a thread that spins burns its core between two parts, and the neighbours need it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if how.provider != CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, side in how.dimensions.items():
        options.add_free_dimension_override_by_name(name, side)
    if save_as is not None:
        options.optimized_model_filepath = str(save_as)
    # Left to itself, ONNX Runtime prints that a provider failed and goes on with the CPU, even in the midst of a run.
    plugin, never = providers.installed(how.provider), {"enable_fallback": 0}
    if plugin is None:
        return ort.InferenceSession(model, options, providers=list(dict.fromkeys((how.provider, CPU))), **never)
    options.add_provider_for_devices(_devices(how.provider)[:1], plugin.settings(how.threads))
    return ort.InferenceSession(model, options, **never)


def _first_line(error: Exception) -> str:
    return _MARKS.sub("", (str(error).strip() or type(error).__name__).splitlines()[0])[:300]
