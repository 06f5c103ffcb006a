"""Carries to gateways: the signed sets as retained messages, and objects in the blocks that gateways ask for.

It trusts nothing and needs no trust: gateways verify what comes. `want` and `connected` only queue; `step` belongs to
one worker, serves gateways in turn and stops wherever the link has no room.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud_hub.context import Tally
from cloud_hub.errors import StorageError
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import bundle_files, trust_files
from cloud_hub.updates import repository
from cloud_hub.updates.repository import MODELS, Repository
from cloud_hub.updates.signing import TIMESTAMP
from edge_protocol import metadata, topics
from edge_protocol.link import Link
from edge_protocol.messages import BLOCK_BYTES, Block, Want, encode

LOOK_S = 0.5
REPEAT_S = 60.0
"""A broker may forget what is retained: each set is sent again after so long."""

MAX_SETS = 50
MAX_BLOCKS = 32
"""In one step: 2 MB, then the sets get their turn."""

MAX_WANTS = 4
"""Of one gateway; a further one takes the place of the oldest, which is asked for again."""


_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    """What is still to be sent of an answer; `offset` belongs to the worker."""

    sha256: str
    offset: int
    end: int


@dataclass(slots=True)
class _Told:
    """Which version of a set was handed to the link, and when."""

    version: int
    at_s: float


class Carrier:
    """The hub's hands. A want must be verified by whoever hands it in."""

    def __init__(
        self, database: Database, objects: Objects, link: Link, tally: Tally, *,
        holds: Callable[[str], bool], now_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._database = database
        self._objects = objects
        self._link = link
        self._tally = tally
        self._holds = holds
        self._now_s = now_s
        self._changed = threading.Condition()
        self._jobs: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._afresh = True
        self._told: dict[Repository, _Told] = {}
        self._look_at_s = 0.0
        self._large: dict[Repository, tuple[str, bytes]] = {}
        """By digest, sets that do not fit into a message and are wanted like objects."""
        self.is_well = True
        """Whether the last step came to its end; after one that did not, rest before the next."""

    def want(self, gateway: str, want: Want) -> None:
        """Queue an answer. Never blocks, never fails."""
        job = _Job(want.sha256, want.offset, want.offset + want.length)
        with self._changed:
            jobs = self._jobs.setdefault(gateway, deque())
            if any((each.sha256, each.end) == (job.sha256, job.end) for each in jobs):
                return
            while len(jobs) >= MAX_WANTS:
                jobs.popleft()
            jobs.append(job)
            self._changed.notify()

    def connected(self) -> None:
        """The link is there (again): whatever was retained may be gone."""
        with self._changed:
            self._afresh = True
            self._changed.notify()

    def step(self, wait_s: float = 0.0) -> bool:
        """Send what is due and what is asked for; False when there was nothing to do.

        Raises:
            StorageError: the database does not answer; what was asked for is still queued.
        """
        self.is_well = False
        sent = self._send_sets() + self._send_blocks()
        self.is_well = True
        if not sent and wait_s:
            with self._changed:
                # With work in the queue the link has no room: a short rest, not a spin.
                self._changed.wait(wait_s / 10 if self._jobs else wait_s)
        return sent > 0

    def _send_sets(self) -> int:
        now_s = self._now_s()
        with self._changed:
            afresh, self._afresh = self._afresh, False
        if afresh:
            self._told.clear()
        if now_s < self._look_at_s and not afresh:
            return 0
        self._look_at_s = now_s + LOOK_S
        sent = 0
        with self._database.reading() as connection:
            versions = self._versions(connection)
            self._told = {where: told for where, told in self._told.items() if where in versions}
            due = [where for where, version in versions.items() if self._is_due(where, version, now_s)]
            for where in due[:MAX_SETS]:
                if not self._link.publish(_topic(where), self._payload(connection, where), retain=True):
                    break
                self._told[where] = _Told(versions[where], now_s)
                sent += 1
        if sent < len(due):
            self._look_at_s = now_s
        self._tally.add("sets_sent", sent)
        return sent

    def _versions(self, connection: Connection) -> dict[Repository, int]:
        """The sets of gateways whose shard is held here, the publishers' before all others."""
        columns = (trust_files.c.repository, trust_files.c.gateway, trust_files.c.version)
        rows = connection.execute(select(*columns).where(trust_files.c.role == TIMESTAMP))
        found = {Repository(name, gateway): version for name, gateway, version in rows}
        held = sorted(where for where in found if where == MODELS or self._holds(topics.shard_of(where.gateway)))
        return {where: found[where] for where in sorted(held, key=lambda each: each != MODELS)}

    def _is_due(self, where: Repository, version: int, now_s: float) -> bool:
        told = self._told.get(where)
        return told is None or told.version != version or now_s - told.at_s >= REPEAT_S

    def _payload(self, connection: Connection, where: Repository) -> bytes:
        body = metadata.pack(repository.files(connection, where))
        payload = metadata.carry(body)
        self._large.pop(where, None)
        if len(payload) < len(body):
            self._large[where] = (hashlib.sha256(body).hexdigest(), body)
        return payload

    def _send_blocks(self) -> int:
        """One block to each gateway in turn, while the link takes them."""
        sent = 0
        while sent < MAX_BLOCKS:
            with self._changed:
                if not self._jobs:
                    break
                gateway, jobs = next(iter(self._jobs.items()))
                job = jobs[0]
            block = self._block(job)
            if not self._link.publish(topics.down(gateway, "block"), encode(block)):
                break
            self._advance(gateway, job, block)
            sent += 1
        self._tally.add("blocks_sent", sent)
        return sent

    def _block(self, job: _Job) -> Block:
        """The next piece of an answer; without data when the object, or this part of it, is not here."""
        body = next((body for digest, body in self._large.values() if digest == job.sha256), None)
        total = len(body) if body is not None else self._length(job.sha256)
        length = max(0, min(BLOCK_BYTES, job.end - job.offset, total - job.offset))
        data = b""
        if body is not None:
            data = body[job.offset : job.offset + length]
        elif length:
            try:
                data = self._objects.part(job.sha256, job.offset, length)
            except StorageError as error:
                _log.warning("%s; %s", error, error.hint)
                total = 0
        return Block(sha256=job.sha256, offset=job.offset, total=total, data=data)

    def _length(self, digest: str) -> int:
        """How long an object of the catalogue is; 0 for any other, whatever else lies in the store."""
        with self._database.reading() as connection:
            query = select(bundle_files.c.length).where(bundle_files.c.sha256 == digest).limit(1)
            return connection.execute(query).scalar_one_or_none() or 0

    def _advance(self, gateway: str, job: _Job, block: Block) -> None:
        """Take what was sent off the queue; the gateway goes to the end of it."""
        job.offset += len(block.data)
        with self._changed:
            jobs = self._jobs[gateway]
            if job in jobs and (not block.data or job.offset >= min(job.end, block.total)):
                jobs.remove(job)
            if jobs:
                self._jobs.move_to_end(gateway)
            else:
                del self._jobs[gateway]


def _topic(where: Repository) -> str:
    return topics.FLEET_MODELS if where == MODELS else topics.down(where.gateway, "desired")
