"""How much of a bare model the whole line keeps, what a part costs, and what of it is decoding."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time

from edge_agent.inference.lane import Lane
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_agent.settings import Guard as Limits
from edge_agent.sources.guard import Guard
from edge_protocol.codes import Reason, Verdict
from scripts.benches import pairs
from scripts.benches.failure import BenchError
from scripts.benches.ground import supplies
from scripts.benches.ground.line import Line
from scripts.benches.ground.supplies import Picture, say

FIGURES = {
    "pipeline_vs_raw": "the whole line from decoded 1080p frames ÷ the bare session of its model (≥ 0.90)",
    "pipeline_vs_raw_serial": "the same work in one thread, nothing recorded ÷ the bare session (stated)",
    "cpu_ms_per_part": "processor time of the whole line for a part, ms (stated)",
    "pipeline_vs_raw_jpeg": "the whole line from 1080p JPEG ÷ the bare session (stated)",
    "decode_share": "of the time its stages take from JPEG, the share that is decoding (stated)",
}

SLICES = 21
SLICE_S = 0.5
MIN_JUDGED = 0.99
WAITING = {"queue", "record"}
"""Stages in which a part waits for its turn, or for the commit of its batch."""


def measure(folder: Path) -> dict[str, float]:
    """The figures of one line, at work on a model with a guard, counters and records."""
    manifest, variant = supplies.chosen_variant(supplies.SURFACE)
    say(f"{manifest.name} {manifest.version} runs here as {variant}")
    model = Model.load(supplies.BUNDLES / supplies.SURFACE)
    pictures = list(supplies.frames(folder))
    with _line(folder / "frame", pictures) as line:
        parts: list[float] = []
        spent: list[float] = []

        def ours() -> float:
            before, taken = process_time(), line.frames.taken
            parts.append(line.parts_per_s(SLICE_S))
            spent.append(1000 * (process_time() - before) / (line.frames.taken - taken))
            return parts[-1]

        frame = _told("from 1080p frames", ours, model)
    say(f"{statistics.median(parts):.0f} parts/s, {statistics.median(spent):.1f} ms of processor time each")
    with _line(folder / "jpeg", supplies.jpegs(pictures)) as line:
        jpeg = _told("from 1080p JPEG", lambda: line.parts_per_s(SLICE_S), model)
        stages = {name: seconds for name, seconds in line.stage_s().items() if name not in WAITING}
    say("stages: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items()))
    return {
        "pipeline_vs_raw": frame,
        "pipeline_vs_raw_serial": _told("in one thread", _serial(model, pictures), model),
        "cpu_ms_per_part": statistics.median(spent),
        "pipeline_vs_raw_jpeg": jpeg,
        "decode_share": stages["decode"] / sum(stages.values()),
    }


@contextmanager
def _line(folder: Path, data: Sequence[Picture | bytes]) -> Iterator[Line]:
    line = Line(folder, supplies.BUNDLES / supplies.SURFACE, data)
    try:
        line.parts_per_s(SLICE_S)
        yield line
        judged = sum(verdict is not Verdict.UNINSPECTED for verdict in line.frames.verdicts)
        if judged < MIN_JUDGED * len(line.frames.verdicts):
            # A part that is refused costs nothing: then there is nothing to compare.
            message = f"the line judged {judged} of {len(line.frames.verdicts)} parts"
            raise BenchError(message, "see the reasons in its journal")
    finally:
        line.close()


def _told(what: str, ours: Callable[[], float], model: Model) -> float:
    found = pairs.ratios(ours, lambda: bare(model, SLICE_S), SLICES)
    say(f"{what}: {pairs.told(found)} of the bare session")
    return pairs.median(found)


def _serial(model: Model, pictures: Sequence[Picture]) -> Callable[[], float]:
    """Parts a second of guard, preprocessing, model and verdict, one after the other."""
    frames, tensor = cycle(pictures), model.new_tensor()
    lane = Lane(model, Guard(Limits(blur_share=0), "image", model.reference).check)

    def rate() -> float:
        parts, start_s = 0, perf_counter()
        while (spent_s := perf_counter() - start_s) < SLICE_S:
            sample = Sample({"image": Channel(next(frames), parts)})
            array = lane.decode(sample).array
            if array is not None and lane.look(sample, array).reason is Reason.NONE:
                model.verdict(model.predict(tensor, lane.fill(array, tensor).placement))
                parts += 1
        return parts / spent_s

    return rate


def bare(model: Model, seconds: float) -> float:
    """Runs a second of the session alone, on a tensor that is there."""
    tensor = model.new_tensor()
    runs, start_s = 0, perf_counter()
    while (spent_s := perf_counter() - start_s) < seconds:
        model.run(tensor)
        runs += 1
    return runs / spent_s
