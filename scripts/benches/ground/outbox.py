"""What durability costs above the bare database: an outbox's verdicts against bare rows of the same driver."""

import statistics
from itertools import count
from pathlib import Path
from time import perf_counter

import apsw

from edge_agent.clock import Clock
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from scripts.benches import pairs
from scripts.benches.ground.supplies import say

ROWS = 100
BATCHES = 150
"""Of one slice: a tenth of a second, some checkpoints of the log among them."""

_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=256;"
_TABLE = (
    "CREATE TABLE verdicts (id INTEGER PRIMARY KEY, at_us INTEGER, run INTEGER, trigger INTEGER, context INTEGER, "
    "verdict INTEGER, reason INTEGER, score REAL, latency_us INTEGER, part TEXT, product TEXT, lot TEXT) STRICT"
)
_INSERT = "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def measure(folder: Path) -> dict[str, float]:
    """The figure of the outbox."""
    folder.mkdir()
    store = Store.open(folder / "lineside.db", quota_bytes=2**30, clock=Clock())
    bare = apsw.Connection(str(folder / "bare.db"))
    try:
        bare.execute(_PRAGMAS)
        bare.execute(_TABLE)
        outbox, batch = Outbox(store, "bench"), _judgements(store.clock)
        ids = count(1)
        rates: list[float] = []

        def ours() -> float:
            start_s = perf_counter()
            for _ in range(BATCHES):
                outbox.append(batch)
            rates.append(ROWS * BATCHES / (perf_counter() - start_s))
            return rates[-1]

        ours()
        found = pairs.ratios(ours, lambda: _append_bare(bare, batch, ids))
    finally:
        bare.close()
        store.close()
    say(f"the outbox: {pairs.told(found)} of the bare database, {statistics.median(rates):.0f} durable verdicts/s")
    return {"outbox_vs_raw": pairs.median(found)}


def _append_bare(connection: apsw.Connection, batch: list[Judgement], ids: "count[int]") -> float:
    """Rows a second through the driver alone; they are made before, for only the database is measured."""
    batches = [[(next(ids), *_row(judgement)) for judgement in batch] for _ in range(BATCHES)]
    start_s = perf_counter()
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")
    return ROWS * BATCHES / (perf_counter() - start_s)


def _row(judgement: Judgement) -> tuple[object, ...]:
    trigger = judgement.trigger
    said = (int(judgement.verdict), int(judgement.reason), judgement.score, judgement.latency_us)
    return (trigger.at_us, 1, trigger.n, 1, *said, trigger.part, trigger.product, trigger.lot)


def _judgements(clock: Clock) -> list[Judgement]:
    """One group commit of two pipelines, a part in twenty NG."""
    wall_us, mono_us = clock.wall_us(), clock.mono_us()
    contexts = [
        Context(name, f"{name}-model", "1.0.0", bytes(32), "u8s8-7bit", bytes(32)) for name in ("surface", "engine")
    ]
    made = []
    for n in range(1, ROWS + 1):
        trigger = Trigger(1, n, wall_us + 50_000 * n, mono_us + 50_000 * n, part=f"P{n:06d}")
        context = contexts[n % 2]
        is_bad = n % 20 == 0
        verdict, reason = (Verdict.NG, Reason.SCORE_REJECT) if is_bad else (Verdict.OK, Reason.NONE)
        made.append(
            Judgement(trigger, context.pipeline, context, verdict, reason, 0.4 + 0.6 * is_bad + 0.001 * n, 11_000 + n)
        )
    return made
