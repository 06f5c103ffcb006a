"""The carrier at work: its thread, and the look at what must be signed anew.

It owns the thread and nothing else; the link and the database are the hub's.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from cloud_hub.clock import Clock
from cloud_hub.storage.database import Database
from cloud_hub.updates import ceremony, renewal
from cloud_hub.updates.carrier import Carrier

WAIT_S = 0.2
REST_S = 1.0
LOOK_US = 60_000_000


class Delivery:
    """Runs a carrier until it is closed. `guarded` calls what it is given and ends every fault of it in the log."""

    def __init__(self, carrier: Carrier, guarded: Callable[[Callable[[], object]], None]) -> None:
        self._carrier = carrier
        self._guarded = guarded
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carrier")
        self._next_look_us = 0

    def start(self) -> None:
        """Begin to carry."""
        self._thread.start()

    def close(self) -> None:
        """Stop carrying; what was asked for and not sent is asked for again."""
        self._stop.set()
        self._carrier.connected()  # wakes it
        if self._thread.is_alive():
            self._thread.join()

    def renew(self, database: Database, folder: Path, clock: Clock) -> int:
        """Once a minute: sign anew what is due, if updates are on; says how much that was.

        Raises:
            StorageError: the database does not answer.
            TrustError: the online key is not where it should be.
        """
        now_us = clock.wall_us()
        if now_us < self._next_look_us:
            return 0
        with database.reading() as connection:
            signer = ceremony.online_key(connection, folder)
            due = renewal.due(connection, now_us) if signer is not None else []
        if signer is not None and due:
            with database.writing() as connection:
                renewal.renew(connection, signer, due, now_us)
        # With a full hand there is more: look again at once.
        self._next_look_us = now_us if len(due) == renewal.MAX_AT_ONCE else now_us + LOOK_US
        return len(due)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._guarded(lambda: self._carrier.step(WAIT_S))
            if not self._carrier.is_well:
                self._stop.wait(REST_S)
