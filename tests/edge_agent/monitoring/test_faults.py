from dataclasses import replace

import pytest

from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import RECOVERED_AFTER, Faults, InputFaults
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import MAX_MESSAGE_BYTES, AnyRecord, Fault, encode


class Log:
    """Faults whose events are kept."""

    def __init__(self) -> None:
        self.events: list[AnyRecord] = []
        self.faults = Faults(self._record)

    def changes(self) -> list[tuple[str, str, str, bool]]:
        """The events, in short."""
        return [(e.part, e.name, e.reason, e.active) for e in self.events if isinstance(e, Fault)]

    def _record(self, stream: Stream, record: AnyRecord) -> None:
        assert stream is Stream.EVENTS
        self.events.append(record)


def judgement(verdict: Verdict, reason: Reason = Reason.NONE, pipeline: str = "seal") -> Judgement:
    """A judgement of a pipeline."""
    return Judgement(Trigger(1, 1, 0, 0), pipeline, Context(pipeline), verdict, reason, None, 1)


GOOD = judgement(Verdict.OK)
BLACK = judgement(Verdict.UNINSPECTED, Reason.BLACK)


def test_each_change_is_one_event() -> None:
    """However often a fault is told, it begins once and ends once; what never began does not end."""
    log = Log()

    for active in (False, True, True, False, False, True):
        log.faults.tell("source camera", "away", active=active, detail="no link")

    assert log.changes() == [
        ("source", "camera", "away", True),
        ("source", "camera", "away", False),
        ("source", "camera", "away", True),
    ]


def test_what_is_wrong_now_can_be_asked() -> None:
    """Two faults of one part are two, and each ends by itself."""
    log = Log()
    log.faults.tell("store", "full", active=True, detail="no room")
    log.faults.tell("store", "slow", active=True)
    log.faults.tell("store", "full", active=False)

    assert log.faults.active() == ["store: slow"]


def test_a_long_story_still_fits_a_message() -> None:
    """A fault with endless words is told with the first of them."""
    log = Log()

    log.faults.tell("store", "damaged", active=True, detail="page " * 100_000)

    assert len(encode(log.events[0])) < MAX_MESSAGE_BYTES // 100


def test_an_input_at_fault_is_one_fault() -> None:
    """Parts that cannot be inspected are a fault of their pipeline, by reason, once each."""
    log = Log()
    inputs = InputFaults(log.faults)

    for each in (BLACK, BLACK, judgement(Verdict.UNINSPECTED, Reason.NOT_FINITE), BLACK):
        inputs.add(each)

    assert log.changes() == [("pipeline", "seal", "black", True), ("pipeline", "seal", "not-finite", True)]


def test_an_input_is_sound_again_after_many_good_parts() -> None:
    """A flickering camera is one fault until it was good for a while; other pipelines' parts do not count."""
    log = Log()
    inputs = InputFaults(log.faults)
    inputs.add(BLACK)
    for _ in range(RECOVERED_AFTER - 1):
        inputs.add(GOOD)
        inputs.add(judgement(Verdict.OK, pipeline="lid"))
    inputs.add(BLACK)
    for _ in range(RECOVERED_AFTER - 1):
        inputs.add(GOOD)
    before = log.faults.active()

    inputs.add(GOOD)

    assert before == ["pipeline seal: black"]
    assert log.faults.active() == []
    assert log.changes() == [("pipeline", "seal", "black", True), ("pipeline", "seal", "black", False)]


def test_a_good_line_says_nothing() -> None:
    """Judged parts, rejected ones too, are no fault of the gateway."""
    log = Log()
    inputs = InputFaults(log.faults)

    for verdict in (Verdict.OK, Verdict.NG, Verdict.REVIEW):
        inputs.add(judgement(verdict))

    assert log.events == []


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.value >= 100])
def test_each_reason_begins_and_ends_as_an_event(reason: Reason) -> None:
    """Whatever a guard, a decoder or the agent says of an input, the hub hears when it begins and when it is over."""
    log = Log()
    inputs = InputFaults(log.faults)

    inputs.add(judgement(Verdict.UNINSPECTED, reason))
    for _ in range(RECOVERED_AFTER):
        inputs.add(GOOD)

    word = reason.name.lower().replace("_", "-")
    assert log.changes() == [("pipeline", "seal", word, True), ("pipeline", "seal", word, False)]


def test_the_event_says_what_was_wrong() -> None:
    """The words of the error stand in the event that it began."""
    log = Log()

    InputFaults(log.faults).add(replace(BLACK, detail="a picture of 16 bits a channel (deliver 8)"))

    assert [event.detail for event in log.events if isinstance(event, Fault)] == [
        "a picture of 16 bits a channel (deliver 8)"
    ]


def test_parts_that_shall_be_passed_over_are_no_fault() -> None:
    """A pipeline that judges a sample is sound while it skips the others; one that cannot keep up is not."""
    log = Log()
    inputs = InputFaults(log.faults, sampled=["seal"])
    for pipeline in ("seal", "lid"):
        inputs.add(judgement(Verdict.UNINSPECTED, Reason.SKIPPED, pipeline))

    assert log.changes() == [("pipeline", "lid", "skipped", True)]
