import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from cloud_hub.errors import FactoryError, LeftOut
from cloud_hub.factory import agreement, quantize, tfjs_run, yard
from cloud_hub.factory.accuracy_guard import Comparison
from edge_agent.inference import selftest
from edge_agent.inference.engine import Engine
from edge_agent.inference.model import Model
from edge_protocol import bundle

HERE = Path(__file__).parents[2] / "models" / "person-zone"

pytestmark = pytest.mark.filterwarnings("ignore")  # of onnxruntime's quantizer


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The recipe as a module; recipes are no package."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("recipe_person_zone", HERE / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, made once, where what it is made of can be had."""
    try:
        folder: Path = recipe.build(tmp_path_factory.mktemp("bundles"), lambda _text: None)
    except LeftOut as error:
        pytest.skip(f"{error}; {error.hint}")
    return folder


@pytest.fixture(scope="module")
def frames(built: Path) -> list[yard.Picture]:
    """The video's; it is there once the bundle is built."""
    del built
    return yard.read_frames(yard.find_video())


class NoRun:
    """A recipe's run that nobody listens to."""

    def __init__(self) -> None:
        self.lineage: dict[str, str] = {}

    def step(self, _title: str) -> None:
        """Nothing."""

    def note(self, _text: str) -> None:
        """Nothing."""


def test_the_card_claims_neither_safety_nor_accuracy(recipe: ModuleType) -> None:
    """No safety function, no SIL, no PL, no accuracy without labels; and no captures where people are in view."""
    card = tomllib.loads((HERE / "card.toml").read_text())

    not_for, testing = (" ".join(text.split()) for text in (card["intended"]["not_for"], card["data"]["testing"]))
    assert "not a safety function: it has no SIL and no PL" in not_for
    assert "no labels, so no accuracy" in testing
    assert recipe.draft(card["model"], NoRun(), {}).capture == "none"


def test_the_zone_is_the_bay_behind_the_tape(recipe: ModuleType) -> None:
    """Within the bay, and not on the road, on the grass or at the wall."""
    polygon = np.array(recipe.ZONE.polygon, np.float32)

    def is_inside(x: float, y: float) -> bool:
        return cv2.pointPolygonTest(polygon, (x / yard.WIDTH, y / yard.HEIGHT), measureDist=False) >= 0

    assert is_inside(100, 180)
    assert is_inside(500, 160)
    assert not any(is_inside(*place) for place in ((300, 260), (700, 200), (200, 500), (400, 60)))


@pytest.mark.slow
def test_the_translated_network_says_what_its_framework_says(
    recipe: ModuleType, frames: list[yard.Picture], tmp_path: Path
) -> None:
    """The raw heads of ONNX Runtime and of TensorFlow.js, on a picture of the network's own size.

    Scores everywhere, sides wherever the score is high enough to be told of: elsewhere nobody reads them.
    """
    theirs, _, _ = recipe.collect(NoRun(), tmp_path)
    picture = np.asarray(cv2.resize(frames[300], (recipe.SIDE,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    engine = Engine(recipe.convert(NoRun(), theirs))
    found = engine.run({"image": quantize.tensors_of(recipe.CONTRACT, [picture])[0]})

    ((heat, sides),) = tfjs_run.run(
        theirs, [recipe.HEAT, recipe.SIDES], [np.ascontiguousarray(picture[:, :, ::-1])], tmp_path / "tfjs"
    )

    is_told = heat.max(axis=-1) >= recipe.OUTPUT.min_score
    assert is_told.any()
    np.testing.assert_allclose(found["heat"], heat, atol=1e-3)
    np.testing.assert_allclose(found["sides"][is_told], sides[is_told], atol=0.05)


@pytest.mark.slow
def test_six_people_are_seen_in_frame_300(built: Path, frames: list[yard.Picture]) -> None:
    """Each above one half but for rounding, nobody twice."""
    model = Model.load(built, variant="fp32")

    seen = [each for each in agreement.look(model, frames[300]).detections if each.label == "person"]

    assert sum(each.score >= 0.45 for each in seen) == 6
    assert all(agreement.overlap(a.box, b.box) < 0.5 for a in seen for b in seen if a is not b)


@pytest.mark.slow
def test_it_passes_its_own_self_test(recipe: ModuleType, built: Path) -> None:
    """Each variant that this machine computes as it is meant reproduces all goldens, TensorFlow.js's word included."""
    manifest, _ = bundle.load(built)

    assert all(golden.trained is not None for golden in manifest.goldens)
    for variant in manifest.variants:
        if variant.name in recipe.NATIVE:
            assert selftest.check(Model.load(built, variant=variant.name), built) == []


@pytest.mark.slow
def test_nobody_who_was_filmed_is_in_the_bundle(built: Path, frames: list[yard.Picture]) -> None:
    """A golden is the empty yard but for one rectangle, the portrait."""
    empty = yard.empty(frames)

    for path in (built / "goldens").iterdir():
        differs = (np.asarray(cv2.imread(str(path))) != empty).any(axis=2)
        rows, columns = differs.any(axis=1).nonzero()[0], differs.any(axis=0).nonzero()[0]
        if rows.size:
            inside = differs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert inside.mean() > 0.9, path.name
        else:
            assert path.name.startswith("empty")


@pytest.mark.slow
def test_what_is_shipped_in_integers_holds_the_guard(built: Path) -> None:
    """All variants are there, and by the card the attempt that is shipped judges as single precision does."""
    measured: dict[str, Any] = tomllib.loads((built / "card.toml").read_text())["measured"]
    manifest, _ = bundle.load(built)
    same, auroc, rank = (
        [figure for name, figure in measured.items() if name.startswith("int8") and name.endswith(end)]
        for end in ("as by fp32", "fp32's verdicts", "rank correlation")
    )

    found = Comparison(1 - auroc[-1], same[-1]["value"], rank[-1])
    assert len(same) == len(auroc) == len(rank) > 0
    assert {variant.name for variant in manifest.variants} == {"fp32", "u8s8-vnni", "s8s8-arm"}
    assert found.holds


def test_a_point_beside_the_gap_is_refused(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept stays the middle of the widest gap, or the recipe stops and names what it would have to be."""
    scores = np.array([0.2, 0.61, 0.3, 0.52, 0.34, 0.24])
    monkeypatch.setattr(recipe, "scores_of", lambda *_: scores)
    monkeypatch.setattr(recipe.quantize, "tensors_of", lambda *_: [])
    exact, frames = SimpleNamespace(engine=None), [None] * recipe.FRAMES

    with pytest.raises(FactoryError, match=r"is 0\.37, .* is 0\.43"):
        recipe.check_point(NoRun(), exact, frames)

    scores[4] = 0.22
    with pytest.raises(FactoryError, match=r"is 0\.41"):
        recipe.check_point(NoRun(), exact, frames)
