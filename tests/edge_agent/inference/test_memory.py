import ctypes

import pytest

from edge_agent.inference import memory
from edge_agent.serving.metrics import rss_bytes

BLOCK_BYTES = 64 * 1024
BLOCKS = 400


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library gives back by itself")
def test_what_was_freed_goes_back_to_the_system() -> None:
    """Memory that is free and kept by the allocator, for something above it is still in use, leaves the process."""
    blocks = [bytes(BLOCK_BYTES) for _ in range(BLOCKS)]
    above = bytes(BLOCK_BYTES)
    del blocks
    kept = rss_bytes()

    memory.release()

    assert rss_bytes() < kept - BLOCKS * BLOCK_BYTES // 2
    assert len(above) == BLOCK_BYTES
