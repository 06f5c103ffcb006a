"""How much of a bare model the whole line keeps: parts a second of both, measured in turns in one process."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from edge_agent.inference.cache import Cache
from edge_agent.inference.model import Model
from edge_protocol.codes import Verdict
from scripts.benches import pairs
from scripts.benches.ground import supplies
from scripts.benches.ground.line import Line
from scripts.benches.ground.supplies import Picture, say

SLICE_S = 0.5


def measure(folder: Path) -> dict[str, float]:
    """The figures of the line."""
    manifest, variant = supplies.chosen_variant(supplies.SURFACE)
    say(f"{manifest.name} {manifest.version} runs here as {variant}")
    pictures = list(supplies.frames(folder))
    files = supplies.jpegs(pictures)
    return {
        "pipeline_vs_raw_1080p_frame": _kept(folder / "frame", pictures, "1080p frames"),
        "pipeline_vs_raw_1080p_jpeg": _kept(folder / "jpeg", files, "1080p JPEG"),
    }


def _kept(folder: Path, data: Sequence[Picture | bytes], what: str) -> float:
    bundle = supplies.BUNDLES / supplies.SURFACE
    line = Line(folder, bundle, data)
    try:
        model = Model.load(bundle, cache=Cache(folder / "data" / "cache", {}))
        line.parts_per_s(SLICE_S)
        rates: list[float] = []

        def ours() -> float:
            rates.append(line.parts_per_s(SLICE_S))
            return rates[-1]

        found = pairs.ratios(ours, lambda: _bare(model))
    finally:
        line.close()
    verdicts, rate = line.frames.verdicts, statistics.median(rates)
    ok = verdicts.count(Verdict.OK) / len(verdicts)
    say(f"from {what}: {pairs.told(found)} of the bare session, {rate:.0f} parts/s, {ok:.0%} of them OK")
    return pairs.median(found)


def _bare(model: Model) -> float:
    """Runs a second of the session alone, on a tensor that is there."""
    tensor = model.new_tensor()
    runs, start_s = 0, perf_counter()
    while (spent_s := perf_counter() - start_s) < SLICE_S:
        model.run(tensor)
        runs += 1
    return runs / spent_s
