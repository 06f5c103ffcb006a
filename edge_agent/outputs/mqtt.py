"""Verdicts leave to a broker on the line: the last one of each pipeline retained, and a counter that shows life.

A controller that hears no new count for a few periods must treat the part as rejected: silence is never OK. The
counter is not retained, so a late listener cannot take an old count for a live one.
"""

from collections.abc import Collection, Sequence
from time import perf_counter

from edge_agent.judgement import Judgement
from edge_agent.outputs.output import outcome
from edge_agent.outputs.telegram import telegram
from edge_agent.settings import MqttOutput as Settings
from edge_protocol.link import Link
from edge_protocol.messages import Outcome

COUNTS = 2**31
"""The heartbeat counts up to this and begins again: it fits every controller's signed double word."""


class MqttOutput:
    """Topics `<prefix>/<pipeline>/verdict` and `<prefix>/<pipeline>/heartbeat` over a link of its own."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self.name = settings.name
        self.after_commit = settings.after_commit
        self._settings = settings
        self._link = link
        self._last: dict[str, bytes] = {}
        self._counts: dict[str, int] = {}
        self._beaten_us: int | None = None

    def open(self) -> None:
        """Connect in the background. A broker that is away is no error: the outcomes say so."""
        self._link.start(lambda _topic, _payload: None, self._tell_again)

    def send(self, judgement: Judgement) -> Outcome:
        """Hand the verdict to the broker."""
        began_s = perf_counter()
        payload = telegram(judgement)
        self._last[judgement.pipeline] = payload
        if self._link.publish(self._topic(judgement.pipeline, "verdict"), payload, retain=True):
            return outcome(self.name, judgement, began_s)
        problem = "the broker does not answer fast enough" if self._link.connected else "not connected"
        return outcome(self.name, judgement, began_s, f"{self._settings.broker}: {problem}")

    def settled(self) -> Sequence[Outcome]:
        """Nothing: an outcome is known at once."""
        return ()

    def beat(self, mono_us: int, alive: Collection[str]) -> None:
        """Every `heartbeat_s`, count one further for each pipeline that is alive."""
        if self._beaten_us is not None and mono_us - self._beaten_us < self._settings.heartbeat_s * 1e6:
            return
        self._beaten_us = mono_us
        for pipeline in alive:
            self._counts[pipeline] = (self._counts.get(pipeline, 0) + 1) % COUNTS
            self._link.publish(self._topic(pipeline, "heartbeat"), b"%d" % self._counts[pipeline])

    def close(self) -> None:
        """Say goodbye to the broker. The heartbeat falls silent."""
        self._link.close()

    def _tell_again(self) -> None:
        """After each connect: the broker may be new, and what was said while it was away is still the last verdict."""
        for pipeline, payload in list(self._last.items()):
            self._link.publish(self._topic(pipeline, "verdict"), payload, retain=True)

    def _topic(self, pipeline: str, what: str) -> str:
        return f"{self._settings.prefix}/{pipeline}/{what}"
