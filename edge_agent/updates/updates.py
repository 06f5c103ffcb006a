"""The journey down, on a thread of its own: messages of the hub come in, a pipeline judges with what was agreed.

What the link's thread brings is only queued. Whatever goes wrong here, the line goes on with the model it has.
"""

import hashlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.judgement import Judgement
from edge_agent.updates import machine, requests
from edge_agent.updates.ledger import Ledger, Problem
from edge_agent.updates.machine import Event, Named, Ordered, Unnamed, Withheld
from edge_agent.updates.points import Points
from edge_agent.updates.renewal import Renewal
from edge_agent.updates.workshop import Workshop
from edge_protocol.agreement import Wanted, is_below
from edge_protocol.errors import ProtocolError
from edge_protocol.messages import Block, Update, decode
from edge_protocol.metadata import Carried, carried, unpack
from edge_protocol.points import WantedPoint
from edge_protocol.updates import PASSING, Refusal, Step, UpdateRefused

log = logging.getLogger(__name__)

BLOCK = "block"
"""What a block is called in the inbox; a metadata set by its repository."""

MAX_INBOX = 64
"""Messages that wait, of 256 kB at most each; more are dropped, and asked for again."""

LOOK_US = 1_000_000
"""How often operators' requests are looked for, and a refused set is tried again that may be good by now."""

RETRY_SET_US = 30_000_000
TAKES, TAKES_US = 40, 10_000_000
"""So many sets in ten seconds are verified: who sends more must not take the processor from the line."""

NOTES, NOTES_US = 30, 600_000_000
"""So many refused sets in ten minutes are put on record; the records of the line have to find room too."""

PAUSE_US = 2_000_000
"""How long a database that cannot be written is left alone."""

_WATCHED = (machine.Phase.PROOF, machine.Phase.LOADING, machine.Phase.RETURNING)
"""What ends by itself, without a message."""


class Repositories(Protocol):
    """The two verified repositories, as `trust.Trust` keeps them."""

    def take(self, repository: str, files: Mapping[str, bytes]) -> None:
        """Verify and keep a metadata set. Raises UpdateRefused: nothing changes then."""

    def wanted(self) -> dict[str, Wanted | UpdateRefused]:
        """What both name for each pipeline."""

    def points(self) -> dict[str, WantedPoint | UpdateRefused] | None:
        """The operating points that both name; None while one has not spoken."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the gateway's state says of one pipeline's update."""

    wanted: str = ""
    step: str = ""
    refusal: str = ""
    detail: str = ""


class Updates:
    """All pipelines' updates. `on_message`, `on_connect`, `answered`, `distrust`, `standing` belong to any thread."""

    def __init__(
        self,
        trust: Repositories,
        workshop: Workshop,
        ledger: Ledger,
        clock: Clock,
        *,
        make_renewal: Callable[[str, Callable[[str], bool]], Renewal],
        pipelines: tuple[str, ...],
        folder: Path,
        points: Points | None = None,
    ) -> None:
        """`make_renewal` makes that of a pipeline; `folder` is where operators' requests lie.

        Raises:
            StoreError: the rows cannot be read.
        """
        self._trust = trust
        self._workshop = workshop
        self._ledger = ledger
        self._clock = clock
        self._folder = folder
        self._points = points
        self._renewals = {name: make_renewal(name, self._may_return) for name in pipelines}
        self._inbox: queue.Queue[tuple[str, bytes]] = queue.Queue(MAX_INBOX)
        self._distrusted: queue.SimpleQueue[tuple[str, str, str]] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._is_new_connection = False
        self._seen: dict[str, tuple[str, int]] = {}
        self._said: dict[str, tuple[str, str]] = {}
        self._noted_us: list[int] = []
        self._taken_us: list[int] = []
        self._carried: dict[str, Carried] = {}
        self._named: dict[str, Event] = {}
        self._is_begun = False
        self._next_look_us = 0
        self._not_before_us = 0

    def on_message(self, name: str, payload: bytes) -> None:
        """Take a metadata set (`models`, `director`) or a `block`; it is worked in by `step`."""
        try:
            self._inbox.put_nowait((name, payload))
        except queue.Full:
            log.debug("a %s is dropped: it is asked for again", name)
        self._arrived.set()

    def on_connect(self) -> None:
        """The way to the hub is open again."""
        self._is_new_connection = True
        self._arrived.set()

    def answered(self, judgement: Judgement) -> None:
        """The line was told this: it counts for a model on probation."""
        renewal = self._renewals.get(judgement.pipeline)
        probation = renewal.probation if renewal is not None else None
        if probation is not None:
            probation.add(judgement)

    def distrust(self, pipeline: str, digest: str, reason: str) -> bool:
        """The engine of `digest` gives wrong answers: go back to the model before it, for this reason, if there is one.

        Belongs to any thread; what comes of it is seen in what the pipeline runs.
        """
        if not self._renewals[pipeline].state.previous:
            return False
        self._distrusted.put((pipeline, digest, reason))
        self._arrived.set()
        return True

    def standing(self, pipeline: str) -> Standing:
        """Where the update of a pipeline stands."""
        state = self._renewals[pipeline].state
        wanted = state.wanted.digest if state.wanted is not None else ""
        if state.problem is None:
            return Standing(wanted, state.step)
        return Standing(wanted, state.step, state.problem.refusal, state.problem.detail)

    def wait(self, idle_s: float) -> None:
        """Wait until something comes from the hub, or for `idle_s`; less while a pipeline is at work."""
        is_busy = any(each.state.phase in _WATCHED for each in self._renewals.values())
        self._arrived.wait(min(idle_s, 0.05) if is_busy else idle_s)
        self._arrived.clear()

    def step(self) -> bool:
        """Work in what came, do what is due; whether there was anything to do."""
        now_us = self._clock.mono_us()
        if now_us < self._not_before_us:
            return False
        try:
            return self._step(now_us)
        except StoreError as error:
            # Nothing half was done: the rows are as they were, and what was to be done is found again.
            log.warning("updates wait: %s", error)
            self._not_before_us = now_us + PAUSE_US
            self._is_begun = False
            return False

    def close(self) -> None:
        """End what is at work. What was fetched stays for the next start."""
        for renewal in self._renewals.values():
            renewal.close()

    def _step(self, now_us: int) -> bool:
        if not self._is_begun:
            self._name()
            self._collect()
            self._is_begun = True
        worked = self._work_in()
        if self._is_new_connection:
            self._is_new_connection = False
            self._workshop.download.hurry()
        worked |= self._take_fetched_sets()
        worked |= self._workshop.download.step()
        worked |= self._work_in_distrust()
        if now_us >= self._next_look_us:
            self._next_look_us = now_us + LOOK_US
            worked |= self._look_at_requests()
        for renewal in self._renewals.values():
            if renewal.step():
                worked = True
                self._tell_again(renewal)
        # After the releases: which one judges decides which operating point suits.
        return worked | (self._points is not None and self._points.step())

    def _work_in(self) -> bool:
        worked = False
        for _ in range(MAX_INBOX):  # Whoever sends without end keeps nothing else here from its turn.
            if self._inbox.empty():
                break
            name, payload = self._inbox.get_nowait()
            worked = True
            if name == BLOCK:
                with suppress(ProtocolError):  # Garbage: what was wanted is asked for again.
                    self._workshop.download.take(decode(Block, payload))
            else:
                self._take_message(name, payload)
        return worked

    def _take_message(self, repository: str, payload: bytes) -> None:
        digest = hashlib.sha256(payload).hexdigest()
        seen, again_us = self._seen.get(repository, ("", 0))
        if digest == seen and self._clock.mono_us() < again_us:
            return
        now_us = self._clock.mono_us()
        self._taken_us = [at_us for at_us in self._taken_us if now_us - at_us < TAKES_US]
        if len(self._taken_us) >= TAKES:
            return
        self._taken_us.append(now_us)
        self._seen[repository] = (digest, 2**63)
        try:
            message = carried(payload)
        except ProtocolError as error:
            self._note_refused(repository, UpdateRefused(Refusal.NOT_TRUSTED, str(error)))
            return
        if message.sha256 is None:
            self._carried.pop(repository, None)
            self._try(repository, message.body)
        else:
            self._carried[repository] = message
            self._workshop.download.ask({message.sha256: message.length})

    def _take_fetched_sets(self) -> bool:
        """Sets that were too large for a message, now that their objects are here."""
        worked = False
        for repository, message in list(self._carried.items()):
            digest = str(message.sha256)
            problem = self._workshop.download.problem((digest,))
            if problem is None and not self._workshop.objects.has(digest):
                continue
            worked = True
            del self._carried[repository]
            if problem is not None:
                self._note_refused(repository, UpdateRefused(problem.refusal, problem.detail))
            else:
                self._try(repository, self._workshop.objects.read(digest))
        return worked

    def _try(self, repository: str, body: bytes) -> None:
        try:
            self._take(repository, body)
        except UpdateRefused as refused:
            self._note_refused(repository, refused)
        except ProtocolError as error:
            self._note_refused(repository, UpdateRefused(Refusal.NOT_TRUSTED, str(error)))

    def _take(self, repository: str, body: bytes) -> None:
        try:
            self._trust.take(repository, unpack(body))
        except UpdateRefused as refused:
            if refused.refusal in PASSING:
                digest, _ = self._seen[repository]
                self._seen[repository] = (digest, self._clock.mono_us() + RETRY_SET_US)
            raise
        except StoreError:
            self._seen.pop(repository, None)
            raise
        self._said[repository] = ("", "")
        self._name()

    def _name(self) -> None:
        """Tell each pipeline what the director says of it now."""
        wanted = self._trust.wanted()
        if self._points is not None:
            self._points.name(self._trust.points())
        for name, renewal in self._renewals.items():
            said = wanted.get(name)
            event: Event = Unnamed()
            if isinstance(said, UpdateRefused):
                event = Withheld(Problem(said.refusal, said.detail))
            elif said is not None:
                event = Named(said)
            self._named[name] = event
            self._tell_again(renewal)

    def _tell_again(self, renewal: Renewal) -> None:
        """The director's word holds until it says another: an idle pipeline hears it after whatever has ended."""
        before = renewal.digests
        renewal.feed(self._named.get(renewal.name, Unnamed()))
        if renewal.state.phase is machine.Phase.IDLE or renewal.digests != before:
            self._collect()

    def _collect(self) -> None:
        # Also of a pipeline that is not configured any more: it may come back.
        rows = {digest for row in self._ledger.slots().values() for digest in (row.digest, row.previous)}
        digests = {digest for renewal in self._renewals.values() for digest in renewal.digests} | rows
        files = {str(each.sha256) for each in self._carried.values()}
        self._workshop.collect(digests - {""}, files.union(self._points.objects if self._points is not None else ()))

    def _look_at_requests(self) -> bool:
        worked = False
        for path, request in requests.read(self._folder):
            renewal = self._renewals.get(request.pipeline) if request is not None else None
            is_open = request is not None and renewal is not None and renewal.state.running == request.digest
            if request is not None and renewal is not None and is_open and renewal.can_return():
                # The file stays until the row is committed: a kill in between loses no order.
                worked |= renewal.feed(Ordered(request.actor, request.reason))
            else:
                path.unlink(missing_ok=True)
                worked = True
        return worked

    def _work_in_distrust(self) -> bool:
        worked = False
        while not self._distrusted.empty():
            pipeline, digest, reason = self._distrusted.get_nowait()
            renewal = self._renewals[pipeline]
            if renewal.state.running == digest:
                worked |= renewal.feed(Ordered("", reason, Refusal.SELF_TEST_FAILED))
        return worked

    def _note_refused(self, repository: str, refused: UpdateRefused) -> None:
        """Put on record that a set was refused as a whole: each message once, and no more than a thief may fill."""
        digest, _ = self._seen[repository]
        note = Update(
            pipeline="", step=Step.REFUSED, refusal=refused.refusal, detail=f"{repository}: {refused.detail}"[:500]
        )
        said, self._said[repository] = self._said.get(repository), (digest, refused.refusal)
        # A retained message comes again at each start.
        if said == self._said[repository] or (said is None and self._ledger.last("") == note):
            return
        log.warning("a set of %s is refused: %s", repository, refused)
        now_us = self._clock.mono_us()
        self._noted_us = [at_us for at_us in self._noted_us if now_us - at_us < NOTES_US]
        if len(self._noted_us) < NOTES:
            self._noted_us.append(now_us)
            try:
                self._ledger.note(note)
            except StoreError:
                self._said.pop(repository)
                self._seen.pop(repository)
                raise

    def _may_return(self, digest: str) -> bool:
        manifest = self._workshop.slots.manifest(digest)
        return manifest is not None and not is_below(manifest.version, self._ledger.floor(manifest.name))
