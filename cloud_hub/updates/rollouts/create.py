"""A new rollout: what was asked for comes in, a rollout with its members in waves goes into the database, or every
reason why it cannot be made comes out at once.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from sqlalchemy import Connection

from cloud_hub.access.audit import Actor
from cloud_hub.errors import RolloutError
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.rollouts import ledger, selection, waves
from cloud_hub.updates.rollouts.plan import Action, Decision, Member, MemberState, Plan, Rollout, Target
from cloud_hub.updates.rollouts.selection import Candidate
from edge_protocol.agreement import is_below

HINT = "correct what stands there; nothing was changed"
PUBLISH = "publish it: cloud-hub publish DIR --key FILE"


def target(connection: Connection, name: str, version: str, tenant: str = "default") -> Target:
    """The release of this name and version.

    Raises:
        RolloutError: the catalogue does not have it.
    """
    release = catalogue.find(connection, name, version, tenant)
    if release is None:
        known = [each.version for each in catalogue.releases(connection) if each.name == name]
        message = f"{name} {version} is not in the catalogue"
        raise RolloutError(message, f"there is {name} {', '.join(known)}" if known else PUBLISH)
    return Target(release.name, release.version, release.digest)


def create(connection: Connection, objects: Objects, plan: Plan, actor: Actor, now_us: int) -> Rollout:
    """Make a rollout, in the transaction of `connection`; the next look begins it.

    The manifest's budget is the limit of the latency gate where the plan states none.

    Raises:
        RolloutError: with every reason: nobody is selected, the waves do not add up, nobody has signed the release, it
            is below its floor, no selected gateway can run it, or what runs there could not be given back.
    """
    release = catalogue.by_digest(connection, plan.target.digest)
    if release is None:
        message = f"{plan.target.bundle} {plan.target.version} is not in the catalogue"
        raise RolloutError(message, PUBLISH)
    manifest = catalogue.manifest(objects, release)
    if plan.gates.latency_ms is None:
        plan = replace(plan, gates=replace(plan.gates, latency_ms=manifest.budget.latency_ms))
    found = selection.candidates(connection, plan, manifest, actor.tenant)
    able = [each for each in found if not each.reason]
    wrong = [
        *_of_release(connection, release, actor.tenant),
        *waves.problems(plan.waves, len({each.place.gateway for each in able})),
        *(f"{name}: it is not enrolled" for name in selection.unknown_names(connection, plan.selection, actor.tenant)),
        *_of_selection(found, able),
        *(_of_reverting(connection, plan, able, actor.tenant)),
    ]
    if wrong:
        message = "\n  ".join((f"{release.name} {release.version} cannot be rolled out like this:", *wrong))
        raise RolloutError(message, HINT)
    rollout = Rollout(
        id=0, plan=plan, members=_members(plan, found, able, now_us), tenant=actor.tenant, created_us=now_us,
        changed_us=now_us, joined_us=now_us,
    )  # fmt: skip
    rollout = ledger.add(connection, rollout, actor)
    told = Decision(text=f"created: {len(able)} pipelines in {rollout.waves} waves", wave=0, detail=_detail(plan))
    ledger.decide(connection, rollout, [told], actor, now_us)
    return rollout


def _of_release(connection: Connection, release: Release, tenant: str) -> Iterator[str]:
    if not release.publisher:
        yield f"{release.name} {release.version} is not signed by a publisher whose key holds; {PUBLISH}"
    floor = catalogue.floors(connection, tenant).get(release.name, "")
    if is_below(release.version, floor):
        yield f"{release.name} {release.version} is below its publisher's floor {floor}"


def _of_selection(found: Sequence[Candidate], able: Sequence[Candidate]) -> Iterator[str]:
    if not found:
        yield "nothing is selected: no enrolled gateway fits, or none of its pipelines runs this bundle"
    elif not able:
        yield "no selected gateway can run it:"
        yield from (f"  {' '.join(filter(None, each.key))}: {each.reason}" for each in found)


def _of_reverting(connection: Connection, plan: Plan, able: Sequence[Candidate], tenant: str) -> Iterator[str]:
    """What could not be given back is said before, not when it is needed."""
    if plan.on_failure is not Action.REVERT:
        return
    floors = catalogue.floors(connection, tenant)
    for each in able:
        before = each.runs
        release = catalogue.by_digest(connection, before.digest) if before is not None else None
        what = f"{before.bundle} {before.version}" if before is not None else "nothing"
        if release is None or not release.publisher or is_below(release.version, floors.get(release.name, "")):
            where = f"{each.place.gateway} {each.pipeline}"
            yield f"{where} runs {what}, which could not be given back: it is not signed, or below its floor"


def _members(plan: Plan, found: Sequence[Candidate], able: Sequence[Candidate], now_us: int) -> tuple[Member, ...]:
    places = list(dict.fromkeys(each.place for each in able))
    wave_of = waves.split(plan.waves, places)
    return tuple(
        Member(
            gateway=each.key[0], pipeline=each.pipeline, wave=wave_of.get(each.place.gateway, 0), previous=each.runs,
            state=MemberState.EXCLUDED if each.reason else MemberState.PENDING, reason=each.reason, changed_us=now_us,
        )
        for each in found
    )  # fmt: skip


def _detail(plan: Plan) -> dict[str, str]:
    return {
        "waves": ",".join(plan.waves), "deadline_s": f"{plan.deadline_s:g}", "on_failure": plan.on_failure,
        "success": f"{plan.success_percent:g} %", "min_verdicts": str(plan.min_verdicts),
    }  # fmt: skip
