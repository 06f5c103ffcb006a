"""Published plugins of ONNX Runtime, each judging a golden; OpenVINO also on a processor of Intel's, by qemu.

`scripts/test --all` unpacks their wheels into .lineside/plugins, apart from what is installed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edge_agent.inference.model import Model
from edge_agent.inference.providers import CPU, PLUGINS
from edge_agent.inference.selftest import trace
from edge_protocol.bundle import Expectation, Golden, OperatingPoint, Variant
from tests.edge_agent.inference.small_bundles import SIDE, image_graph, image_manifest, png, write_bundle

OPENVINO = "OpenVINOExecutionProvider"
HERE = Path(__file__).parents[3] / ".lineside" / "plugins"
CHILD_S = 300

CHILD = """
import json, sys
from pathlib import Path
from edge_agent.inference import selftest
from edge_agent.inference.engine import list_providers
from edge_agent.inference.model import Model
model = Model.load(Path(sys.argv[1]), threads=2)
engine = model.engine
print(json.dumps({
    "provider": engine.provider,
    "fallback": engine.fallback,
    "differs": [each.stage for each in selftest.check(model, Path(sys.argv[1]))],
    "settings": engine._session.get_provider_options().get(engine.provider),
    "listed": {name: lack.says if lack else "" for name, lack in list_providers().items()},
}))
"""

pytestmark = pytest.mark.slow


def bundle_for(folder: Path, provider: str) -> Path:
    """A bundle whose only variant asks for a provider, with a golden as the CPU judges it."""
    data = png(np.random.default_rng(2).integers(100, 256, (SIDE, SIDE, 3), np.uint8))
    files = {"fp32.onnx": image_graph(), "golden.png": data}
    manifest = image_manifest()
    found = trace(Model.load(write_bundle(folder / "draft", manifest, files)), data)
    expectation = Expectation(verdict="NG", score=found.score, margin=found.score / 2, stages=found.stages)
    return write_bundle(
        folder / "bundle",
        replace(
            manifest,
            variants=(Variant(name="fp32", file="fp32.onnx", provider=provider),),
            goldens=(Golden(file="golden.png", expect={"fp32": expectation}),),
            operating_point=OperatingPoint(accept=found.score / 4, reject=found.score / 2),
        ),
        files,
    )


def judged_by(folder: Path, provider: str, *emulator: str) -> dict[str, Any]:
    """What a process says that has the plugins on its path and loads a bundle that asks for one of them."""
    module = PLUGINS[provider].module
    if not (HERE / module).is_dir():
        pytest.skip(f"{module.replace('_', '-')} is not here: scripts/test --all fetches it")
    # The interpreter itself, and not the link in the virtual environment: qemu runs a file.
    done = subprocess.run(
        [*emulator, os.path.realpath(sys.executable), "-c", CHILD, str(bundle_for(folder, provider))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(HERE)])},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("provider", [OPENVINO, "WebGpuExecutionProvider"])
def test_a_plugin_runs_the_model_or_says_which_device_is_missing(tmp_path: Path, provider: str) -> None:
    """On any machine the golden is judged as it should be: by the device, or by the CPU and a sentence."""
    found = judged_by(tmp_path, provider)

    assert found["differs"] == []
    if found["provider"] == CPU:
        kind = PLUGINS[provider].kind
        assert found["fallback"] == f"{provider} is installed, but finds no {kind} here that it can use"
    else:
        assert (found["provider"], found["fallback"]) == (provider, "")
    assert found["listed"][provider] == found["fallback"]


@pytest.mark.qemu
def test_openvino_runs_the_model_on_a_processor_of_intels(tmp_path: Path, qemu: str) -> None:
    """It takes every node, is told the number of threads, and the golden is judged as the CPU judges it."""
    found = judged_by(tmp_path, OPENVINO, qemu, "-cpu", "Haswell")

    assert (found["provider"], found["fallback"], found["differs"]) == (OPENVINO, "", [])
    assert json.loads(found["settings"]["load_config"])["CPU"]["INFERENCE_NUM_THREADS"] == 2
    assert found["listed"][OPENVINO] == ""
