"""One process at a time: a lock file comes in by path, a descriptor that holds it goes out until it is closed."""

import fcntl
import os
from pathlib import Path

from edge_agent.errors import StoreError


def take_lock(path: Path) -> int:
    """The open lock file, with our process id in it. The kernel gives the lock back when the process ends, however.

    Raises:
        StoreError: another process has it.
        OSError: the file cannot be made.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(file)
        message = f"another agent, process {holder}, works in {path.parent}"
        raise StoreError(message, "stop it first, or give this one a data_dir of its own") from error
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode(), 0)
    return file
