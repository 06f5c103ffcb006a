import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts.benches import __main__ as bench
from scripts.benches import goals, ground, inference, machine
from scripts.benches.pairs import Estimate


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A bench called `planted` that measures one figure."""
    module = ModuleType("scripts.benches.planted")
    module.FIGURES = {"parts_per_s": "parts a second (goal: 20)"}
    module.measure = lambda: {"parts_per_s": 21.5}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(bench, "names", lambda: ["planted"])
    return module


@pytest.mark.usefixtures("planted")
def test_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written down is the bench's name, the machine, and the figures that were printed."""
    file = tmp_path / "figures.json"

    code = bench.main(["planted", "--json", str(file)])

    written = json.loads(file.read_text())
    assert code == 0
    assert written.keys() == {"bench", "machine", "figures"}
    assert (written["bench"], written["figures"]) == ("planted", {"parts_per_s": 21.5})
    assert "parts_per_s          21.5  parts a second (goal: 20)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "meaning", "word"),
    [
        (0.93, "ratio (≥ 0.90)", "met"),
        (2.0, "ratio (≥ 3)", "MISSED by 1, 33%"),
        (154.0, "MB (< 150)", "MISSED by 4, 3%"),
        (150.0, "MB (< 150)", "MISSED by 0, 0%"),
        (1.0, "frames (≤ 1)", "met"),
        (2.0, "triggers lost (0)", "MISSED by 2"),
        (200.0, "scratches, of 200 (200)", "met"),
        (1.5, "speed (VNNI: ≥ 3)", "not to be told here: the goal is for VNNI"),
        (0.34, "share (stated)", ""),
        (0.42, "ms (< 1; stated)", ""),
        (7.0, "kB (0 within noise)", "MISSED by 7"),
        (Estimate(0.88, 0.85, 0.91), "ratio (≥ 0.90)", "met within its interval (0.85 to 0.91)"),
        (Estimate(0.93, 0.85, 0.95), "ratio (≥ 0.90)", "met"),
        (Estimate(154, 150, 160), "MB (< 150)", "MISSED by 4, 3%"),
        (Estimate(154, 149.5, 160), "MB (< 150)", "met within its interval (149.5 to 160)"),
        (Estimate(7.0, -1.0, 9.0), "kB (0 within noise)", "met"),
        (Estimate(-7.0, -9.0, -1.0), "kB (0 within noise)", "MISSED by 7"),
    ],
)
def test_a_goal_that_is_missed_is_said(value: float, meaning: str, word: str) -> None:
    """By how much, beside the figure, where not even its interval reaches the goal; what is only stated has no word."""
    assert goals.word(value, meaning) == word


def test_a_goal_of_a_kind_of_processor_counts_there() -> None:
    """With VNNI the goal for VNNI is one."""
    assert goals.word(1.5, "speed (VNNI: ≥ 3)", {"avx_vnni"}) == "MISSED by 1.5, 50%"


def test_every_obstacle_is_of_a_figure(planted: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in the way is printed under what is missed; no word is of a key that is gone."""
    planted.FIGURES = {"slow": "ratio (≥ 30)", "fast": "ratio (≥ 3)"}
    planted.OBSTACLES = dict.fromkeys(planted.FIGURES, "the model's own time")
    planted.measure = lambda: {"slow": 20.0, "fast": 20.0}

    bench.main(["planted"])

    assert capsys.readouterr().out.count("in the way: the model's own time") == 1
    for each in (ground, inference):
        assert each.OBSTACLES.keys() <= each.FIGURES.keys()


@pytest.mark.parametrize("value", [1.5, Estimate(2.9, 2.8, 3.1)])
def test_nothing_is_in_the_way_of_what_is_not_missed(value: float) -> None:
    """A goal of another processor, or one that the interval reaches, has no obstacle."""
    meaning, flags = {"speed": "speed (VNNI: ≥ 3)"}, {"avx_vnni"} if isinstance(value, Estimate) else set()

    assert "in the way" not in goals.table({"speed": value}, meaning, {"speed": "anything"}, flags)


def test_a_figure_without_a_meaning_is_refused(planted: ModuleType, tmp_path: Path) -> None:
    """A key that the bench does not document is not published."""
    planted.measure = lambda: {"parts_per_s": 21.5, "surprise": 1.0}
    file = tmp_path / "figures.json"

    code = bench.main(["planted", "--json", str(file)])

    assert code == 2
    assert not file.exists()


def test_a_machine_says_what_decides_a_figure() -> None:
    """Processor, cores, the flags that choose a variant, and the libraries' versions are named."""
    described = machine.describe()

    assert described["cpu"]
    assert {"arch", "flags", "cores", "memory_mb", "os", "python", *machine.LIBRARIES} <= described.keys()
