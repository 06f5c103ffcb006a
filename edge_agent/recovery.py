"""The start after a stop that nobody asked for: what the ring still holds goes on record, so that no trigger is open.

After a kill −9 each verdict that was given is recorded as it was, each trigger without one as UNINSPECTED. After a
power cut the ring is not believed, and one event says which triggers and which time are uncertain.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake, Recovery
from edge_agent.judgement import Judgement
from edge_agent.salvage import Salvage
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Fault, Started, Uncertain


@dataclass(frozen=True, slots=True)
class Recovered:
    """What went on record only now. Of `answered` the line may have heard, but for what waits for the commit.

    `left` did not: their source counts its parts, and their part's number is not known. It would tell of that part
    again, as of a lost one, so they wait in the ring for its next number.
    """

    answered: tuple[Judgement, ...]
    unanswered: tuple[Judgement, ...]
    left: tuple[Judgement, ...] = ()


def recover(store: Store, outbox: Outbox, intake: Intake, clock: Clock, running: Collection[str] = ()) -> Recovered:
    """Record what was left and that the agent has started; `running` are the pipelines there are.

    Raises:
        StoreError: it could not be recorded; the ring still holds it.
    """
    found = intake.recover()
    every = [*found.answered, *found.unanswered]
    # A kill between commit and settle leaves slots whose rows are there already.
    on_record = outbox.recorded(every)
    answered, open_ = (
        tuple(each for each in group if (each.trigger.n, each.pipeline) not in on_record)
        for group in (found.answered, found.unanswered)
    )
    counting = _counting(store, outbox, every).intersection(running)
    left = tuple(each for each in open_ if each.trigger.number is None and each.pipeline in counting)
    kept = set(map(id, left))
    unanswered = tuple(each for each in open_ if id(each) not in kept)
    # By the source's count, where there is one: the part recorded last says how far it has come.
    missing = sorted([*answered, *unanswered], key=lambda each: each.trigger.number or 0)
    now_us, time = clock.wall_us(), clock.time()
    events: list[AnyRecord] = [
        Started(agent_version=__version__, clean=store.was_clean, recovered=len(missing), clock=time.clock)
    ]
    last_n, _ = outbox.last_verdict()
    lost, reason = found.skipped, "power-cut"
    if store.salvage is not None:
        events.append(_salvaged(store.salvage))
        if lost is None:
            lost, reason = _lost(last_n, found), "store-damaged"
    if lost is not None:
        from_us, (first, last) = outbox.told_until(lost[0]), lost
        events.append(Uncertain(from_us=from_us, to_us=now_us, first_trigger=first, last_trigger=last, reason=reason))
    records = [(Stream.EVENTS, now_us, event) for event in events]
    outbox.append_by_shedding(missing, records, intake.owed_from(missing))
    intake.settle(each for each in every if id(each) not in kept)
    return Recovered(answered, unanswered, left)


def _counting(store: Store, outbox: Outbox, found: Sequence[Judgement]) -> set[str]:
    """The pipelines whose source will tell, by its next number, which parts are lost."""
    counted = {each.pipeline for each in found if each.trigger.number is not None}
    return set() if store.was_clean else counted.union(outbox.numbers())


def _lost(last_n: int, found: Recovery) -> tuple[int, int] | None:
    """The triggers that the ring has given and neither it nor what was saved of the database tells of."""
    if found.next_n - 1 <= last_n:
        return None
    known = ranges.from_numbers(judgement.trigger.n for judgement in (*found.answered, *found.unanswered))
    unknown = ranges.subtract(((last_n + 1, found.next_n - 1),), known)
    return (unknown[0][0], unknown[-1][1]) if unknown else None


def _salvaged(salvage: Salvage) -> Fault:
    rows = sum(salvage.rows.values())
    detail = f"{salvage.reason[:200]}; {rows} rows were saved, the file lies in quarantine/{salvage.folder}"
    return Fault(part="store", name="lineside.db", reason="salvaged", active=False, detail=detail)
