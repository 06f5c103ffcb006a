"""What the way down costs: a swap on a running line, a release from its publisher's hand to its first verdict.

The swap uses the agent's own pipeline and its own loader; the release goes through a real hub and broker to
`edge-agent run`, with both demo models, 1080p and 20 parts a second.
"""

from scripts.benches.down import release, swaps
from scripts.benches.ground import supplies

FIGURES = {
    "swap_lost": "triggers without a verdict over 200 swaps at 30 parts a second (0)",
    "swap_duplicated": "triggers with more than one (0)",
    "swap_gap_ms_p50": "median of how much longer than the line's own pace it is from the last verdict of the old model"
    " to the first of the new one, ms",
    "publish_to_first_verdict_s": "`cloud-hub publish` is typed, a rollout made, the first part judged by the release",
    "bytes_threshold_release_share": "all that came down the wire for a new threshold ÷ the files this gateway needs of"
    " surface-anomaly (≤ 0.01)",
    "self_test_s": "median self-test of surface-anomaly in its child, nothing cached, process start included",
    "rss_mb_probation": "highest resident MB of a gateway with both models, 1080p JPEG at 20 Hz, while a third is on"
    " probation (≤ 190)",
}
"""Key → what it says, with its goal."""


def measure() -> dict[str, float]:
    """All figures, in about six minutes.

    Raises:
        BenchError: a model cannot be built, or a hub or gateway does not run.
    """
    supplies.build_missing()
    with supplies.workplace() as folder:
        found = {**release.measure(folder / "site"), **swaps.measure(folder / "line")}
    return {key: found[key] for key in FIGURES}
