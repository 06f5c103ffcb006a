"""Messages come in from the link's thread and wait; a worker verifies them, archives many at once, then answers.

The order is the promise: rows and cursor are committed before a receipt is made. What cannot be taken is counted and
dropped, the connection stays: whatever has no receipt is sent again by its gateway.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection

from cloud_hub.clock import Clock
from cloud_hub.context import Tally
from cloud_hub.errors import StorageError, ValueRefused
from cloud_hub.storage.database import Database
from cloud_hub.telemetry import archive, fleet, verify
from cloud_hub.telemetry.archive import Answer
from cloud_hub.telemetry.inbox import Inbox, Letter
from cloud_hub.telemetry.postbox import Postbox
from cloud_hub.telemetry.verify import BatchArrival, LinkArrival, Refusal, Refused, Sender, StateArrival, WantArrival
from edge_protocol import topics
from edge_protocol.errors import DecodeError
from edge_protocol.messages import MAX_MESSAGE_BYTES, Want
from edge_protocol.topics import Address, Direction

Arrival: TypeAlias = BatchArrival | StateArrival | LinkArrival

MAX_ROWS = 20_000
"""Rows in one transaction. Few letters hold more, but a hostile one may hold 5,000 and there may be a hundred."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Refusals:
    """What was refused since it was last written down: by gateway (empty when not enrolled) and kind."""

    counts: Counter[tuple[str, Refusal]] = field(default_factory=Counter)
    details: dict[tuple[str, Refusal], str] = field(default_factory=dict)

    def add(self, gateway: str, refused: Refused) -> None:
        self.counts[gateway, refused.kind] += 1
        self.details[gateway, refused.kind] = refused.detail

    def rows(self) -> list[tuple[str, str, int, str]]:
        return [(*key, n, self.details[key]) for key, n in self.counts.items()]


class Receiver:
    """The hub's ear. `on_message` belongs to the link's thread, `step` to one worker's."""

    def __init__(
        self, database: Database, postbox: Postbox, clock: Clock, tally: Tally, *,
        holds: Callable[[str], bool], batch_messages: int = 100, queue_bytes: int = 64 * 1024 * 1024,
        on_want: Callable[[str, Want], None] = lambda _gateway, _want: None,
    ) -> None:  # fmt: skip
        """`on_want` is told who asks for which bytes, verified; it must not block."""
        self._database = database
        self._postbox = postbox
        self._clock = clock
        self._tally = tally
        self._holds = holds
        self._on_want = on_want
        self._limit = batch_messages
        self._inbox = Inbox(queue_bytes)
        self._refusals = _Refusals()
        self._letters: deque[Letter] = deque()
        self.is_stuck = False
        """Whether messages wait for a database that did not answer at the last step."""
        self._waiting: list[Arrival] = []
        """Verified and not archived yet: stays while the database does not answer."""

    def on_message(self, topic: str, payload: bytes) -> None:
        """Put a message in the queue, or count why not. Never blocks, never fails."""
        self._tally.add("messages_received")
        kept = payload if len(payload) <= MAX_MESSAGE_BYTES else b""
        if not self._inbox.put(Letter(topic, kept, len(payload))):
            self._tally.add("messages_dropped_queue_full")

    def step(self, wait_s: float = 0.0) -> bool:
        """Take, verify, archive and answer once; False when there was nothing to do or the database was away."""
        if not self._waiting and not self._letters:
            self._letters.extend(self._inbox.take(self._limit, wait_s))
        busy = bool(self._letters)
        try:
            if not self._waiting and busy:
                self._waiting = self._verify()
            if self._waiting or self._refusals.counts:
                self._archive(self._waiting)
                self._waiting = []
            self.is_stuck = False
        except StorageError:
            self.is_stuck = True
            self._tally.add("archive_failures")
            _log.exception("nothing is archived and nothing receipted until the database answers")
            return False
        self._tally.add("receipts_sent", self._postbox.send())
        return busy

    def _verify(self) -> list[Arrival]:
        """Open letters until there are none, or rows enough for one transaction: a small letter can hold many."""
        names = {name for letter in self._letters if (name := _claimed(letter)) is not None}
        with self._database.reading() as connection:
            senders = fleet.senders(connection, names)
        arrivals: list[Arrival] = []
        rows = 0
        while self._letters and rows < MAX_ROWS:
            letter = self._letters.popleft()
            address = self._address(letter)
            if address is None:
                continue
            sender = senders.get(address.gateway)
            try:
                arrival = _open(letter, address, sender)
            except Refused as refused:
                self._refuse("" if sender is None else address.gateway, refused)
                continue
            if isinstance(arrival, WantArrival):
                self._on_want(arrival.gateway, arrival.want)
            else:
                arrivals.append(arrival)
                rows += len(arrival.batch.rows) if isinstance(arrival, BatchArrival) else 1
        return arrivals

    def _address(self, letter: Letter) -> Address | None:
        """Whose message it is; None for one that is not for this replica or not from a gateway."""
        try:
            address = topics.parse(letter.topic)
        except DecodeError as error:
            self._refuse("", Refused(Refusal.TOPIC, str(error)))
            return None
        if address.direction is not Direction.UP or not self._holds(topics.shard_of(address.gateway)):
            self._tally.add("messages_of_others")
            return None
        return address

    def _archive(self, arrivals: list[Arrival]) -> None:
        try:
            answers = self._commit(arrivals)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (one message, or a fault of ours that it brings out, must not stop all)
            # One of them can never be stored: find it, so that it does not take the others with it.
            if len(arrivals) > 1:
                for arrival in arrivals:
                    self._archive([arrival])
                return
            _log.warning("a message cannot be archived", exc_info=not isinstance(error, ValueRefused))
            self._refusals = _Refusals()  # they may be what cannot be stored
            for gateway in _gateways(arrivals):
                self._refuse(gateway, Refused(Refusal.UNSTORABLE, repr(error)))
            return
        for answer in answers:
            self._postbox.add(answer)

    def _commit(self, arrivals: list[Arrival]) -> list[Answer]:
        now_us, refusals = self._clock.wall_us(), self._refusals.rows()
        batches = [arrival for arrival in arrivals if isinstance(arrival, BatchArrival)]
        with self._database.writing() as connection:
            outcome = archive.write(connection, batches, now_us)
            news = _keep(connection, arrivals, now_us)
            fleet.seen(connection, _gateways(arrivals), now_us)
            fleet.keep_refusals(connection, refusals, now_us)
        self._refusals = _Refusals()
        for arrival, refused in outcome.refused:
            self._refuse(arrival.batch.gateway, refused)
        self._tally.add("transactions")
        self._tally.add("batches_archived", len(outcome.answers))
        self._tally.add("rows_received", sum(len(batch.batch.rows) for batch in batches))
        self._tally.add(
            "rows_conflicting", sum(last - first + 1 for a in outcome.answers for first, last in a.conflicts)
        )
        return [*outcome.answers, *news]

    def _refuse(self, gateway: str, refused: Refused) -> None:
        self._tally.add(f"messages_refused_{refused.kind}")
        self._refusals.add(gateway, refused)


def _claimed(letter: Letter) -> str | None:
    """Whose message it says it is."""
    try:
        return topics.parse(letter.topic).gateway
    except DecodeError:
        return None


def _open(letter: Letter, address: Address, sender: Sender | None) -> Arrival | WantArrival:
    if letter.size > MAX_MESSAGE_BYTES:
        detail = f"{letter.size} bytes on {letter.topic}, at most {MAX_MESSAGE_BYTES} are taken"
        raise Refused(Refusal.OVERSIZED, detail)
    if address.name == verify.LINK:
        return verify.open_link(letter.topic, letter.payload)
    if sender is None:
        detail = f"{address.gateway} is not enrolled here, or its key was revoked"
        raise Refused(Refusal.NOT_ENROLLED, detail)
    if address.name in verify.RESERVED:
        detail = f"up/{address.name} is not answered by this version of the hub"
        raise Refused(Refusal.UNANSWERED, detail)
    opened = _OPENED.get(address.name, verify.open_batch)
    return opened(letter.topic, letter.payload, sender)


_OPENED: dict[str, Callable[[str, bytes, Sender], Arrival | WantArrival]] = {
    verify.STATE: verify.open_state,
    verify.WANT: verify.open_want,
}
"""How what a gateway signs is opened; any other name is that of a stream."""


def _keep(connection: Connection, arrivals: Iterable[Arrival], now_us: int) -> list[Answer]:
    news: list[Answer] = []
    for arrival in arrivals:
        if isinstance(arrival, LinkArrival):
            fleet.keep_link(connection, arrival, now_us)
        elif isinstance(arrival, StateArrival):
            fleet.keep_state(connection, arrival, now_us)
            news += fleet.news_for(connection, arrival)
    return news


def _gateways(arrivals: Iterable[Arrival]) -> set[str]:
    """Who signed something among these."""
    batches = {arrival.batch.gateway for arrival in arrivals if isinstance(arrival, BatchArrival)}
    return batches | {arrival.state.gateway for arrival in arrivals if isinstance(arrival, StateArrival)}
