import itertools
from collections.abc import Callable
from pathlib import Path

from edge_agent.inference.model import Model
from tests.edge_agent.updates.line import Line, PowerCut
from tests.edge_agent.updates.releases import Release, good


def is_kept(line: Line) -> bool:
    """The end of a good update."""
    row = line.ledger.slots().get("engine")
    return row is not None and row.phase == "kept" and row.version == "1.1.0"


def nothing_is_asked(line: Line) -> bool:
    """Every operator's request was dealt with."""
    return not list((line.folder / "requests").glob("*.json"))


def cut_at(end: int) -> Callable[[str], None]:
    """A hook that cuts the power at durable step number `end`."""
    left = itertools.count(end, -1)

    def hook(_what: str) -> None:
        if next(left) == 0:
            raise PowerCut

    return hook


def live_until_the_cut(folder: Path, made: Release, end: int) -> bool:
    """A start that is cut at its durable step `end`; False when the update ended before."""
    line = None
    try:
        line = Line(folder, (made,), hook=cut_at(end))
        line.name(made)
        line.run(is_kept)
    except PowerCut:
        if line is not None:
            line.cut()
        return True
    line.close()
    return False


def test_a_cut_before_or_after_any_durable_step_leaves_a_whole_model(tmp_path: Path) -> None:
    """
    Power off at each durable write of an update: the next start runs the old model or the new one, the one that the
    row names, and the update goes on to its end. Never half.
    """
    made = good("1.1.0")
    ran = set()
    for end in itertools.count():
        folder = tmp_path / str(end)
        if not live_until_the_cut(folder, made, end):
            break

        line = Line(folder, (made,))
        row, placed = line.ledger.slots().get("engine"), line.placed
        first = line.pipeline.model.digest
        line.name(made)
        line.run(is_kept)

        ran.add(first)
        assert first == (row.digest if row is not None else placed)
        assert first in (placed, made.digest)
        assert line.pipeline.model.digest == made.digest
        for digest in (placed, made.digest):
            assert Model.load(folder / "slots" / digest).digest == digest
        assert list((folder / "slots").glob(".*")) == []
        line.close()
    assert ran == {placed, made.digest}
    assert end > 20


def test_a_cut_while_a_model_is_given_back_leaves_a_whole_model(tmp_path: Path) -> None:
    """Power off at each durable write of a return: the next start runs what the row says, and ends with the old one."""
    made = good("1.1.0")
    for end in itertools.count():
        folder = tmp_path / str(end)
        first = Line(folder, (made,))
        first.name(made)
        first.run(is_kept).close()

        is_cut = roll_back_until_the_cut(folder, made, end)

        line = Line(folder, (made,))
        line.name(made)
        row = line.ledger.slots()["engine"]
        assert line.pipeline.model.digest == row.digest
        line.run(lambda line: line.pipeline.model.digest == line.placed)
        line.run(nothing_is_asked, 30)
        assert line.ledger.refused("engine")[made.digest].refusal == "Operator"
        line.close()
        if not is_cut:
            break


def roll_back_until_the_cut(folder: Path, made: Release, end: int) -> bool:
    """An operator asks, and the power goes at durable step `end`; False when all was done before."""
    from edge_agent.updates import requests

    line = Line(folder, (made,), hook=cut_at(end))
    line.name(made)
    requests.write(
        folder / "requests", requests.Rollback(pipeline="engine", digest=made.digest, actor="eve", reason="x")
    )
    try:
        line.run(lambda line: line.pipeline.model.digest != made.digest)
        line.run(nothing_is_asked, 30)
    except PowerCut:
        line.cut()
        return True
    line.close()
    return False
