import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import InferenceError
from edge_agent.store import StoreFull
from edge_agent.updates import machine
from edge_agent.updates.ledger import KEEP_ROWS
from edge_protocol import bundle
from edge_protocol.bundle import OperatingPoint
from edge_protocol.codes import Reason
from edge_protocol.messages import Update
from tests.edge_agent.inference.small_bundles import write_window_bundle
from tests.edge_agent.updates.line import PATIENT, in_phase, line_of, said
from tests.edge_agent.updates.releases import good, release


def test_a_release_is_told_step_by_step(tmp_path: Path) -> None:
    """Wanted, staged, probation, kept: each once, about this release, with the rollout; the panes begin anew once."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        line.name(made)
        line.run(said("kept"))

        assert line.steps() == ["wanted", "staged", "probation", "kept"]
        assert {(each.pipeline, each.version, each.digest, each.rollout) for each in line.told} == {
            ("engine", "1.1.0", made.digest, "r-1")
        }
        assert line.swaps == [made.digest]
        assert {each.context.digest.hex() for each in line.judged} == {line.placed, made.digest}


def test_only_what_is_missing_is_fetched(tmp_path: Path) -> None:
    """A release that moves the threshold re-sends its manifest and nothing that the placed bundle has."""
    made = release("1.1.0", operating_point=OperatingPoint(accept=0.3, reject=0.7))
    with line_of(tmp_path, made) as line:
        line.name(made)
        line.run(said("kept"))

        golden = hashlib.sha256(made.files["golden.npy"]).hexdigest()
        assert {want.sha256 for want in line.wants} == {made.digest, golden}
        next_one = release("1.1.1", operating_point=OperatingPoint(accept=0.2, reject=0.7))
        line.objects |= next_one.objects
        line.wants.clear()
        line.name(next_one)
        line.run(lambda line: line.pipeline.model.digest == next_one.digest)
        assert {want.sha256 for want in line.wants} == {next_one.digest}


def test_a_newer_name_takes_the_place_of_what_is_on_its_way(tmp_path: Path) -> None:
    """While the first is fetched the director names another: the first is dropped, nothing of it ever judges."""
    first, second = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, second) as line:
        line.name(first)
        line.run(in_phase(machine.Phase.MANIFEST))
        line.name(second)
        line.run(said("kept"))

        assert line.steps() == ["wanted", "wanted", "staged", "probation", "kept"]
        assert line.swaps == [second.digest]


def test_a_newer_name_ends_a_probation_with_the_model_that_is_known(tmp_path: Path) -> None:
    """On probation another is named: the model before judges while the next is fetched, and nothing is called bad."""
    first, second = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, first, second, limits=PATIENT) as line:
        line.name(first)
        line.run(in_phase(machine.Phase.PROBATION))
        line.name(second)
        line.run(lambda line: line.swaps[-1] == second.digest)

        assert line.swaps == [first.digest, line.placed, second.digest]
        assert line.ledger.refused("engine") == {}
        assert line.ledger.slots()["engine"].previous == line.placed


def fail(*_arguments: object, **_named: object) -> Any:
    """A runtime that has had enough."""
    message = "the model failed"
    raise InferenceError(message, "", Reason.ENGINE_FAULT)


def test_a_model_that_fails_on_the_line_gives_way_and_is_remembered(tmp_path: Path) -> None:
    """Unstable: the model before is back within few parts, the digest is not tried again until another is named."""
    made, other = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, made, other, limits=PATIENT) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.PROBATION))
        line.pipeline.model.conclude = fail  # type: ignore[method-assign]
        before = len(line.judged)
        line.run(said("returned Unstable"))
        faults = [each for each in line.judged[before:] if each.reason is Reason.ENGINE_FAULT]
        line.name(made)
        for _ in range(20):
            line.step()

        assert len(faults) < 10
        assert line.pipeline.model.digest == line.placed
        assert line.steps()[-1] == "returned Unstable"
        standing = line.updates.standing("engine")
        assert (standing.wanted, standing.step, standing.refusal) == (made.digest, "returned", "Unstable")
        line.name(other)
        line.run(in_phase(machine.Phase.PROBATION))
        assert line.ledger.refused("engine") == {}


def test_a_silent_judge_gives_way(tmp_path: Path) -> None:
    """The thread that judges hangs in the new model: the one before is put in its place."""
    with line_of(tmp_path, good("1.1.0"), limits=PATIENT) as line:
        line.name(good("1.1.0"))
        line.run(in_phase(machine.Phase.PROBATION))
        line.silent = True
        line.run(said("returned Unstable"))

        assert "does not come back" in line.told[-1].detail


def test_nothing_below_the_floor_is_returned_to(tmp_path: Path) -> None:
    """Unstable, but the model before may not run any more: it stays, that is said once, and the next name is taken."""
    made, other = good("1.1.0"), good("1.2.0")
    with line_of(tmp_path, made, other, limits=PATIENT) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.PROBATION))
        with line.store.transaction() as connection:
            connection.execute("INSERT INTO floors VALUES ('bundle', 'small-window', '1.1.0')")
        line.pipeline.model.conclude = fail  # type: ignore[method-assign]
        line.run(said("probation Unstable"))
        for _ in range(20):
            line.step()

        assert line.swaps == [made.digest]
        assert line.steps().count("probation Unstable") == 1
        line.name(other)
        line.run(lambda line: line.swaps[-1] == other.digest)
        assert line.ledger.slots()["engine"].previous == ""


def test_only_the_running_and_the_one_before_stay_on_the_disk(tmp_path: Path) -> None:
    """After three releases: two slots, their objects, and no more."""
    releases = [good(f"1.{n}.0") for n in (1, 2, 3)]
    with line_of(tmp_path, *releases) as line:
        for made in releases:
            line.name(made)
            line.run(lambda line, made=made: line.ledger.slots().get("engine") is not None  # type: ignore[misc]
                     and line.ledger.slots()["engine"].digest == made.digest and said("kept")(line))  # fmt: skip
            line.step()

        assert {path.name for path in (tmp_path / "slots").iterdir()} == {each.digest for each in releases[1:]}
        kept = {sha for each in releases[1:] for sha in each.objects}
        assert {path.name for path in (tmp_path / "objects").iterdir()} == kept


def test_what_cannot_be_written_down_does_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is full at the activation: the old model goes on; with room the new one takes over."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        put, full = line.ledger.put, [True]

        def refuse_while_full(*arguments: Any, **keys: Any) -> None:
            if full[0]:
                message = "no room"
                raise StoreFull(message)
            put(*arguments, **keys)

        monkeypatch.setattr(line.ledger, "put", refuse_while_full)
        line.name(made)
        line.run(in_phase(machine.Phase.LOADING))
        for _ in range(50):
            line.step()
            line.updates.wait(0.002)
        while_full = (line.pipeline.model.digest, list(line.swaps), dict(line.ledger.slots()))
        full[0] = False
        line.run(said("kept"))

        assert while_full == (line.placed, [], {})
        assert line.pipeline.model.digest == made.digest


def test_the_history_is_bounded(tmp_path: Path) -> None:
    """The oldest steps go when there are more than a thousand."""
    with line_of(tmp_path) as line:
        line.ledger.note(*(Update(pipeline="engine", step="wanted", version=str(n)) for n in range(KEEP_ROWS + 5)))

        with line.store.reading() as connection:
            ((n, first),) = connection.execute("SELECT count(*), min(CAST(version AS INTEGER)) FROM updates").fetchall()
        assert (n, first) == (KEEP_ROWS, 5)


def test_a_pipeline_that_is_not_named_is_left_alone(tmp_path: Path) -> None:
    """Named, then not any more: what was on its way is dropped; what judges goes on judging."""
    made = good("1.1.0")
    with line_of(tmp_path) as line:
        line.name(made)
        line.run(in_phase(machine.Phase.MANIFEST))
        line.name(None)
        line.step()

        assert line.renewal.state == replace(line.renewal.state, phase=machine.Phase.IDLE, wanted=None, step="")
        assert line.pipeline.model.digest == line.placed


def test_what_was_placed_and_is_named_stays_what_it_is(tmp_path: Path) -> None:
    """The director names the placed bundle: the row and a slot are made, and the folder is never looked at again."""
    made = good("1.0.0")
    folder = tmp_path / "bundles/small-window"
    folder.mkdir(parents=True)
    for name, content in {**made.files, bundle.MANIFEST: made.manifest}.items():
        (folder / name).write_bytes(content)
    with line_of(tmp_path) as line:
        line.name(made)
        for _ in range(5):
            line.step()
        steps, wants = line.steps(), line.wants
    shutil.rmtree(folder)
    write_window_bundle(folder, version="6.6.6")

    with line_of(tmp_path) as line:
        assert (steps, wants) == (["kept"], [])
        assert line.pipeline.model.digest == made.digest
