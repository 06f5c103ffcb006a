import ctypes
import subprocess
import sys

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


FRAMES = """
import sys, threading
from edge_agent.inference import memory
from edge_agent.serving.metrics import rss_bytes

def frames():
    for megabytes in (5, 6, 7, 8):
        kept.append((bytes(range(256)) * 4096 * megabytes, object()))
        kept.pop()

kept = []
memory.settle()
before = rss_bytes()
for _ in range(4):
    thread = threading.Thread(target=frames)
    thread.start()
    thread.join()
print(rss_bytes() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library keeps nothing for threads")
def test_threads_that_made_frames_keep_none_of_them() -> None:
    """What is resident after threads have made and dropped frames is less than a frame more than before."""
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True)

    assert int(done.stdout) < memory.FRAME_BYTES
