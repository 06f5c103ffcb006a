"""What the ground costs: how fast the line and its records are, what a gateway takes of its machine and of the wire.

The gateway is that of the goals: two demo models, 1080p, 20 parts a second, two cores. Ratios are medians of
interleaved slices; processes are `edge-agent run` children in which nothing is replaced.
"""

from scripts.benches.ground import arithmetic, outbox, pipeline, process, supplies, wire

FIGURES = {
    "pipeline_vs_raw_1080p_frame": "the whole line from decoded 1080p frames ÷ the bare session of its model (≥ 0.75)",
    "pipeline_vs_raw_1080p_jpeg": "the same from 1080p JPEG bytes (stated: decoding is a thread's whole work)",
    "int8_speedup_lite0": "backbone: time in fp32 ÷ time all in integers as this processor gets them (≥ 1.8)",
    "rss_mb_two_models": "resident MB of a gateway with both models, 1080p JPEG at 20 Hz: the median of 25 s (< 150)",
    "cold_start_s": "process start to the first verdict of both models, model cache warm (< 1.5)",
    "cpu_idle_pct": "per cent of one core of that gateway, connected, while nothing arrives (< 3)",
    "outbox_vs_raw": "durable verdicts a second ÷ bare executemany, batches of 100, same sync (≥ 0.6)",
    "wire_bytes_per_verdict": "bytes of a signed batch of 100 recorded verdicts, parts included, ÷ 100 (≤ 12)",
}
"""Key → what it says, with its goal."""

OBSTACLES = {"int8_speedup_lite0": "without VNNI depthwise and first convolutions gain nothing from integers"}
"""Key → what stands in the way where its goal is missed."""


def measure() -> dict[str, float]:
    """All figures, in about three minutes.

    Raises:
        BenchError: a model cannot be built, or a gateway does not run.
    """
    supplies.build_missing()
    with supplies.workplace() as folder:
        found = {
            **pipeline.measure(folder / "line"),
            **arithmetic.measure(),
            **process.measure(folder / "gateway"),
            **outbox.measure(folder / "outbox"),
            **wire.measure(folder / "gateway"),
        }
    return {key: found[key] for key in FIGURES}
