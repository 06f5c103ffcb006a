from pathlib import Path

from edge_agent.updates import machine
from tests.edge_agent.updates.line import PATIENT, in_phase, line_of, said
from tests.edge_agent.updates.releases import good


def test_an_engine_that_cannot_be_mended_gives_way_to_the_release_before(tmp_path: Path) -> None:
    """After its probation or within it: the release before judges, the reason is on record, the digest is refused."""
    made = good("1.1.0")
    for n, (limits, stage) in enumerate(((None, said("kept")), (PATIENT, in_phase(machine.Phase.PROBATION)))):
        with line_of(tmp_path / str(n), made, **({"limits": limits} if limits else {})) as line:
            line.name(made)
            line.run(stage)
            assert line.updates.distrust("engine", made.digest, "engine of golden.npy: probe 1 of 8")
            line.run(said("returned SelfTestFailed"))

            assert line.pipeline.model.digest == line.placed
            assert line.told[-1].detail == "engine of golden.npy: probe 1 of 8"
            assert list(line.ledger.refused("engine")) == [made.digest]
            for _ in range(20):
                line.step()
            assert line.pipeline.model.digest == line.placed


def test_where_there_is_no_release_before_nothing_is_promised(tmp_path: Path) -> None:
    """What was placed by hand has none before it: whoever asks is told so at once."""
    with line_of(tmp_path) as line:
        line.step()

        assert not line.updates.distrust("engine", line.placed, "engine of golden.npy")


def test_a_word_about_another_model_changes_nothing(tmp_path: Path) -> None:
    """The engine that was distrusted is gone by then: the one that judges is not blamed for it."""
    made = good("1.1.0")
    with line_of(tmp_path, made) as line:
        line.name(made)
        line.run(said("kept"))
        assert line.updates.distrust("engine", line.placed, "engine of golden.npy")
        for _ in range(20):
            line.step()

        assert line.pipeline.model.digest == made.digest
        assert said("kept")(line)
