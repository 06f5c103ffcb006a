"""The C library's memory: kept in one place, and given back where a load leaves it behind; it keeps it otherwise."""

import ctypes
import gc
from contextlib import suppress

FRAME_BYTES = 4 * 2**20
"""What is larger, as a frame of two megapixels is, comes from the system and goes back to it at once."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def settle() -> None:
    """Let all threads take from one heap, and frames from none. To be called before there is a second thread.

    The C library learns from the first frame to keep its like, and keeps some for each thread that ever made one.
    Threads hardly wait for each other here: between two parts little is allocated.
    """
    # Either of the thresholds, once it is set, stops the other from being learnt.
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, FRAME_BYTES), (_M_TRIM_THRESHOLD, FRAME_BYTES)):
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(option, value)


def release() -> None:
    """Give back what is free. Takes milliseconds: for a start or a swap, never between two parts."""
    gc.collect()
    # A C library without it (musl) gives back by itself.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
