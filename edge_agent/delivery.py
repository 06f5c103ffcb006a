"""A judgement on its way out: noted in the ring, handed to the recorder, told to the line, in this order.

The thread that judges only notes and enqueues; telling the line is another thread's, so a slow output delays no part.
Never decides anything.
"""

import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter

from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.outputs.http import UNKNOWN, HttpOutput
from edge_agent.outputs.output import Letter, Output, outcome_of
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.codes import Stream
from edge_protocol.messages import Outcome

BEAT_S = 0.2
"""How often the outputs are asked whether the line should hear a sign of life."""


class Delivery:
    """The outputs of each pipeline, the ring and the recorder behind one call."""

    def __init__(
        self,
        outputs: Mapping[str, Sequence[Output]],
        *,
        intake: Intake,
        recorder: Recorder,
        clock: Clock,
        answered: Callable[[Judgement], None],
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """Open outputs by pipeline; `answered` hears of each judgement that the line was told, `told` how that went."""
        self._outputs = outputs
        self._distinct = list({output.name: output for each in outputs.values() for output in each}.values())
        self._awaited = {name for name, each in outputs.items() if any(output.after_commit for output in each)}
        self._intake = intake
        self._recorder = recorder
        self._clock = clock
        self._answered = answered
        self._told = told
        self._senders = {output.name: output for output in self._distinct if isinstance(output, HttpOutput)}
        self._queue: queue.SimpleQueue[tuple[Judgement, bool, Collection[str]] | None] = queue.SimpleQueue()

    def emit(self, judgement: Judgement) -> None:
        """Take a judgement from a pipeline's thread. It is in the ring when this returns: a kill cannot change it."""
        self._intake.answer(judgement)
        # First: its outcome must not be on record before it is.
        self._recorder.put(judgement, urgent=judgement.pipeline in self._awaited)
        self._queue.put((judgement, False, ()))

    def committed(self, judgements: Sequence[Judgement]) -> None:
        """Tell those outputs that may only hear what is safe on disk."""
        for judgement in judgements:
            if judgement.pipeline in self._awaited:
                self._queue.put((judgement, True, ()))

    def resume(
        self, answered: Sequence[Judgement], unanswered: Sequence[Judgement], owed: Sequence[Letter] = ()
    ) -> None:
        """Tell the line what an earlier process kept from it, all of it on record already, before anything new.

        Of what was `answered` it may have heard, but for what waits for the commit. What an output owes comes by its
        letters alone; those of an output that is no more have failed.
        """
        for name in dict.fromkeys(each.output for each in owed):
            mine = [each for each in owed if each.output == name]
            if name in self._senders:
                self._senders[name].resume(mine)
            else:
                for each in mine:
                    self._note(outcome_of(each, perf_counter(), f"{UNKNOWN}, and this output is no more"))
        for judgement in unanswered:
            self._queue.put((judgement, False, self._senders))
        for judgement in (*answered, *unanswered):
            if judgement.pipeline in self._awaited:
                self._queue.put((judgement, True, self._senders))

    def run(self, alive: Callable[[], Collection[str]]) -> None:
        """Tell the line until `close`; `alive` names the pipelines that the heartbeat is for."""
        while self.step(alive):
            pass

    def step(self, alive: Callable[[], Collection[str]], timeout_s: float = BEAT_S) -> bool:
        """Tell one judgement, or notice that there was none; False after `close` when all is told."""
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            self._settle()
            self._beat(alive())
            return True
        if item is None:
            self._end()
            return False
        judgement, is_committed, senders = item
        for output in self._outputs.get(judgement.pipeline, ()):
            if output.after_commit is is_committed and output.name not in senders:
                outcome = output.send(judgement)
                if outcome is not None:
                    self._note(outcome)
        if not is_committed:
            self._answered(judgement)
        self._settle()
        self._beat(alive())
        return True

    def close(self) -> None:
        """End `run`, and with it the outputs, once everything given so far is told."""
        self._queue.put(None)

    def _settle(self) -> None:
        """Note what has become of verdicts that an output took its time for."""
        for output in self._distinct:
            for outcome in output.settled():
                self._note(outcome)

    def _end(self) -> None:
        """Nothing more is told: what is still under way is settled now, while it can be recorded."""
        for output in self._distinct:
            output.close()
        self._settle()

    def _note(self, outcome: Outcome) -> None:
        self._recorder.record(Stream.OUTCOMES, outcome)
        self._told(outcome)

    def _beat(self, alive: Collection[str]) -> None:
        mono_us = self._clock.mono_us()
        for output in self._distinct:
            output.beat(mono_us, alive)
