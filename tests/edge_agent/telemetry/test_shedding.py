from collections.abc import Callable
from pathlib import Path

from edge_agent.clock import FixedClock
from edge_agent.judgement import Judgement
from edge_agent.store import Store, fetch
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.shedding import TRIM_ROWS
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, Metrics
from tests.edge_agent.telemetry.fake_hub import FakeHub, account, events_of, send_all

Judge = Callable[..., list[Judgement]]


def test_history_is_kept_to_its_limit_and_no_further(store: Store, outbox: Outbox, judge: Judge):
    """
    Housekeeping deletes the oldest received verdicts beyond the limit, and never one that is on its way.
    """
    outbox._keep_rows = 30
    outbox.append(judge(100))
    send_all(outbox, FakeHub())
    outbox.append(judge(50))

    while outbox.housekeep():
        pass

    with store.reading() as connection:
        seqs = [row[0] for row in fetch(connection, "SELECT seq FROM verdict ORDER BY seq")]
    assert seqs == list(range(71, 151))
    assert account(outbox, "verdicts").held == ((101, 150),)


def test_old_history_goes_by_its_age(store: Store, clock: FixedClock, judge: Judge):
    """
    What the hub has is deleted when it is older than the operator wants, though there would be room.
    """
    outbox = Outbox(store, "press-1", keep_us=3_600_000_000)
    outbox.append(judge(2 * TRIM_ROWS))
    send_all(outbox, FakeHub())
    clock.advance(4_000_000_000)
    outbox.append(judge(5))
    send_all(outbox, FakeHub())

    while outbox.housekeep():
        pass

    assert len(outbox.recent_verdicts(5000)) == 5
    assert outbox.totals()["surface"]["OK"] == 2 * TRIM_ROWS + 5


def test_the_quota_is_kept_and_what_is_shed_is_declared(tmp_path: Path, clock: FixedClock, judge: Judge):
    """
    Weeks without a hub: the file stays within its quota, the least important and oldest goes first, every number of
    every stream is held or declared, and the gaps are told.
    """
    quota_bytes = 6 * 2**20
    store = Store.open(tmp_path / "lineside.db", quota_bytes=quota_bytes, clock=clock)
    outbox = Outbox(store, "press-1")
    body = Metrics(values={"x" * 900: 1.0})
    for _ in range(30):
        outbox.append(judge(200, part="P" * 90), [(Stream.METRICS, clock.wall_us(), body)] * 20)
    for _ in range(40):
        outbox.append(judge(500, part="P" * 90))

    by_stream = {line.stream: line for line in outbox.accounts()}
    assert store.path.stat().st_size <= quota_bytes
    assert by_stream["metrics"].held == ()
    assert by_stream["metrics"].declared == ((1, 600),)
    verdicts = by_stream["verdicts"]
    assert verdicts.produced == 26_000
    assert verdicts.declared == ((1, verdicts.held[0][0] - 1),)
    assert verdicts.held == ((verdicts.held[0][0], 26_000),)
    assert by_stream["events"].declared == ()
    sent = send_all(outbox, FakeHub())
    told = ranges.normal(
        (event.first, event.last) for event in events_of(sent) if isinstance(event, Gap) and event.stream == "verdicts"
    )
    assert told == verdicts.declared
    assert outbox.next_batch() is None
    store.close()


def test_history_goes_before_anything_is_lost(tmp_path: Path, clock: FixedClock, judge: Judge):
    """
    As long as received verdicts take room, nothing that the hub has not got is shed.
    """
    store = Store.open(tmp_path / "lineside.db", quota_bytes=6 * 2**20, clock=clock)
    outbox = Outbox(store, "press-1")
    hub = FakeHub()

    for _ in range(40):
        outbox.append(judge(500, part="P" * 90))
        send_all(outbox, hub)

    assert store.room_bytes(0.9) < 0
    assert account(outbox, "verdicts").declared == ()
    assert ranges.count(hub.has(store.epoch, "verdicts")) == 20_000
    store.close()
