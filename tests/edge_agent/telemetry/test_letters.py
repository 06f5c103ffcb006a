"""The laws of what an output owes."""

from dataclasses import replace

import pytest

from edge_agent.judgement import Judgement
from edge_agent.outputs.output import letter, outcome
from edge_agent.outputs.telegram import telegram
from edge_agent.store import Store, fetch
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord
from tests.edge_agent.telemetry.conftest import Judge

OWING = {"surface": ("mes",), "lid": ("mes", "erp")}


def known(name: str, judgement: Judgement, problem: str = "") -> tuple[Stream, int, AnyRecord]:
    """The record of an outcome."""
    return Stream.OUTCOMES, 0, outcome(name, judgement, 0.0, problem)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """An outbox with outputs that try on their own time."""
    return Outbox(store, "press-1", owing=OWING)


def test_a_verdict_is_owed_until_its_outcome_is_on_record(outbox: Outbox, judge: Judge) -> None:
    """From its own commit on, with the bytes that are sent; delivered or failed, its outcome strikes it out."""
    first, second, third = judge(3)
    outbox.append([first, second, third])
    before = outbox.letters()

    outbox.append([], [known("mes", first), known("mes", second, "refused")])

    assert [(each.trigger, each.body) for each in before] == [
        (each.trigger.n, telegram(each)) for each in (first, second, third)
    ]
    assert outbox.letters() == [letter("mes", third)]


def test_what_is_told_before_its_commit_is_never_owed(outbox: Outbox, store: Store, judge: Judge) -> None:
    """Verdict and outcome in one transaction leave nothing, and have written nothing."""
    (judgement,) = judge()

    outbox.append([judgement], [known("mes", judgement)])

    with store.reading() as connection:
        assert fetch(connection, "SELECT count(*) FROM letters") == [(0,)]


def test_each_output_and_pipeline_owes_its_own(outbox: Outbox, judge: Judge) -> None:
    """Two pipelines of one trigger at one output, and two outputs of one pipeline: four letters, struck out singly."""
    (surface,) = judge()
    lid = replace(surface, pipeline="lid")
    outbox.append([surface, lid])

    outbox.append([], [known("mes", lid)])

    owed = {(each.output, each.pipeline) for each in outbox.letters()}
    assert owed == {("mes", "surface"), ("erp", "lid")}


def test_who_tells_at_once_owes_nothing(outbox: Outbox, judge: Judge) -> None:
    """Pipelines without such an output, and outcomes of files, leave the letters alone."""
    (judgement,) = judge()
    outbox.append([replace(judgement, pipeline="other"), judgement], [known("journal", judgement)])

    assert outbox.letters() == [letter("mes", judgement)]


def test_what_an_output_that_is_no_more_owes_can_be_struck_out(store: Store, outbox: Outbox, judge: Judge) -> None:
    """A configuration without the output still ends what the one before has begun."""
    (judgement,) = judge()
    outbox.append([judgement])
    later = Outbox(store, "press-1")
    owed = later.letters()

    later.append([], [known("mes", judgement, "no more")])

    assert (owed, later.letters()) == ([letter("mes", judgement)], [])


def test_a_verdict_that_is_not_committed_is_not_owed(outbox: Outbox, store: Store, judge: Judge) -> None:
    """Row and letter are one transaction."""

    def fail() -> None:
        with store.transaction():
            outbox.append(judge())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert outbox.letters() == []
