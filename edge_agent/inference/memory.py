"""Memory that loading a model leaves behind goes back to the system: the allocator keeps it otherwise, for nothing."""

import ctypes
import gc
from contextlib import suppress


def release() -> None:
    """Give back what is free. Takes milliseconds: for a start or a swap, never between two parts."""
    gc.collect()
    # A C library without it (musl) gives back by itself.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
