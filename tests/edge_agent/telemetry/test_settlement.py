from collections.abc import Callable

from edge_agent.clock import FixedClock
from edge_agent.judgement import Judgement
from edge_agent.store import PAGE_BYTES, Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import ranges
from edge_protocol.messages import Gap, Receipt, StreamAccount
from tests.edge_agent.telemetry.fake_hub import FakeHub, account, events_of, send_all

Judge = Callable[..., list[Judgement]]


def test_a_conflict_moves_exactly_its_rows(store: Store, outbox: Outbox, judge: Judge):
    """
    Rows whose numbers the hub knows otherwise get new numbers in a new epoch; the others stay what they are.
    """
    outbox.append(judge(10))
    epoch = store.epoch
    receipt = Receipt(
        gateway="press-1", epoch=epoch, stream="verdicts", answers=((1, 8),), committed=((1, 8),), conflicts=((4, 6),)
    )

    outbox.settle(receipt)
    outbox.settle(receipt)

    old, new = (line for line in outbox.accounts() if line.stream == "verdicts")
    assert old == StreamAccount(epoch, "verdicts", 10, ((9, 10),), ())
    assert new == StreamAccount(store.epoch, "verdicts", 3, ((1, 3),), ())
    sent = {each.epoch: [row.trigger for row in each.verdicts] for each in send_all(outbox, FakeHub()) if each.verdicts}
    assert sent == {epoch: [9, 10], store.epoch: [4, 5, 6]}


def test_a_receipt_settles_only_what_it_answers(outbox: Outbox, store: Store, judge: Judge):
    """
    Numbers that the hub has but did not compare stay: a restored disk may have given them to other rows.
    """
    outbox.append(judge(10))

    outbox.settle(
        Receipt(gateway="press-1", epoch=store.epoch, stream="verdicts", answers=((1, 3),), committed=((1, 10),))
    )

    assert account(outbox, "verdicts").held == ((4, 10),)


def test_a_hub_that_is_ahead_begins_a_new_epoch(outbox: Outbox, store: Store, judge: Judge):
    """
    When the hub has numbers that were never given here, new rows get a new epoch, and what neither has is declared.
    """
    outbox.append(judge(3))
    epoch = store.epoch

    outbox.settle(
        Receipt(gateway="press-1", epoch=epoch, stream="verdicts", answers=((1, 3),), committed=((1, 5), (8, 9)))
    )
    outbox.append(judge(1))

    old, new = (line for line in outbox.accounts() if line.stream == "verdicts")
    assert old == StreamAccount(epoch, "verdicts", 9, (), ((6, 7),))
    assert new == StreamAccount(store.epoch, "verdicts", 1, ((1, 1),), ())
    assert store.epoch != epoch
    gaps = [event for event in events_of(send_all(outbox, FakeHub())) if isinstance(event, Gap)]
    assert gaps == [Gap(epoch=epoch, stream="verdicts", first=6, last=7, reason="restored")]


def test_a_receipt_for_an_unknown_stream_changes_nothing(outbox: Outbox, judge: Judge):
    """
    A receipt for an epoch or a stream that was never written to is passed over.
    """
    outbox.append(judge(2))
    before = outbox.accounts()

    outbox.settle(
        Receipt(gateway="press-1", epoch=1, stream="verdicts", committed=((1, 9),)),
        Receipt(gateway="press-1", epoch=before[0].epoch, stream="x'; DROP TABLE verdicts", committed=((1, 9),)),
    )

    assert outbox.accounts() == before


def test_unreadable_rows_are_declared(store: Store, outbox: Outbox, judge: Judge):
    """
    After a damaged page every number is held or declared, in the old epoch, and what is left of it is sent.
    """
    outbox.append([*judge(2499), *judge(1, part="in the middle"), *judge(2500)])
    store.close()
    middle = store.path.read_bytes().index(b"in the middle")
    with store.path.open("r+b") as file:
        file.seek(middle // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES * 2)
    store.path.with_suffix(".suspect").write_text("a check found damage")

    again = Store.open(store.path, quota_bytes=16 * 2**20, clock=FixedClock())
    outbox = Outbox(again, "press-1")

    (line,) = (line for line in outbox.accounts() if line.stream == "verdicts")
    assert line.epoch != again.epoch
    assert line.produced == 5000
    assert 0 < ranges.count(line.declared) < 500
    assert ranges.union(line.held, line.declared) == ((1, 5000),)
    hub = FakeHub()
    gaps = [event for event in events_of(send_all(outbox, hub)) if isinstance(event, Gap)]
    assert ranges.normal((gap.first, gap.last) for gap in gaps) == line.declared
    assert hub.has(line.epoch, "verdicts") == line.held
    again.close()


def test_a_hole_that_nobody_knew_of_does_not_block_its_stream(store: Store, outbox: Outbox, judge: Judge):
    """
    Numbers that are held and whose rows are not there are declared when their turn comes.
    """
    outbox.append(judge(10))
    with store.transaction() as connection:
        connection.execute("DELETE FROM verdicts WHERE id & 4294967295 BETWEEN 1 AND 4")

    first = outbox.next_batch()
    sent = send_all(outbox, FakeHub())

    assert first is None
    assert [row.seq for each in sent for row in each.verdicts] == [5, 6, 7, 8, 9, 10]
    assert account(outbox, "verdicts").declared == ((1, 4),)
