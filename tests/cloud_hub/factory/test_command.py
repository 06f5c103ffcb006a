import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.command import is_current, report
from cloud_hub.factory.run import Run, describe
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest

CARD = b"""[model]
name = "a"
version = "1.0.0"
[measured]
auroc = { value = 0.9, low = 0.8, high = 1.0, n = 7 }
psi = 0.5
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that nobody runs."""
    path = tmp_path / "models" / "small-image" / "recipe.py"
    path.parent.mkdir(parents=True)
    path.write_text("print()")
    return path


def build(folder: Path, recipe: Path) -> None:
    """Write a bundle that says it was made by this recipe."""
    manifest = msgspec.structs.replace(image_manifest(), lineage={**describe(recipe), "data": "x"})
    write_bundle(folder, manifest, {"fp32.onnx": image_graph(), "card.toml": CARD})


def test_a_bundle_is_current_until_its_recipe_changes(tmp_path: Path, recipe: Path) -> None:
    """The same code and data made it: kept. Another byte in the recipe or its card: made again."""
    build(tmp_path / "b", recipe)
    assert is_current(tmp_path / "b", recipe)

    (recipe.parent / "card.toml").write_text("changed")

    assert not is_current(tmp_path / "b", recipe)


def test_a_damaged_or_missing_bundle_is_not_current(tmp_path: Path, recipe: Path) -> None:
    """What does not match its manifest is made again."""
    build(tmp_path / "b", recipe)
    (tmp_path / "b" / "fp32.onnx").write_bytes(b"damaged")

    assert not is_current(tmp_path / "b", recipe)
    assert not is_current(tmp_path / "absent", recipe)


def test_the_report_is_what_the_card_says(tmp_path: Path, recipe: Path) -> None:
    """A line for each figure, with interval and count where there are."""
    build(tmp_path / "b", recipe)

    assert report(tmp_path / "b") == ["b: auroc: 0.900 [0.800, 1.000] of 7", "b: psi: 0.500"]


def test_steps_are_told_as_they_happen(recipe: Path) -> None:
    """Each step says its number, of how many, and what is done."""
    said: list[str] = []
    run = Run(recipe, 2, said.append)

    run.step("collect")
    run.note("three")
    run.step("bundle")

    name = recipe.parent.name
    assert [line.split(" s ", 1)[1] for line in said] == [f"{name} 1/2 collect", "    three", f"{name} 2/2 bundle"]


def test_a_place_that_is_taken_is_said_and_left_alone(tmp_path: Path) -> None:
    """A recipe that would overwrite something else ends with cause and cure and exit code 2."""
    (tmp_path / "engine-fault").mkdir()
    (tmp_path / "engine-fault" / "mine.txt").touch()
    recipe = Path(__file__).parents[3] / "models" / "engine-fault" / "recipe.py"

    ended = subprocess.run([sys.executable, recipe, "--out", tmp_path], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "holds no bundle" in ended.stderr
    assert "remove it" in ended.stderr
    assert [path.name for path in (tmp_path / "engine-fault").iterdir()] == ["mine.txt"]


def test_what_others_publish_and_cannot_be_had_leaves_one_model_out(tmp_path: Path) -> None:
    """A recipe whose ingredients are nowhere says so in one sentence with a cure, and fails nobody: exit code 0."""
    recipe = tmp_path / "models" / "far" / "recipe.py"
    recipe.parent.mkdir(parents=True)
    recipe.with_name("card.toml").write_text('[model]\nname = "far"\nversion = "1.0.0"\n')
    recipe.write_text(
        "from pathlib import Path\n"
        "from cloud_hub.errors import LeftOut\n"
        "from cloud_hub.factory.command import run_recipe\n"
        "def build(out, say):\n"
        "    raise LeftOut('no such thing here', 'fetch it')\n"
        "run_recipe(build, Path(__file__))\n"
    )

    ended = subprocess.run(
        [sys.executable, recipe, "--out", tmp_path / "out", "--report"], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0
    assert ended.stderr.splitlines() == ["far is left out: no such thing here; fetch it"]
    assert not (tmp_path / "out").exists()
