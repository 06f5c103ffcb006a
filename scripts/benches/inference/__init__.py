"""What judging costs: the line against its bare model, the plan against the best, our endpoint against its peers.

Ratios are medians of interleaved slices in one run. The gateway is that of the goals: two demo models, 1080p, 20 parts
a second, two cores.
"""

from scripts.benches.down import release, swaps
from scripts.benches.ground import process, supplies
from scripts.benches.inference import arithmetic, guards, http, pipeline, pyramid, soak, tuning

FIGURES = {
    **pipeline.FIGURES,
    **tuning.FIGURES,
    **arithmetic.FIGURES,
    **http.FIGURES,
    **pyramid.FIGURES,
    **guards.FIGURES,
    "swap_lost": "triggers without a verdict over 1,000 swaps at 30 parts a second (0)",
    "swap_duplicated": "triggers with more than one (0)",
    "swap_gap_frames_p99": "p99 of how much longer than the line's own pace a swap takes, in parts (≤ 1)",
    "rss_mb_two_models": "resident MB of a gateway with both models, 1080p JPEG at 20 Hz: the median of 25 s (< 150)",
    "rss_mb_probation": "highest resident MB of that gateway while a third model is on probation (≤ 190)",
    "cold_start_s": "process start to the first verdict of both models, model cache warm (< 1.5)",
    "cpu_idle_pct": "per cent of one core of that gateway, connected, while nothing arrives (< 3)",
    "cpu_20hz_pct": "per cent of one core while 20 pictures and 10 windows arrive a second (stated)",
    **soak.FIGURES,
}
"""Key → what it says, with its goal."""

_OWN_TIME = "both sides wait for the model most of the time; where it takes none, see the keys with _small"
OBSTACLES = {
    **dict.fromkeys(("http_vs_mlserver_rps", "http_vs_mlserver_p99", "http_vs_litserve_rps"), _OWN_TIME),
    **dict.fromkeys(("http_vs_litserve_p99", "inproc_vs_mlserver_rps", "inproc_vs_litserve_rps"), _OWN_TIME),
    **dict.fromkeys(
        ("http_vs_mlserver_rps_small", "http_vs_mlserver_p99_small"),
        "a round through Python's sockets is most of what is left, on both sides",
    ),
}
"""Key → what stands in the way where its goal is missed."""

SWAPS = 1000


def measure() -> dict[str, float]:
    """All figures, in about half an hour.

    Raises:
        BenchError: a model or a peer cannot be made, or a gateway does not run.
    """
    supplies.build_missing()
    with supplies.workplace() as folder:
        found = {
            **pipeline.measure(folder / "line"),
            **pyramid.measure(),
            **guards.measure(),
            **arithmetic.measure(),
            **tuning.measure(),
            **process.measure(folder / "gateway"),
            **swaps.measure(folder / "swaps", SWAPS),
            **soak.measure(folder / "soak"),
            **http.measure(),
            **release.measure(folder / "site"),
        }
    return {key: found[key] for key in FIGURES}
