import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.inference import engine as room
from edge_agent.inference import providers
from edge_agent.inference.engine import Engine
from edge_agent.inference.providers import CPU, Lack
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import SIDE

MODEL = small_bundles.image_graph()
TENSOR = {"image": np.random.default_rng(5).random((1, 3, SIDE, SIDE), np.float32)}
NAME = "WebGpuExecutionProvider"
MODULE = providers.PLUGINS[NAME].module
PROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package of a plugin with this code, in front of a real one."""

    def install(code: str) -> None:
        (tmp_path / MODULE).mkdir()
        (tmp_path / MODULE / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))

    forgotten = sys.modules.pop(MODULE, None)
    yield install
    sys.modules.pop(MODULE, None)
    if forgotten is not None:
        sys.modules[MODULE] = forgotten


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"def get_library_path(): return {__file__!r}", "invalid ELF header"),
        ("def get_library_path(): return '/nowhere/plugin.so'", "/nowhere/plugin.so"),
        ("raise OSError('this build is for another processor')", "this build is for another processor"),
        ("", "has no attribute 'get_library_path'"),
    ],
    ids=["no library", "no file", "no import", "no path"],
)
def test_a_plugin_that_does_not_load_leaves_the_processor_and_a_sentence(
    package: Callable[[str], None], code: str, words: str
) -> None:
    """Whatever its package or its library raises is said, the CPU runs the model, and the doctor knows it too."""
    package(code)

    engine = Engine(MODEL, provider=NAME)

    assert engine.provider == CPU
    assert engine.lack is not None
    assert engine.fallback.startswith(f"{NAME} is installed, but does not load: ")
    assert words in engine.fallback
    assert engine.lack.cure.startswith(f"see what {providers.PLUGINS[NAME].package} asks of")
    assert np.array_equal(engine.run(TENSOR)["score"], Engine(MODEL).run(TENSOR)["score"])
    assert room.list_providers()[NAME] == engine.lack


def test_what_runs_on_the_processor_pays_for_no_plugin(package: Callable[[str], None]) -> None:
    """A package that is there is not imported by an agent whose models do not name it."""
    package("raise SystemExit")

    assert Engine(MODEL).lack is None
    assert Engine(MODEL, provider="CUDAExecutionProvider").provider == CPU
    assert MODULE not in sys.modules


def test_a_provider_may_be_told_its_kind_of_device() -> None:
    """The kind follows a colon, else it is the one the plugin is meant for; how to install it is said the same."""
    wanted = "NvTensorRTRTXExecutionProvider:NPU"

    assert (providers.name_of(wanted), providers.kind_of(wanted)) == ("NvTensorRTRTXExecutionProvider", "NPU")
    assert providers.kind_of("OpenVINOExecutionProvider") == "CPU"
    assert room.settle_provider(wanted) == (
        CPU, Lack(f"{wanted} is not installed: pip install 'onnxruntime-ep-nv-tensorrt-rtx'", "install it"),
    )  # fmt: skip


@pytest.mark.parametrize("name", providers.PLUGINS)
def test_what_is_said_to_install_a_plugin_installs_it(name: str) -> None:
    """An extra of ours that is named is one of the project's, and brings the package that the module comes with."""
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    plugin = providers.PLUGINS[name]

    ours, _, extra = plugin.package.rstrip("]").partition("[")
    wanted = [each.partition(">")[0] for each in extras[extra]] if extra else [ours]

    assert not extra or ours == "lineside"
    assert [each.replace("-", "_") for each in wanted] == [plugin.module]


def test_a_session_never_changes_its_provider_by_itself() -> None:
    """ONNX Runtime's own way of going on with the CPU when a run fails, told on stdout only, is off."""
    assert Engine(MODEL)._session._enable_fallback is False
    assert Engine(MODEL, provider="AzureExecutionProvider")._session._enable_fallback is False
