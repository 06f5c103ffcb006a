"""Room that the database may count on when others have filled the disk: in its file, in its log, and in a ballast.

A path or a connection comes in, bytes are taken or given up. Never decides what is recorded.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edge_agent import durable
from edge_agent.salvage import PAGE_BYTES

BALLAST_BYTES = 2 * 1024 * 1024
"""As much as the database's log holds, so that the database can grow by all of it."""

SLACK_BYTES = 64 * 1024
"""Left to the file system, which writes its own books."""

LEAST_PAGES = 160
"""The file has these from its first day: a small one could not even take what it has to say of a full disk."""

LOG_PAGES = 64
"""What a start on a full disk takes for the log at once, before others do: more than one commit writes."""

FILL = "CREATE TABLE IF NOT EXISTS room (bytes BLOB) STRICT; INSERT INTO room VALUES (randomblob(?))"
EMPTY = "DROP TABLE IF EXISTS room"
"""Rows that were on disk and are gone again: their pages stay the database's. Random, as below."""


def keep_ballast(path: Path) -> bool:
    """Make a file that only takes room, when it is not there and the disk has some; whether it was made.

    It is given up when others have filled the disk: without that room not even a delete would succeed then, for the
    database's log could neither be worked into it nor grow.
    """
    if path.exists() or shutil.disk_usage(path.parent).free < 3 * BALLAST_BYTES:
        return False
    return _take(path, BALLAST_BYTES)


def keep_scraps(path: Path) -> None:
    """At the end of a run on a full disk: what the log gave back is the next start's, and not for others to take."""
    left = min(shutil.disk_usage(path.parent).free - SLACK_BYTES, BALLAST_BYTES)
    if left > 0 and not path.exists():
        _take(path, left)


def make_way(path: Path) -> bool:
    """Give the ballast up where the disk is so full that a database could not have its log; whether it is."""
    if shutil.disk_usage(path.parent).free >= BALLAST_BYTES:
        return False
    path.unlink(missing_ok=True)
    return True


def to_claim(pages: int, *, crowded: bool) -> int:
    """How many bytes a database of so many pages takes before others do."""
    return max(LEAST_PAGES - pages, LOG_PAGES if crowded else 0) * PAGE_BYTES


def _take(path: Path, size: int) -> bool:
    with suppress(OSError):
        # Random, because a file system may store zeros as nothing.
        durable.write_file(path, os.urandom(size))
        return True
    return False
