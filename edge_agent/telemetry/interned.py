"""What many rows share is written once: runs of the clock and contexts come in, small numbers go out.

Remembers what it has seen; `forget` after a transaction that failed, because its rows are not there.
"""

from collections.abc import Iterable
from typing import TypeVar

from edge_agent.clock import Clock
from edge_agent.sample import Trigger
from edge_agent.store import Connection, fetch
from edge_agent.telemetry.record import Runs
from edge_protocol.batch import Context
from edge_protocol.codes import ClockState
from edge_protocol.messages import Time

SAME_RUN_US = 500_000
"""A time that fits an anchor this well is of its run: two runs of a boot differ by a second, or it does not matter."""

MAX_REMEMBERED = 1000

_FIND_CONTEXT = (
    "SELECT id FROM contexts WHERE pipeline = ? AND bundle = ? AND version = ? AND digest = ? AND variant = ? "
    "AND operating_point = ?"
)
_GET_CONTEXT = "SELECT pipeline, bundle, version, digest, variant, operating_point FROM contexts WHERE id = ?"
_ADD_CONTEXT = (
    "INSERT INTO contexts (pipeline, bundle, version, digest, variant, operating_point) VALUES (?, ?, ?, ?, ?, ?) "
    "RETURNING id"
)
_GET_RUN = "SELECT boot, run, wall_us, mono_us, clock, config FROM runs WHERE id = ?"
_FIND_RUN = "SELECT id FROM runs WHERE boot = ? AND abs(wall_us - mono_us - ?) < ? ORDER BY id DESC LIMIT 1"
_ADD_RUN = "INSERT INTO runs (boot, run, wall_us, mono_us, clock, config) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Interned:
    """The runs and contexts of one database."""

    def __init__(self, clock: Clock, config: bytes) -> None:
        self._clock = clock
        self._config = config
        self._runs: dict[tuple[str, int, int], int] = {}
        self.numbers: dict[int, int] = {}
        """The numbers of contexts by the identity of the object: the pipelines hand in the same few again and again."""
        self._alive: dict[int, Context] = {}
        self._contexts: dict[Context, int] = {}
        self._known_runs: dict[int, tuple[Time, bytes]] = {}
        self._known_contexts: dict[int, Context] = {}

    def forget(self) -> None:
        """Trust only the database again."""
        remembered = (self._runs, self._contexts, self._known_runs, self._known_contexts, self.numbers, self._alive)
        for known in remembered:
            known.clear()

    def current_run(self, connection: Connection) -> int:
        """The number of the clock's current run."""
        return self._run(connection, self._clock.time())

    def runs(self, connection: Connection) -> Runs:
        """Which run gave a trigger its time: after a step of the clock or a kill it is not always the current one."""
        now = self._clock.time()
        expected_us = now.wall_us - now.mono_us
        return Runs(
            self._run(connection, now),
            expected_us - SAME_RUN_US,
            expected_us + SAME_RUN_US,
            lambda trigger: self._foreign_run(connection, trigger, now.boot),
        )

    def learn(self, connection: Connection, contexts: Iterable[Context]) -> None:
        """Know these contexts by identity from now on. They are kept alive, so an identity stays one context's."""
        if len(self._alive) > MAX_REMEMBERED:
            self._alive.clear()
            self.numbers.clear()
        for context in contexts:
            self._alive[id(context)] = context
            self.numbers[id(context)] = self._context_number(connection, context)

    def run(self, connection: Connection, number: int) -> tuple[Time, bytes]:
        """A run by its number, with the digest of the configuration of its process."""
        if number not in self._known_runs:
            for boot, run, wall_us, mono_us, clock, config in fetch(connection, _GET_RUN, (number,)):
                known = Time(boot, run, wall_us, mono_us, ClockState(clock)), config
                _remember(self._known_runs, number, known)
        return self._known_runs.get(number, (Time("", 0, 0, 0, ClockState.BEHIND), b""))

    def context(self, connection: Connection, number: int) -> Context:
        """A context by its number."""
        if number not in self._known_contexts:
            for row in fetch(connection, _GET_CONTEXT, (number,)):
                _remember(self._known_contexts, number, Context(*row))
        return self._known_contexts.get(number, Context(pipeline=""))

    def _context_number(self, connection: Connection, context: Context) -> int:
        number = self._contexts.get(context)
        if number is None:
            number = _intern_context(connection, context)
            _remember(self._contexts, context, number)
        return number

    def _foreign_run(self, connection: Connection, trigger: Trigger, boot: str) -> int:
        offset_us = trigger.at_us - trigger.mono_us
        for (number,) in fetch(connection, _FIND_RUN, (boot, offset_us, SAME_RUN_US)):
            return int(number)
        state = self._clock.state_of(trigger.at_us)
        return self._run(connection, Time(boot, 0, trigger.at_us, trigger.mono_us, state))

    def _run(self, connection: Connection, time: Time) -> int:
        key = (time.boot, time.wall_us, time.mono_us)
        number = self._runs.get(key)
        if number is None:
            row = (time.boot, time.run, time.wall_us, time.mono_us, time.clock.value, self._config)
            ((number,),) = fetch(connection, _ADD_RUN, row)
            _remember(self._runs, key, number)
        return int(number)


def _remember(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[key] = value


def _intern_context(connection: Connection, context: Context) -> int:
    row = (
        context.pipeline, context.bundle, context.version, context.digest, context.variant, context.operating_point,
    )  # fmt: skip
    for (number,) in fetch(connection, _FIND_CONTEXT, row):
        return int(number)
    ((added,),) = fetch(connection, _ADD_CONTEXT, row)
    return int(added)
