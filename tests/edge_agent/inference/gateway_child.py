"""A line that never stops, to be killed: takes triggers, answers them, tells the line (a file) and records them."""

import os
import sys
import threading
from pathlib import Path

from edge_agent import recovery
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake, IntakeFull
from edge_agent.judgement import Judgement
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict

PIPELINES = ("surface", "engine")
CONTEXTS = {name: Context(name, "bundle", "1", b"d" * 32) for name in PIPELINES}


def main(folder: Path) -> None:
    """Run until killed."""
    clock = Clock()
    store = Store.open(folder / "lineside.db", quota_bytes=64 << 20, clock=clock)
    outbox = Outbox(store, "press-1")
    after, _ = outbox.last_verdict()
    intake = Intake.open(folder / "intake.ring", slots=256, boot=clock.time().boot, epoch=store.epoch, after=after)
    recovery.recover(store, outbox, intake, clock)
    recorder = Recorder(outbox, intake, clock, commit_s=0.02, commit_rows=20)
    line = os.open(folder / "line", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    threading.Thread(target=keep_recording, args=(recorder,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        take_one(clock, intake, recorder, line)


def take_one(clock: Clock, intake: Intake, recorder: Recorder, line: int) -> None:
    """One part: a trigger, and for each pipeline a verdict that the line hears of."""
    try:
        trigger = intake.take(PIPELINES, clock.wall_us(), clock.mono_us())
    except IntakeFull:  # the recorder catches up
        return
    for i, name in enumerate(PIPELINES):
        verdict = Verdict((trigger.n + i) % 3)
        judgement = Judgement(trigger, name, CONTEXTS[name], verdict, Reason.NONE, trigger.n / 7, 100)
        intake.answer(judgement)
        os.write(line, f"{trigger.n} {name} {verdict.name}\n".encode())
        recorder.put(judgement)


def keep_recording(recorder: Recorder) -> None:
    """Commit for ever."""
    while True:
        if not recorder.step():
            recorder.wait(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
