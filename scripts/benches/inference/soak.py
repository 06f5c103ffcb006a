"""Whether a line that runs for days grows: eight hours of windows and fifty minutes of pictures, as fast as they go.

One process judges, counts and records, without a hub, so its buffer fills and is shed under its quota as it goes on.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from edge_agent.inference import memory
from edge_agent.serving.metrics import rss_bytes
from scripts.benches import pairs
from scripts.benches.ground import supplies
from scripts.benches.ground.line import Datum, Line
from scripts.benches.ground.supplies import say

FIGURES = {
    "rss_slope_kb_per_1000_parts": "growth of resident memory over 8 h of windows and of pictures, kB (0 within noise)",
}

HOURS = 8
WINDOW_HZ = 10
PICTURES = 60_000
FRAMES = 4
BLOCKS = 12
WARM = 0.5
"""Share of the parts that go before: caches fill, and the heap finds its size in single steps of up to 1 MB, the last
of them near 38,000 pictures of 90,000."""

SLICE_S = 1.0


def measure(folder: Path, windows: int = HOURS * 3600 * WINDOW_HZ, pictures: int = PICTURES) -> dict[str, float]:
    """Of both slopes the one that noise explains least; where it explains both, the larger.

    Raises:
        BenchError: the line stops.
    """
    # Each in a new process that begins as a gateway's does, so that what was measured before has left nothing behind.
    with ProcessPoolExecutor(1, get_context("spawn"), memory.settle, max_tasks_per_child=1) as processes:
        slopes = [
            processes.submit(_windows, folder / "windows", windows).result(),
            processes.submit(_pictures, folder / "pictures", pictures).result(),
        ]
    return {"rss_slope_kb_per_1000_parts": max(slopes, key=beyond_noise)}


def beyond_noise(slope: pairs.Estimate) -> tuple[float, float]:
    """How far from nothing the interval of a slope is, and how far the slope."""
    return max(slope.low, -slope.high, 0.0), abs(slope)


def _windows(folder: Path, parts: int) -> pairs.Estimate:
    return _slope(folder, supplies.ENGINE, supplies.windows(), "signal", parts)


def _pictures(folder: Path, parts: int) -> pairs.Estimate:
    frames = list(supplies.frames(folder.parent, FRAMES))
    return _slope(folder, supplies.SURFACE, frames, "image", parts)


def _slope(folder: Path, bundle: str, data: Sequence[Datum], channel: str, parts: int) -> pairs.Estimate:
    line = Line(folder, supplies.BUNDLES / bundle, data, channel)
    looks: list[tuple[int, float]] = []
    try:
        while line.frames.taken < parts:
            line.parts_per_s(SLICE_S)
            line.frames.verdicts.clear()
            looks.append((line.frames.taken, rss_bytes() / 1024))
    finally:
        line.close()
    warm = [look for look in looks if look[0] >= WARM * parts]
    # Long enough that what a leak adds shows in each, whole pages at a time; what happens once shows in one.
    ends = warm[:: max(1, len(warm) // BLOCKS)]
    found = [1000 * (b - a) / (m - n) for (n, a), (m, b) in pairwise(ends)]
    slope = pairs.median(found)
    first_mb, warm_mb, last_mb = (kilobytes / 1024 for _, kilobytes in (looks[0], warm[0], looks[-1]))
    say(
        f"{bundle}, {looks[-1][0]:,} parts: {slope:+.2f} kB per 1,000 parts ({slope.low:+.2f} to {slope.high:+.2f}, "
        f"{len(found)} blocks), {first_mb:.1f} MB at first, {warm_mb:.1f} warm, {last_mb:.1f} at the end"
    )
    return slope
