"""The receiver: what arrives is archived once and answered after; what cannot be taken is counted and dropped."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from cloud_hub.errors import StorageError
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import batches, contexts, quarantine, records, verdict_totals, verdicts
from cloud_hub.telemetry.account import account
from edge_protocol import envelope, messages, topics
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, Metrics, Started
from tests.simulators import CONTEXT, GatewaySimulator

VERDICTS = Stream.VERDICTS


def count(database: Database, table: object) -> int:
    """Rows of a table."""
    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def balanced(database: Database, name: str = "press-1") -> bool:
    """Whether the account of a gateway balances, every row counted."""
    with database.reading() as connection:
        return account(connection, name).balanced


def test_a_batch_is_archived_as_it_was_sent(bench) -> None:
    """
    Every field of every verdict is in the archive, with the context that made it and the signature it came under.
    """
    gateway = bench.gateway()
    gateway.judge(100)

    gateway.send(VERDICTS, 1, 100)
    bench.work()

    sent = gateway.batch(VERDICTS, 1, 100)
    with bench.database.reading() as connection:
        rows = connection.execute(select(verdicts, contexts.c.digest, contexts.c.pipeline).join(
            contexts, contexts.c.id == verdicts.c.context_id).order_by(verdicts.c.seq)).all()  # fmt: skip
        batch = connection.execute(select(batches)).one()
    assert [
        (row.seq, row.at_us, row.trigger, row.verdict, row.reason, row.score, row.latency_us, row.part) for row in rows
    ] == [
        (row.seq, row.at_us, row.trigger, row.verdict, row.reason, row.score, row.latency_us, row.part)
        for row in sent.verdicts
    ]
    assert {(row.digest, row.pipeline, row.batch_id) for row in rows} == {(CONTEXT.digest.hex(), "seal", batch.id)}
    assert batch.key_id == envelope.key_id(gateway.key.public_key()).hex()
    assert (batch.first, batch.last, batch.added, batch.boot) == (1, 100, 100, "boot-1")


def test_a_receipt_says_what_is_committed(bench) -> None:
    """
    After the commit the gateway hears, signed, that its rows are here, and holds them no longer.
    """
    gateway = bench.gateway()
    gateway.judge(250)

    gateway.send_held()
    assert gateway.receipts == []
    bench.work()

    assert gateway.stock(VERDICTS).held == ()
    assert gateway.receipts[-1].committed == ((1, 250),)
    assert gateway.receipts[-1].hub_us == bench.clock.wall_us()
    assert gateway.forged == 0


def test_nothing_is_answered_that_is_not_committed(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While the database refuses there is no receipt; when it is back, what waited is committed and then answered.
    """
    gateway = bench.gateway()
    gateway.judge(10)
    gateway.send_held()

    def refuse(*_: object) -> None:
        message = "no room"
        raise StorageError(message)

    with monkeypatch.context() as patch:
        patch.setattr("cloud_hub.telemetry.archive.write", refuse)
        assert not bench.receiver.step()
    assert bench.receiver.is_stuck
    assert (gateway.receipts, count(bench.database, verdicts)) == ([], 0)
    bench.work()

    assert not bench.receiver.is_stuck
    assert (len(gateway.receipts), count(bench.database, verdicts)) == (1, 10)


def test_a_batch_that_comes_again_changes_nothing(bench) -> None:
    """
    Resending is free: the same rows are there once, counted as resent, and receipted again.
    """
    gateway = bench.gateway()
    gateway.judge(100)

    for _ in range(3):
        gateway.send(VERDICTS, 1, 100)
    bench.work()
    gateway.send(VERDICTS, 1, 100)
    bench.work()

    with bench.database.reading() as connection:
        found = account(connection, "press-1")
        totals = connection.execute(select(verdict_totals.c.n)).scalars().all()
    assert (found.archived, found.resent, found.doubled_verdicts) == (100, 300, 0)
    assert (totals, count(bench.database, batches)) == ([100], 1)
    assert len(gateway.receipts) == 2


def test_batches_that_overlap_add_only_what_is_new(bench) -> None:
    """
    However a gateway cuts its rows into batches, each row is archived once.
    """
    gateway = bench.gateway()
    gateway.judge(300)

    for first, size in ((1, 100), (50, 100), (200, 50), (120, 181), (1, 300)):
        gateway.send(VERDICTS, first, size)
        bench.work()

    assert count(bench.database, verdicts) == 300
    assert gateway.receipts[-1].committed == ((1, 300),)
    gateway.send_state()
    bench.work()
    assert balanced(bench.database)


def test_the_same_identity_with_other_bytes_is_set_aside(bench) -> None:
    """
    The first rows stay, the message that contradicts them is kept whole, the receipt names the conflict.
    """
    key = bench.enrol("press-1")
    original = bench.gateway(key=key)
    original.judge(100)
    original.send(VERDICTS, 1, 100)
    bench.work()
    clone = bench.gateway(client="clone", key=key)
    clone.judge(120, verdict=1)

    clone.send(VERDICTS, 51, 70)
    bench.work()

    with bench.database.reading() as connection:
        rows = dict(connection.execute(select(verdicts.c.seq, verdicts.c.verdict)).all())
        kept = connection.execute(select(quarantine)).one()
    assert [rows[seq] for seq in (50, 51, 100, 101, 120)] == [0, 0, 0, 1, 1]
    assert kept.message == clone.seal(clone.batch(VERDICTS, 51, 70))[1]
    assert clone.receipts[-1].conflicts == ((51, 100),)
    assert clone.receipts[-1].answers == ((51, 120),)
    assert clone.stock(VERDICTS).held == ((1, 100),)
    assert count(bench.database, verdicts) == 120


def test_a_contradiction_in_one_and_the_same_transaction_is_seen(bench) -> None:
    """
    Two messages that arrive together are compared with each other as if they had come apart.
    """
    key = bench.enrol("press-1")
    original, clone = bench.gateway(key=key), bench.gateway(client="clone", key=key)
    original.judge(10)
    clone.judge(10, verdict=1)

    original.send(VERDICTS, 1, 10)
    clone.send(VERDICTS, 1, 10)
    bench.work()

    with bench.database.reading() as connection:
        assert set(connection.execute(select(verdicts.c.verdict)).scalars()) == {0}
    assert bench.tally.values()["rows_conflicting"] == 10


def test_a_clone_cannot_fill_the_disk(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of one gateway only so many contradictions are kept.
    """
    monkeypatch.setattr("cloud_hub.telemetry.archive.MAX_QUARANTINED", 3)
    key = bench.enrol("press-1")
    original, clone = bench.gateway(key=key), bench.gateway(client="clone", key=key)
    original.judge(10)
    clone.judge(10, verdict=1)
    original.send(VERDICTS, 1, 10)

    for first in range(1, 11):
        clone.send(VERDICTS, first, 1)
        bench.work()

    assert count(bench.database, quarantine) == 3
    assert bench.tally.values()["rows_conflicting"] == 10


def test_what_is_declared_lost_counts_as_committed(bench) -> None:
    """
    A gap record moves the cursor: what will never arrive is not waited for, and stands in the account.
    """
    gateway = bench.gateway()
    gateway.judge(100)
    gateway.stock(VERDICTS).held = ((61, 100),)
    gateway.record(Stream.EVENTS, Gap(epoch=7, stream=VERDICTS, first=1, last=60, reason="quota"))

    gateway.send_held()
    gateway.send_state()
    bench.work()

    with bench.database.reading() as connection:
        found = account(connection, "press-1")
    assert (found.produced, found.archived, found.declared, found.lost) == (101, 41, 60, 0)
    assert found.balanced
    assert [receipt.committed for receipt in gateway.receipts if receipt.stream == VERDICTS][-1] == ((1, 100),)


def test_what_is_not_known_is_kept_as_it_came(bench) -> None:
    """
    Records of unknown kinds, of unknown streams and of no shape at all are archived raw and receipted.
    """
    gateway = bench.gateway()
    strange = messages.encode(Metrics(values={"a": 1.0})).replace(b"metrics", b"weather")
    gateway.record("smells", Metrics(values={"ppm": 3.0}), Metrics(values={}))
    stock = gateway.stock("smells")
    stock.rows[0] = stock.rows[0].__class__(1, 1, strange)
    stock.rows[1] = stock.rows[1].__class__(2, 2, b"\xc1 not a record")

    gateway.send_held()
    bench.work()

    with bench.database.reading() as connection:
        rows = connection.execute(
            select(records.c.stream, records.c.kind, records.c.body).order_by(records.c.seq)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("smells", "weather", strange),
        ("smells", "malformed", b"\xc1 not a record"),
    ]
    assert gateway.stock("smells").held == ()


def test_a_full_queue_drops_and_counts_and_loses_nothing(bench, database: Database) -> None:
    """
    A message that finds no room is dropped; without a receipt its gateway sends it again.
    """
    gateway = bench.gateway()
    gateway.judge(1000)
    bench.receiver._inbox._max_bytes = 2000

    gateway.send_held(rows=10)
    bench.work()
    dropped = bench.tally.values()["messages_dropped_queue_full"]
    while gateway.stock(VERDICTS).held:
        gateway.send_held(rows=10)
        bench.work()

    assert dropped > 0
    assert count(database, verdicts) == 1000


def test_receipts_wait_for_the_link(bench) -> None:
    """
    A receipt that the link does not take now is sent when it does.
    """
    gateway = bench.gateway()
    gateway.judge(30)
    gateway.send_held()
    bench.broker.cut("hub")

    bench.work()
    assert gateway.receipts == []
    bench.broker.restore("hub")
    bench.work()

    assert gateway.stock(VERDICTS).held == ()


def test_only_the_holder_of_a_shard_works_for_it(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A message of a shard that another replica holds is left to that replica.
    """
    gateway = bench.gateway()
    gateway.judge(10)
    monkeypatch.setattr(bench.receiver, "_holds", lambda shard: shard != topics.shard_of("press-1"))

    gateway.send_held()
    bench.work()

    assert count(bench.database, verdicts) == 0
    assert bench.tally.values()["messages_of_others"] == 1


def test_one_row_that_cannot_be_stored_does_not_take_the_others_with_it(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A batch that the database refuses for good is refused alone.
    """
    good, bad = bench.gateway("press-1"), bench.gateway("press-2")
    for gateway in (good, bad):
        gateway.judge(10)
    # What the protocol's own bounds would not let through, were they wrong.
    bad.stock(VERDICTS).rows[0] = bad.stock(VERDICTS).rows[0].__class__(1, 1, 1, 0, 0, 0, 0.5, 1, "part")
    shape = __import__("cloud_hub.telemetry.rows", fromlist=["SHAPES"]).SHAPES[0]
    honest: Callable[..., list[tuple[object, ...]]] = shape.rows

    def overflowing(arrival: object, ids: object) -> list[tuple[object, ...]]:
        rows = honest(arrival, ids)
        return [(*row[:2], 2**70, *row[3:]) if row[2] == 1 else row for row in rows]

    monkeypatch.setattr(shape, "rows", overflowing)

    for gateway in (good, bad):
        gateway.send_held()
    bench.work()

    assert good.stock(VERDICTS).held == ()
    assert bad.stock(VERDICTS).held == ((1, 10),)
    assert bench.tally.values()["messages_refused_unstorable"] == 1


def test_a_gateway_that_scatters_its_rows_is_stopped(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    More pieces than a cursor may have are not taken; what closes holes still is.
    """
    monkeypatch.setattr("cloud_hub.telemetry.archive.MAX_RANGES", 5)
    gateway = bench.gateway()
    gateway.judge(30)

    for first in range(1, 30, 2):
        gateway.send(VERDICTS, first, 1)
        bench.work()
    scattered = count(bench.database, verdicts)
    gateway.send(VERDICTS, 1, 30)
    bench.work()

    assert scattered == 5
    assert bench.tally.values()["messages_refused_scattered"] == 10
    assert count(bench.database, verdicts) == 30


def simulate(bench, name: str) -> GatewaySimulator:
    """A gateway with everything to say."""
    gateway: GatewaySimulator = bench.gateway(name)
    gateway.judge(500)
    gateway.record(Stream.EVENTS, Started(agent_version="1", clean=True), Started(agent_version="1", clean=False))
    gateway.record(Stream.METRICS, *(Metrics(values={"n": float(n)}) for n in range(50)))
    return gateway


def test_the_totals_are_the_rows(bench) -> None:
    """
    What is counted beside the rows is what counting the rows would give.
    """
    gateways_ = [simulate(bench, f"press-{n}") for n in range(3)]
    for gateway in gateways_:
        gateway.judge(100, verdict=1)
        gateway.send_held(rows=70)
        gateway.send_held(rows=45)
    bench.work()

    with bench.database.reading() as connection:
        counted = connection.execute(
            select(verdicts.c.gateway, verdicts.c.verdict, func.count()).group_by(
                verdicts.c.gateway, verdicts.c.verdict
            )
        ).all()
        totals = connection.execute(
            select(verdict_totals.c.gateway, verdict_totals.c.verdict, func.sum(verdict_totals.c.n)).group_by(
                verdict_totals.c.gateway, verdict_totals.c.verdict
            )
        ).all()
    assert sorted(map(tuple, totals)) == sorted(map(tuple, counted))
    for gateway in gateways_:
        gateway.send_state()
    bench.work()
    assert all(balanced(bench.database, gateway.name) for gateway in gateways_)


def test_small_letters_with_many_rows_are_taken_a_few_at_a_time(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One transaction holds no more rows than fit, however many a letter unfolds to.
    """
    monkeypatch.setattr("cloud_hub.telemetry.receiver.MAX_ROWS", 250)
    gateway = bench.gateway()
    gateway.judge(1000)
    gateway.send_held(rows=100)

    bench.work()

    assert bench.tally.values()["transactions"] == 4
    assert gateway.stock(VERDICTS).held == ()
