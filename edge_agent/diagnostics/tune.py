"""A gateway's bundles come in, the plan that each runs by from its next start goes into the database.

Loads and times models; never touches the one that judges, and is told to wait when an agent runs: it would disturb it.
"""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.inference.cache import Cache
from edge_agent.inference.engine import open_cache
from edge_agent.inference.trial import Trial, try_bundle
from edge_agent.store import Store
from edge_protocol import bundle


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate in words: what it takes against the plan that stood when it was tried."""

    bundle: str
    variant: str
    threads: int
    arena: bool
    against_best: str
    note: str


def tune(folder: Path, *, variant: str, seconds: float, cache_folder: Path, store: Store | None) -> Trial:
    """Measure the plans for the bundle in `folder`; the best is kept where there is a database.

    Raises:
        InferenceError: nothing of it runs here.
    """
    cache = open_cache(cache_folder, store) if store is not None else Cache(cache_folder, {})
    found = try_bundle(folder, variant=variant, cache=cache if store is not None else None, seconds=seconds)
    if store is not None:
        _, digest = bundle.read(folder)
        cache.plans[digest] = found.plan
    return found


def rows(name: str, found: Trial) -> list[Row]:
    """What was tried, the chosen plan marked."""
    listed: list[Row] = []
    for each in found.tried:
        is_chosen = each.plan.choice == found.plan.choice
        times = f"{each.share:.3f} ({each.low:.3f} to {each.high:.3f})" if not each.note else ""
        is_told = each.plan.variant in {row.variant for row in listed}
        audit = None if is_told else found.audits.get(each.plan.variant)
        remarks = (
            f"chosen, {found.plan.p50_ms:.3g} ms" if is_chosen else "",
            each.note,
            audit.warning if audit else "",
        )
        listed.append(
            Row(name, each.plan.variant, each.plan.threads, each.plan.arena, times, "; ".join(filter(None, remarks)))
        )
    return listed
