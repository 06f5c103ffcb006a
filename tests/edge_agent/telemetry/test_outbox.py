from collections.abc import Callable

import numpy as np
import pytest

from edge_agent.clock import FixedClock
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store, fetch
from edge_agent.telemetry import record
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import batch, ranges
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import MAX_MESSAGE_BYTES, Fault, Metrics, StreamAccount
from tests.edge_agent.telemetry.fake_hub import FakeHub, account, events_of, send_all

Judge = Callable[..., list[Judgement]]


def fault(detail: str = "") -> Fault:
    """Some event."""
    return Fault(part="x", name="x", reason="x", active=True, detail=detail)


def reopened(store: Store, clock: FixedClock | None = None) -> Outbox:
    """The outbox as the next process finds it."""
    store.close()
    again = Store.open(store.path, quota_bytes=16 * 2**20, clock=clock or FixedClock())
    return Outbox(again, "press-1", b"c" * 32)


def test_what_was_appended_is_sent_in_order_and_once(outbox: Outbox, judge: Judge):
    """
    Every row gets the next number of its stream, travels with what judged it, and is gone after its receipt.
    """
    hub = FakeHub()
    judgements = judge(250, part="P")

    outbox.append(judgements)
    sent = send_all(outbox, hub)

    rows = [row for each in sent for row in each.verdicts]
    assert [row.seq for row in rows] == list(range(1, 251))
    assert [row.trigger for row in rows] == [judgement.trigger.n for judgement in judgements]
    assert {each.contexts for each in sent} == {(judgements[0].context,)}
    assert account(outbox, "verdicts") == StreamAccount(sent[0].epoch, "verdicts", 250, (), ())


def test_important_streams_go_first(outbox: Outbox, judge: Judge):
    """
    Streams are sent by their priority, whatever came first.
    """
    outbox.append([], [(stream, 1, fault()) for stream in reversed(Stream) if stream is not Stream.VERDICTS])
    outbox.append(judge(1))

    sent = send_all(outbox, FakeHub())

    assert [each.stream for each in sent] == list(Stream)


def test_the_age_of_what_waits_is_that_of_the_oldest(outbox: Outbox, clock: FixedClock, judge: Judge):
    """
    Whatever stream it is in: the oldest record without a receipt says how long the hub has been unheard.
    """
    hub = FakeHub()
    ages = [outbox.oldest_s()]
    outbox.append([], [(Stream.METRICS, clock.wall_us(), Metrics(values={}))])
    clock.advance(60_000_000)
    outbox.append(judge(3))
    clock.advance(30_000_000)
    ages.append(outbox.oldest_s())
    verdicts = outbox.next_batch()
    assert verdicts is not None
    outbox.settle(hub.receive(batch.encode(verdicts)))
    ages.append(outbox.oldest_s())
    send_all(outbox, hub)
    ages.append(outbox.oldest_s())

    assert ages == [0, 90, 90, 0]


def test_the_same_rows_are_the_same_bytes(store: Store, outbox: Outbox, judge: Judge):
    """
    A batch that is made again, by another process, is the same batch byte for byte.
    """
    outbox.append(judge(50, part="P-17"))
    first = outbox.next_batch()
    assert first is not None

    again = reopened(store).next_batch()

    assert again is not None
    assert batch.encode(again) == batch.encode(first)


def test_a_batch_is_of_one_run_of_the_clock(outbox: Outbox, clock: FixedClock, judge: Judge):
    """
    Rows from before and after a step of the clock travel apart, each with the anchor that made their times.
    """
    outbox.append(judge(3))
    clock.step(60_000_000)
    clock.time()
    outbox.append(judge(2))

    sent = send_all(outbox, FakeHub())

    assert [len(each.verdicts) for each in sent] == [3, 2]
    for each in sent:
        mono_us = {row.at_us - each.time.wall_us + each.time.mono_us for row in each.verdicts}
        assert mono_us == {clock.mono_us()}


def test_a_verdict_of_an_earlier_process_keeps_its_own_anchor(outbox: Outbox, clock: FixedClock, judge: Judge):
    """
    What a killed process judged is sent with an anchor that explains its time, not with the current one.
    """
    (judgement,) = judge(1)
    trigger = Trigger(7, 1, judgement.trigger.at_us - 90_000_000, judgement.trigger.mono_us)
    old = Judgement(trigger, "surface", judgement.context, Verdict.UNINSPECTED, Reason.INTERRUPTED, None, 0)

    outbox.append([old, *judge(1)])
    first, second = send_all(outbox, FakeHub())

    assert first.time.wall_us - first.time.mono_us == trigger.at_us - trigger.mono_us
    assert second.time.wall_us - second.time.mono_us == clock.wall_us() - clock.mono_us()


def test_a_batch_says_which_configuration_made_it(store: Store, outbox: Outbox, judge: Judge):
    """
    Rows that wait over a change of the configuration keep the digest they were made under.
    """
    outbox.append(judge(1))
    store.close()
    again = Store.open(store.path, quota_bytes=16 * 2**20, clock=FixedClock())
    later = Outbox(again, "press-1", b"e" * 32)
    later.append(judge(1))

    sent = send_all(later, FakeHub())

    assert [each.config for each in sent] == [b"c" * 32, b"e" * 32]


def test_received_verdicts_stay_for_the_operator_and_records_go(store: Store, outbox: Outbox, judge: Judge):
    """
    After its receipt a record leaves the disk; a verdict stays for a while and is marked as received.
    """
    outbox.append(judge(2), [(Stream.METRICS, 1, fault())])

    send_all(outbox, FakeHub())
    outbox.append(judge(1, Verdict.NG))

    with store.reading() as connection:
        assert fetch(connection, "SELECT count(*) FROM metrics") == [(0,)]
        rows = fetch(connection, "SELECT verdict, received, pipeline, digest FROM verdict ORDER BY seq")
    assert [row[:2] for row in rows] == [("OK", 1), ("OK", 1), ("NG", 0)]
    assert rows[0][2:] == ("surface", (b"d" * 32).hex())
    assert [each.verdict for each in outbox.recent_verdicts(2)] == ["NG", "OK"]


def test_totals_count_each_verdict_once(store: Store, outbox: Outbox, judge: Judge):
    """
    Totals are of all verdicts since the database was made: neither receipts nor restarts nor housekeeping change them.
    """
    for verdict, n in zip(Verdict, (5, 2, 3, 1), strict=True):
        outbox.append(judge(n, verdict))
    send_all(outbox, FakeHub())

    expected = {"surface": {"OK": 5, "NG": 2, "REVIEW": 3, "UNINSPECTED": 1}}
    assert outbox.totals() == expected
    again = reopened(store)
    assert again.totals() == expected
    assert again.last_verdict()[0] == 11


def test_a_failed_append_leaves_no_trace(store: Store, outbox: Outbox, judge: Judge):
    """
    When one row cannot be written, none is, no number is used, and the next append is whole.
    """
    good = judge(2)
    bad = Judgement(good[0].trigger, "surface", Context("new"), Verdict.OK, Reason.NONE, "much", 1)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="float"):
        outbox.append([good[0], bad])
    outbox.append([good[1], Judgement(good[0].trigger, "surface", Context("new"), Verdict.OK, Reason.NONE, 0.5, 1)])

    (sent,) = send_all(outbox, FakeHub())
    assert [row.seq for row in sent.verdicts] == [1, 2]
    assert [context.pipeline for context in sent.contexts] == ["surface", "new"]


def test_odd_scores_and_endless_names_do_not_stop_the_rest(outbox: Outbox, judge: Judge):
    """
    A numpy score, a score that is not a number and a part with an endless name are recorded as well as they can be.
    """
    trigger = judge(1)[0].trigger
    long = Trigger(7, trigger.n, trigger.at_us, trigger.mono_us, "P" * 10_000)
    scores = (np.float32(0.5), float("nan"), None)
    rows = [Judgement(long, "surface", Context("surface"), Verdict.OK, Reason.NONE, score, 1) for score in scores]  # type: ignore[arg-type]

    outbox.append(rows)

    (sent,) = send_all(outbox, FakeHub())
    assert [row.score for row in sent.verdicts] == [0.5, None, None]
    assert {row.part for row in sent.verdicts} == {"P" * record.TEXT_CHARS}


def test_a_record_that_fits_no_message_becomes_an_event(outbox: Outbox):
    """
    A record above the limit is refused with an event in its place; it never blocks its stream.
    """
    huge = Metrics(values={str(n): 1.0 for n in range(20_000)})

    outbox.append([], [(Stream.METRICS, 1, huge), (Stream.METRICS, 2, Metrics(values={}))])

    sent = send_all(outbox, FakeHub())
    assert [each.stream for each in sent] == ["events", "metrics"]
    (event,) = events_of(sent)
    assert isinstance(event, Fault)
    assert event.reason == "too-large"


def test_every_batch_fits_a_message(outbox: Outbox, judge: Judge):
    """
    However large the rows and whatever number of them is asked for, a batch stays below what a message may be.
    """
    noise = np.random.default_rng(1)
    bodies = [fault(noise.bytes(20_000).hex()) for _ in range(40)]
    outbox.append(judge(4000, part="é" * 96), [(Stream.EVENTS, 1, body) for body in bodies])

    skip: dict[tuple[int, str], ranges.Ranges] = {}
    count = 0
    while (found := outbox.next_batch(skip, max_rows=5000)) is not None:
        assert len(batch.encode(found)) < MAX_MESSAGE_BYTES - 1024
        numbers = ((found.rows[0].seq, found.rows[-1].seq),)
        skip[found.epoch, found.stream] = ranges.union(skip.get((found.epoch, found.stream), ()), numbers)
        count += len(found.rows)
    assert count == 4040


def test_what_is_on_record_is_known_after_a_kill(store: Store, outbox: Outbox, judge: Judge):
    """
    Of the verdicts that a ring still holds, those that were committed are told apart from those that were not.
    """
    committed, lost = judge(3), judge(2)
    outbox.append(committed)
    send_all(outbox, FakeHub())

    known = reopened(store).recorded([*committed, *lost])

    assert known == {(judgement.trigger.n, "surface") for judgement in committed}
