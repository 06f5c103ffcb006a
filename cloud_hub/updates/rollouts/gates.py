"""What signed verdicts say of a release on one pipeline: counts in, a ruling of each gate out. Pure.

Every gate is a share that must not lie above a limit. It may be asked at every tick: a false `fail` stays as rare as
`ALPHA` says however often one looks, and nothing but verdicts turns `insufficient` into `pass`.
"""

import math
from collections.abc import Iterator, Sequence

from cloud_hub.updates.rollouts.plan import Evidence, Gate, Member, Plan, Report, Ruling, Verdicts

ALPHA = 0.001
"""How likely a release whose share lies exactly at the limit ever fails a gate."""

LATE_SHARE = 0.01
"""p99 within the budget is: no more than this share of the verdicts took longer."""

SLOWER = 1.5
"""A release may always take so many times the p99 of the one before it on the same pipeline."""

LEAST_BEFORE = 100
"""Fewer latencies of before say nothing of a p99."""

MAX_LATENCIES = 2000
"""Latencies that are looked at, the newest first: enough for a p99, few enough to read at every tick."""

_STEPS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.9)
"""Alternatives that the evidence is weighed against: so far from the limit towards one."""


def judge(plan: Plan, member: Member, report: Report) -> Evidence:
    """What is measured of a member since its assignment."""
    verdicts = since(report.totals.get(plan.target.digest, {}), member.baseline)
    limit_ms = _latency_limit_ms(plan, report)
    return Evidence(
        verdicts=verdicts,
        p99_ms=p99_ms(report.latencies_us),
        p99_limit_ms=limit_ms,
        gates=tuple(_gates(plan, member, verdicts, report)),
        step=report.step,
    )


def p99_ms(latencies_us: Sequence[int]) -> float:
    """The latency that 99 of 100 keep; 0 of none."""
    return sorted(latencies_us)[math.ceil(len(latencies_us) * 0.99) - 1] / 1000 if latencies_us else 0.0


def overall(evidence: Evidence) -> Ruling:
    """The ruling of all gates together: one failure fails, and all must pass."""
    rulings = {gate.ruling for gate in evidence.gates}
    if Ruling.FAIL in rulings:
        return Ruling.FAIL
    return Ruling.PASS if rulings == {Ruling.PASS} else Ruling.INSUFFICIENT


def since(totals: Verdicts, baseline: Verdicts) -> dict[str, int]:
    """What was added to a count."""
    added = {name: n - baseline.get(name, 0) for name, n in totals.items()}
    return {name: n for name, n in sorted(added.items()) if n > 0}


def rule(hits: int, n: int, limit: float, least: int) -> Ruling:
    """Whether a share of `hits` among `n` lies above `limit`; below `least` of them it cannot pass."""
    if evidence_against(hits, n, limit) >= 1 / ALPHA:
        return Ruling.FAIL
    return Ruling.PASS if n >= least and hits <= limit * n else Ruling.INSUFFICIENT


def evidence_against(hits: int, n: int, limit: float) -> float:
    """An e-value against "the share is at most `limit`": a mean of likelihood ratios.

    It starts at one and is no more than one on average while that is true, so by Ville's inequality it ever reaches
    1 / α with probability α at most (Ramdas et al., Statistical Science 2023).
    """
    if hits == 0 or limit >= 1:
        return 0.0
    if limit <= 0:
        return math.inf
    shares = [limit + (1 - limit) * step for step in _STEPS]
    logs = [hits * math.log(q / limit) + (n - hits) * math.log((1 - q) / (1 - limit)) for q in shares]
    return math.exp(min(max(logs), 700.0)) / len(logs)


def _gates(plan: Plan, member: Member, verdicts: Verdicts, report: Report) -> Iterator[Gate]:
    n = sum(verdicts.values())
    enough = Ruling.PASS if n >= plan.min_verdicts else Ruling.INSUFFICIENT
    yield Gate(name="verdicts", ruling=enough, n=n, text=f"{n} of {plan.min_verdicts} verdicts")
    gates = plan.gates
    if gates.uninspected_percent is not None:
        limit, hits = gates.uninspected_percent / 100, verdicts.get("UNINSPECTED", 0)
        yield _share("uninspected", hits, n, limit, plan.min_verdicts)
    if gates.latency_ms is not None:
        yield _latency(plan, gates.latency_ms, report)
    if gates.ng_percent is not None or gates.ng_factor is not None:
        yield _ng(plan, member, verdicts)


def _latency(plan: Plan, budget_ms: float, report: Report) -> Gate:
    limit_ms, n = _latency_limit_ms(plan, report), len(report.latencies_us)
    late = sum(each > limit_ms * 1000 for each in report.latencies_us)
    ruling = rule(late, n, LATE_SHARE, min(plan.min_verdicts, MAX_LATENCIES))
    text = f"{late} of {n} took longer than {limit_ms:g} ms"
    if limit_ms > budget_ms:
        text += f": {SLOWER:g} times the p99 of before, for that is above the budget of {budget_ms:g} ms"
    return Gate(name="latency", ruling=ruling, n=n, hits=late, limit=LATE_SHARE, text=text)


def _latency_limit_ms(plan: Plan, report: Report) -> float:
    """The budget, or half as much again as the release of before took here: some gateways are always busy."""
    before_ms = p99_ms(report.before_us) if len(report.before_us) >= LEAST_BEFORE else 0.0
    budget_ms = plan.gates.latency_ms or 0.0
    return max(budget_ms, round(before_ms * SLOWER, 1))


def _ng(plan: Plan, member: Member, verdicts: Verdicts) -> Gate:
    limits = [] if plan.gates.ng_percent is None else [plan.gates.ng_percent / 100]
    if plan.gates.ng_factor is not None:
        judged = _inspected(member.before)
        if judged < plan.min_verdicts:
            text = f"{judged} verdicts of the release of before, {plan.min_verdicts} are needed to compare with"
            return Gate(name="ng", ruling=Ruling.INSUFFICIENT, text=text)
        # One more than was seen: none among a thousand does not mean that there never is one.
        limits.append(plan.gates.ng_factor * (member.before.get("NG", 0) + 1) / (judged + 1))
    return _share("ng", verdicts.get("NG", 0), _inspected(verdicts), min(limits), plan.min_verdicts)


def _share(name: str, hits: int, n: int, limit: float, least: int) -> Gate:
    ruling = rule(hits, n, limit, least)
    seen = f"{hits} of {n}" + (f" ({hits / n:.1%})" if n else "")
    return Gate(name=name, ruling=ruling, n=n, hits=hits, limit=limit, text=f"{seen}, limit {limit:.4g}")


def _inspected(verdicts: Verdicts) -> int:
    return sum(n for name, n in verdicts.items() if name != "UNINSPECTED")
