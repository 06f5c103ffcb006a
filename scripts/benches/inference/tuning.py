"""How near the plan that `tune` chooses comes to the best there is: every plan of the grid is measured against it."""

import statistics
from collections.abc import Callable
from time import perf_counter

from edge_agent.inference.hardware import architecture, cpu_flags, cpu_quota
from edge_agent.inference.model import Model
from edge_agent.inference.trial import try_bundle
from edge_agent.inference.tuning import Plan, grid
from edge_agent.inference.variants import candidates
from scripts.benches import pairs
from scripts.benches.ground import supplies
from scripts.benches.ground.supplies import say

FIGURES = {"tuned_vs_best": "p50 by the plan that `tune` chooses ÷ p50 by the best of the whole grid (≤ 1.03)"}

TUNE_S = 30.0
FIRST_SLICES, LAST_SLICES = 9, 31
SLICE_S = 0.15


def measure() -> dict[str, float]:
    """The figure: p50 by the chosen plan ÷ p50 by the best of all, which is found first and then measured again."""
    folder = supplies.BUNDLES / supplies.SURFACE
    manifest, _ = supplies.chosen_variant(supplies.SURFACE)
    chosen = try_bundle(folder, seconds=TUNE_S).plan
    say(f"tune chooses {_told(chosen)}")
    own = _rate(chosen)
    names = [each.name for each in candidates(manifest, cpu_flags(), architecture())]
    others = [plan for plan in grid(names, cpu_quota()) if plan.choice != chosen.choice]
    shares = {}
    for plan in others:
        found = pairs.ratios(_rate(plan), own, FIRST_SLICES)
        shares[plan] = pairs.median(found)
        say(f"{_told(plan)}: {pairs.told(found)} of the chosen one's speed")
    if not others or max(shares.values()) <= 1.0:
        say("none of the others is faster")
        return {"tuned_vs_best": 1.0}
    # The best of many is the luckiest too: what counts is what it does when it is measured again.
    best = max(shares, key=lambda plan: shares[plan])
    found = pairs.ratios(_rate(best), own, LAST_SLICES)
    say(f"again, the best of them, {_told(best)}: {pairs.told(found)}")
    return {"tuned_vs_best": max(pairs.median(found), 1.0)}


def _rate(plan: Plan) -> Callable[[], float]:
    model = Model.load(supplies.BUNDLES / supplies.SURFACE, variant=plan.variant, plan=plan)
    tensor = model.new_tensor()

    def rate() -> float:
        end_s, times = perf_counter() + SLICE_S, []
        while (start_s := perf_counter()) < end_s:
            model.run(tensor)
            times.append(perf_counter() - start_s)
        return 1 / statistics.median(times)

    return rate


def _told(plan: Plan) -> str:
    return f"{plan.variant}, {plan.threads} threads, arena {'on' if plan.arena else 'off'}"
