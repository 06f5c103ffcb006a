"""The start after a stop that nobody asked for: what the ring still holds goes on record, so that no trigger is open.

After a kill −9 each verdict that was given is recorded as it was, each trigger without one as UNINSPECTED. After a
power cut the ring is not believed, and one event says which triggers and which time are uncertain.
"""

from dataclasses import dataclass

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.salvage import Salvage
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Fault, Started, Uncertain


@dataclass(frozen=True, slots=True)
class Recovered:
    """What went on record only now. Of `answered` the line may have heard, but for what waits for the commit."""

    answered: tuple[Judgement, ...]
    unanswered: tuple[Judgement, ...]


def recover(store: Store, outbox: Outbox, intake: Intake, clock: Clock) -> Recovered:
    """Record what was left and that the agent has started.

    Raises:
        StoreError: it could not be recorded; the ring still holds it.
    """
    found = intake.recover()
    left = [*found.answered, *found.unanswered]
    # A kill between commit and settle leaves slots whose rows are there already.
    on_record = outbox.recorded(left)
    answered, unanswered = (
        tuple(each for each in group if (each.trigger.n, each.pipeline) not in on_record)
        for group in (found.answered, found.unanswered)
    )
    missing = [*answered, *unanswered]
    now_us, time = clock.wall_us(), clock.time()
    events: list[AnyRecord] = [
        Started(agent_version=__version__, clean=store.was_clean, recovered=len(missing), clock=time.clock)
    ]
    if found.skipped is not None:
        _, last_us = outbox.last_verdict()
        first, last = found.skipped
        events.append(
            Uncertain(from_us=last_us, to_us=now_us, first_trigger=first, last_trigger=last, reason="power-cut")
        )
    if store.salvage is not None:
        events.append(_salvaged(store.salvage))
    outbox.append(missing, [(Stream.EVENTS, now_us, event) for event in events])
    intake.settle(left)
    return Recovered(answered, unanswered)


def _salvaged(salvage: Salvage) -> Fault:
    rows = sum(salvage.rows.values())
    detail = f"{salvage.reason[:200]}; {rows} rows were saved, the file lies in quarantine/{salvage.folder}"
    return Fault(part="store", name="lineside.db", reason="salvaged", active=False, detail=detail)
