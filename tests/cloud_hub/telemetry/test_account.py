"""The account: every record that was made is in exactly one of three places."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from cloud_hub.storage.schema import verdicts
from cloud_hub.telemetry.account import Cursor, account, accounts, pack, stream_line, unpack
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, StreamAccount
from edge_protocol.ranges import Ranges

VERDICTS = Stream.VERDICTS
numbers = st.sets(st.integers(1, 40), max_size=40).map(ranges.from_numbers)


def told(produced: int, held: Ranges = (), declared: Ranges = ()) -> StreamAccount:
    """What a gateway says of a stream."""
    return StreamAccount(7, "verdicts", produced, held, declared)


@given(produced=st.integers(0, 40), held=numbers, told_lost=numbers, archived=numbers, declared=numbers)
def test_every_record_is_counted_once(
    produced: int, held: Ranges, told_lost: Ranges, archived: Ranges, declared: Ranges
) -> None:
    """
    Whatever overlaps: produced is the sum of archived, buffered, declared and lost, and none is negative.
    """
    line = stream_line(7, "verdicts", told(produced, held, told_lost), Cursor(archived, declared))

    parts = (line.archived, line.buffered, line.declared, line.lost)
    assert line.produced == sum(parts)
    assert min(parts) >= 0
    assert line.produced >= produced


@given(cut=st.integers(0, 40), later=st.integers(0, 40), held=numbers)
def test_nothing_is_lost_that_somebody_has(cut: int, later: int, held: Ranges) -> None:
    """
    With all of 1…produced in one of the three places nothing is lost, however the places overlap.
    """
    produced = 40
    here = ((1, cut),) if cut else ()
    missing = ranges.subtract(((1, produced),), ranges.union(here, held))

    line = stream_line(7, "verdicts", told(produced, held, missing), Cursor(here, ((1, later),) if later else ()))

    assert line.lost == 0


@given(gone=st.integers(1, 40), others=numbers)
def test_what_nobody_has_is_lost(gone: int, others: Ranges) -> None:
    """
    A number in none of the three places is found, wherever it lies.
    """
    others = ranges.subtract(others, ((gone, gone),))

    line = stream_line(7, "verdicts", told(40, others), Cursor())

    assert line.lost == 40 - ranges.count(others) >= 1


def test_rows_that_arrived_after_the_gateway_spoke_are_no_loss() -> None:
    """
    What follows on is counted; what lies beyond a hole is on its way and waits for the next state.
    """
    line = stream_line(7, "verdicts", told(10, ((9, 10),)), Cursor(((1, 14), (20, 25))))

    assert (line.produced, line.archived, line.buffered, line.lost) == (14, 14, 0, 0)
    assert line.have == ((1, 14), (20, 25))


def test_a_hole_in_a_stream_the_gateway_forgot_is_a_loss() -> None:
    """
    A gateway that no longer speaks of a stream holds nothing of it any more.
    """
    line = stream_line(7, "verdicts", None, Cursor(((1, 14), (20, 25))))

    assert (line.produced, line.archived, line.lost) == (25, 20, 5)


def test_what_was_given_up_and_came_nevertheless_is_archived() -> None:
    """
    A row whose receipt was late, so that its gateway shed it, counts once.
    """
    line = stream_line(7, "verdicts", told(10, (), ((1, 5),)), Cursor(((1, 10),), ((1, 5),)))

    assert (line.archived, line.declared, line.lost, line.overlap) == (10, 0, 0, 5)


@given(value=numbers)
def test_ranges_lie_in_a_column_as_they_are(value: Ranges) -> None:
    """
    Packing and unpacking are inverse.
    """
    assert unpack(pack(value)) == value


def test_a_row_that_vanished_is_found_by_counting(bench) -> None:
    """
    The account that counts rows does not believe the cursor.
    """
    gateway = bench.gateway()
    gateway.judge(100)
    gateway.send_held()
    gateway.send_state()
    bench.work()

    with bench.database.writing() as connection:
        connection.execute(delete(verdicts).where(verdicts.c.seq == 50))

    with bench.database.reading() as connection:
        assert not account(connection, "press-1").balanced
        assert account(connection, "press-1", deep=False).doubled_verdicts is None


def test_a_second_verdict_on_a_trigger_is_found(bench) -> None:
    """
    Two verdicts of one pipeline on one trigger do not balance, in one epoch or across two.
    """
    gateway = bench.gateway()
    gateway.judge(100)
    gateway.send_held()
    gateway.send_state()
    bench.work()

    def doubled(**change: int) -> int | None:
        with bench.database.writing() as connection:
            connection.execute(update(verdicts).where(verdicts.c.seq == 50).values(**change))
            found = account(connection, "press-1")
        assert not found.balanced
        return found.doubled_verdicts

    with bench.database.reading() as connection:
        assert account(connection, "press-1").doubled_verdicts == 0
    assert doubled(trigger=49) == 1
    with bench.database.reading() as connection:
        at_us = {row.seq: row.at_us for row in connection.execute(verdicts.select())}
    assert doubled(trigger=49, at_us=at_us[49], epoch=8) == 1


def test_the_books_of_a_fleet_are_drawn_up_gateway_by_gateway(bench) -> None:
    """
    Each gateway has its own account: what one holds is no excuse for another.
    """
    for n in (1, 2):
        gateway = bench.gateway(f"press-{n}")
        gateway.judge(100)
        if n == 2:
            gateway.stock(VERDICTS).held = ((31, 100),)
            gateway.record(Stream.EVENTS, Gap(epoch=7, stream=VERDICTS, first=1, last=20, reason="quota"))
        gateway.send_held()
        gateway.send_state()
    bench.work()

    with bench.database.reading() as connection:
        one, two = accounts(connection)
    assert (one.gateway, one.balanced, one.lost) == ("press-1", True, 0)
    assert (two.gateway, two.balanced, two.lost, two.declared) == ("press-2", False, 10, 20)
