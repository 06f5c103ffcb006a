"""Room that is kept for the day when others have filled the disk: a file that is set up, and given up.

Without it not even a delete would succeed then: the log could not be worked into the database, nor grow itself.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edge_agent import durable

BALLAST_BYTES = 2 * 1024 * 1024
"""As much as the log holds, so that the database can grow by all of it."""


def set_up(path: Path) -> bool:
    """Make the ballast when it is not there and the disk has room for it; whether it was made."""
    if path.exists() or shutil.disk_usage(path.parent).free < 3 * BALLAST_BYTES:
        return False
    with suppress(OSError):
        # Random, because a file system may store zeros as nothing.
        durable.write_file(path, os.urandom(BALLAST_BYTES))
        return True
    return False


def give_up(path: Path) -> None:
    """Let go of it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
