from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.errors import InferenceError
from edge_agent.updates import machine
from edge_agent.updates.resume import MAX_STARTS
from tests.edge_agent.updates.line import PATIENT, Line, in_phase, said
from tests.edge_agent.updates.releases import Release, good


def start_probation(folder: Path, made: Release) -> None:
    """A gateway whose agent was cut while 1.1.0 is on probation."""
    line = Line(folder, (made,), limits=PATIENT)
    line.name(made)
    line.run(in_phase(machine.Phase.PROBATION))
    line.cut()


def damage(slot: Path) -> None:
    """Another file under the name of its model; what it was linked to stays as it is."""
    (slot / "fp32.onnx").unlink()
    (slot / "fp32.onnx").write_bytes(b"noise")


def test_a_probation_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The row says what runs; time and verdicts count anew, and at the end it is kept."""
    made = good("1.1.0")
    start_probation(tmp_path, made)

    line = Line(tmp_path, (made,))
    first = line.pipeline.model.digest
    line.name(made)
    line.run(said("kept"))

    assert first == made.digest
    assert line.ledger.slots()["engine"].previous == line.placed
    line.close()


def test_an_agent_that_keeps_ending_in_a_probation_goes_back(tmp_path: Path) -> None:
    """More than three starts that nobody asked for: the model before, and the digest is remembered as Unstable."""
    made = good("1.1.0")
    start_probation(tmp_path, made)
    ran = []
    for _ in range(MAX_STARTS + 1):
        line = Line(tmp_path, (made,), limits=PATIENT)
        ran.append(line.pipeline.model.digest)
        line.cut()

    line = Line(tmp_path, (made,))
    line.name(made)
    line.step()

    assert ran == [made.digest] * MAX_STARTS + [line.placed]
    assert line.ledger.refused("engine")[made.digest].refusal == "Unstable"
    assert line.updates.standing("engine").step == "returned"
    line.close()


def test_stops_that_were_asked_for_are_no_crashes(tmp_path: Path) -> None:
    """An operator may restart the agent in a probation as often as he likes."""
    made = good("1.1.0")
    start_probation(tmp_path, made)
    Line(tmp_path, (made,), limits=PATIENT).close()
    for _ in range(MAX_STARTS + 2):
        line = Line(tmp_path, (made,), limits=PATIENT)
        assert line.pipeline.model.digest == made.digest
        line.close()


def test_a_slot_that_does_not_load_gives_way(tmp_path: Path) -> None:
    """On probation: Unstable, remembered. The line judges with the model before."""
    made = good("1.1.0")
    start_probation(tmp_path, made)
    damage(tmp_path / "slots" / made.digest)

    line = Line(tmp_path, (made,))

    assert line.pipeline.model.digest == line.placed
    assert line.steps() == ["returned Unstable"]
    assert "does not load" in line.told[0].detail
    assert made.digest in line.ledger.refused("engine")
    line.close()


def test_a_kept_slot_that_the_disk_has_damaged_is_fetched_anew(tmp_path: Path) -> None:
    """It had proved itself: the model before judges meanwhile, the objects are checked, and it comes back."""
    made = good("1.1.0")
    first = Line(tmp_path, (made,))
    first.name(made)
    first.run(said("kept")).close()
    damage(tmp_path / "slots" / made.digest)

    line = Line(tmp_path, (made,))
    meanwhile = line.pipeline.model.digest
    line.name(made)
    line.run(said("kept"))

    assert meanwhile == line.placed
    assert line.pipeline.model.digest == made.digest
    line.close()


def test_with_no_good_model_the_start_says_which_file(tmp_path: Path) -> None:
    """Neither loads: an error with the file's name, not a line that judges nothing."""
    made = good("1.1.0")
    start_probation(tmp_path, made)
    for slot in (tmp_path / "slots").iterdir():
        damage(slot)

    with pytest.raises(InferenceError, match=r"fp32\.onnx"):
        Line(tmp_path, (made,), limits=settings.Updates())


def test_a_probation_that_is_over_is_not_counted(tmp_path: Path) -> None:
    """Kept is kept: crashes after that are not the model's fault."""
    made = good("1.1.0")
    first = Line(tmp_path, (made,))
    first.name(made)
    first.run(said("kept")).cut()
    for _ in range(MAX_STARTS + 2):
        line = Line(tmp_path, (made,))
        assert line.pipeline.model.digest == made.digest
        line.cut()
