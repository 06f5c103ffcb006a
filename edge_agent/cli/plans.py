"""The plans on a gateway's disk, as its agent finds them: by the quota of its last start, not by this shell's."""

from edge_agent.cli import place
from edge_agent.config import Config
from edge_agent.inference.cache import NOTED_QUOTA
from edge_agent.inference.engine import own_fingerprint
from edge_agent.inference.hardware import cpu_quota
from edge_agent.inference.tuning import MOST_THREADS, Plan

_PLANS = "SELECT digest, variant, threads, arena, p50_ms FROM plans WHERE fingerprint = :fingerprint"


def noted_quota(settings: Config) -> float | None:
    """How many processors the agent had when it last started; None where none has noted it."""
    return next((float(row["value"]) for row in place.known(settings, NOTED_QUOTA)), None)


def by_digest(settings: Config) -> dict[str, Plan]:
    """What each bundle runs by; where no agent has noted its quota, by a plan for this shell's."""
    rows = place.known(settings, _PLANS, {"fingerprint": own_fingerprint(noted_quota(settings))})
    return {
        row["digest"]: Plan(row["variant"], row["threads"], bool(row["arena"]), row["p50_ms"])
        for row in rows
        if 1 <= row["threads"] <= MOST_THREADS
    }


def outlook(settings: Config) -> tuple[str, str]:
    """Whether the agent will run by what is measured in this shell, and the cure where it will not."""
    noted, own = noted_quota(settings), cpu_quota()
    kept = "what is chosen is kept: the next start of the agent runs by it"
    if noted is None:
        return f"{kept}, where it has as many processors as this shell", ""
    if own_fingerprint(noted) == own_fingerprint():
        return kept, ""
    says = f"the agent runs with {noted:g} processors, this shell has {own:g}: it does not run by what is measured here"
    there = f"systemd-run --pty --same-dir --uid=$USER -p CPUQuota={noted * 100:g}% $(command -v edge-agent) tune"
    return says, f"sudo {there}; of an agent in a container, edge-agent tune in there"
