import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts.benches import __main__ as bench
from scripts.benches import machine


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
