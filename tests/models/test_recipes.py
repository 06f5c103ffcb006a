import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cloud_hub.factory import datasets, evaluate
from edge_agent.inference import selftest
from edge_agent.inference.cache import Cache
from edge_agent.inference.features import read_window
from edge_agent.inference.model import Model
from edge_agent.sources.scenes import TextureScene
from edge_protocol import bundle, counters, statistics
from tests.edge_agent.inference.test_other_processor import on_haswell

MODELS = Path(__file__).parents[2] / "models"
NAMES = ("surface-anomaly", "engine-fault")
EVERY = (*NAMES, "person-zone", "cookie-anomaly", "board-anomaly")
NATIVE = {"surface-anomaly": ("fp32", "u8s8-7bit"), "engine-fault": ("fp32",)}
PANE = 500

pytestmark = pytest.mark.filterwarnings("ignore")  # of onnxruntime's quantizer and of scikit-learn


def load_recipe(name: str) -> ModuleType:
    """A recipe as a module; recipes are no package."""
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location(f"recipe_{name.replace('-', '_')}", MODELS / name / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both bundles, made once."""
    out = tmp_path_factory.mktemp("bundles")
    for name in NAMES:
        load_recipe(name).build(out, lambda _text: None)
    return out


@pytest.fixture(scope="session")
def measured(built: Path) -> Callable[[str], dict[str, Any]]:
    """What the card of a built bundle says was measured."""
    return lambda name: tomllib.loads((built / name / "card.toml").read_text())["measured"]


@pytest.mark.parametrize("name", EVERY)
def test_a_card_says_what_a_reader_must_know(name: str) -> None:
    """Name, purpose, origin, thresholds and limits stand in every card."""
    card = tomllib.loads((MODELS / name / "card.toml").read_text())

    assert card["model"]["name"] == name
    assert set(card) >= {"model", "intended", "data", "thresholds", "limits"}
    assert card["model"]["objective"]
    assert card["intended"]["not_for"]


def test_every_folder_of_models_is_a_recipe_with_a_card() -> None:
    """Nothing else lies there."""
    assert {path.name for path in MODELS.iterdir() if path.is_dir()} == set(EVERY)
    assert all((MODELS / name / "recipe.py").is_file() for name in EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_the_same_bundle_again(built: Path, tmp_path: Path, name: str) -> None:
    """The same code and data on one machine make the same digest."""
    load_recipe(name).build(tmp_path, lambda _text: None)

    assert bundle.load(tmp_path / name)[1] == bundle.load(built / name)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_built_bundle_passes_its_own_self_test(built: Path, tmp_path: Path, name: str) -> None:
    """Each variant that this machine computes as it is meant reproduces all goldens, from the cache too."""
    for variant in NATIVE[name]:
        for _ in range(2):
            model = Model.load(built / name, variant=variant, cache=Cache(tmp_path, {}))
            assert selftest.check(model, built / name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_trainers_own_framework_has_its_say(built: Path, name: str) -> None:
    """At least one golden of each bundle holds every variant to what another path than ours makes of it."""
    manifest, _ = bundle.load(built / name)
    trained = [(golden, golden.trained) for golden in manifest.goldens if golden.trained is not None]

    assert trained
    for golden, said in trained:
        assert set(golden.expect) == {variant.name for variant in manifest.variants}
        assert said.tolerance > 0
        assert all(abs(each.score - said.score) <= said.tolerance for each in golden.expect.values())
        assert "onnxruntime" not in said.framework


@pytest.mark.slow
@pytest.mark.qemu
def test_the_variants_of_the_surfaces_on_haswell(built: Path, qemu: str) -> None:
    """On AVX2 without VNNI the float and the seven bit variant are what they are here, the eight bit one is not."""
    found = on_haswell(qemu, built / "surface-anomaly", "fp32:1", "u8s8-7bit:2", "u8s8-vnni")

    assert (found["fp32"][0], found["u8s8-7bit"][0]) == ([], [])
    assert "engine" in found["u8s8-vnni"][0]


@pytest.mark.slow
def test_the_surfaces_are_told_apart(measured: Callable[[str], dict[str, Any]]) -> None:
    """On unseen halves AUROC is above .95 in all, above .8 on the hardest, and int8 loses less than a point."""
    found = measured("surface-anomaly")

    for variant in NATIVE["surface-anomaly"]:
        assert found[f"{variant} auroc"]["low"] > 0.95
        assert found[f"{variant} overkill"]["value"] < 0.03
        assert found[f"{variant} escape"]["value"] < 0.2
        assert all(found[f"{variant} auroc {surface}"]["value"] > 0.8 for surface in datasets.SURFACES)
        assert found[f"{variant} psi of score against reference"] < 0.1
    assert found["fp32 auroc"]["value"] - found["u8s8-7bit auroc"]["value"] < 0.01


@pytest.mark.slow
def test_the_symptom_is_heard(measured: Callable[[str], dict[str, Any]]) -> None:
    """On test rows accuracy is above .96, and panes with some faults in them are quiet."""
    found = measured("engine-fault")

    assert found["fp32 accuracy at one half"]["low"] > 0.96
    assert found["fp32 overkill"]["value"] < 0.03
    assert found["fp32 escape"]["value"] < 0.03
    assert found["FordA vibration: fp32 accuracy at one half"]["low"] > 0.95
    assert found["FordB log-power-spectrum: fp32 accuracy at one half"]["low"] > 0.78
    assert found["FordB vibration: fp32 accuracy at one half"]["low"] > 0.78
    assert all(value < statistics.PSI_DRIFT for name, value in found.items() if name.startswith("largest psi"))


@pytest.mark.slow
def test_no_recording_without_a_licence_is_in_the_bundle(built: Path) -> None:
    """No golden sample is a row of FordA, nor close to one, and no file holds a row's bytes."""
    folder = built / "engine-fault"
    rows = np.vstack([datasets.read_engine_noise(part).windows for part in ("TRAIN", "TEST")])
    goldens = [read_window(path.read_bytes(), rows.shape[1]) for path in (folder / "goldens").iterdir()]
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    assert goldens
    assert all(abs(np.corrcoef(golden, row)[0, 1]) < 0.95 for golden in goldens for row in rows)
    assert not any(row.astype(kind)[:8].tobytes() in content for row in rows for kind in (np.float64, np.float32))


@pytest.mark.slow
def test_only_a_change_of_light_looks_like_drift(built: Path, tmp_path: Path) -> None:
    """Panes of other draws with some defects are quiet in every signal; under 80 % of the light, luma drifts."""
    folder = built / "surface-anomaly"
    models = [Model.load(folder) for _ in range(2)]
    reference = counters.load_reference((folder / "reference.json").read_bytes())
    scene = TextureScene(datasets.stage_surfaces(tmp_path), 99, "right", 0.05)
    parts = [scene.draw(n)[0] for n in range(2 * PANE)]
    dark = [(part * 0.8).round().astype(np.uint8) for part in parts[:PANE]]

    quiet = [_psi(reference, evaluate.judge_all(models, pane)) for pane in (parts[:PANE], parts[PANE:])]
    drifting = _psi(reference, evaluate.judge_all(models, dark))

    assert all(value < statistics.PSI_DRIFT for pane in quiet for value in pane.values()), quiet
    assert drifting["luma_mean"] > 2 * statistics.PSI_DRIFT
    assert drifting["red_green"] < 0.1


def _psi(reference: counters.Reference, judged: evaluate.Judged) -> dict[str, float]:
    values = {**judged.signals, "score": judged.scores}
    return {
        signal.name: statistics.psi(np.array(signal.counts), counters.count(signal.edges, values[signal.name]))
        for signal in reference.signals
    }
