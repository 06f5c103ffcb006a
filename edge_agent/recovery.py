"""The start after a stop that nobody asked for: what the ring still holds goes on record, so that no trigger is open.

After a kill −9 each verdict that was given is recorded as it was, each trigger without one as UNINSPECTED. After a
power cut the ring is not believed, and one event says which triggers and which time are uncertain.
"""

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Started, Uncertain


def recover(store: Store, outbox: Outbox, intake: Intake, clock: Clock) -> list[Judgement]:
    """Record what was left and that the agent has started; the verdicts that the line has not been told.

    Raises:
        StoreError: it could not be recorded; the ring still holds it.
    """
    found = intake.recover()
    left = [*found.answered, *found.unanswered]
    # A kill between commit and settle leaves slots whose rows are there already.
    on_record = outbox.recorded(left)
    missing = [each for each in left if (each.trigger.n, each.pipeline) not in on_record]
    now_us, time = clock.wall_us(), clock.time()
    started = Started(agent_version=__version__, clean=store.was_clean, recovered=len(missing), clock=time.clock)
    records: list[tuple[Stream, int, AnyRecord]] = [(Stream.EVENTS, now_us, started)]
    if found.skipped is not None:
        _, last_us = outbox.last_verdict()
        first, last = found.skipped
        lost = Uncertain(from_us=last_us, to_us=now_us, first_trigger=first, last_trigger=last, reason="power-cut")
        records.append((Stream.EVENTS, now_us, lost))
    outbox.append(missing, records)
    intake.settle(left)
    return [each for each in found.unanswered if each in missing]
