"""Drives rollouts: each look loads one, gathers what is known, ticks, stores and assigns, all in one transaction.

It keeps nothing: any replica takes the next look, and a look that was cut off has never been.
"""

from dataclasses import dataclass

from msgspec.structs import replace
from sqlalchemy import Connection

from cloud_hub.access.audit import Actor
from cloud_hub.errors import CatalogueError, HubError
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue, director
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.rollouts import joining, ledger
from cloud_hub.updates.rollouts.plan import Assign, Decision, Member, MemberState, Rollout, RolloutState, Target
from cloud_hub.updates.rollouts.reports import gather
from cloud_hub.updates.rollouts.tick import tick
from edge_protocol.envelope import PrivateKey

LATE_US = 30 * 24 * 3600 * 1_000_000
"""For so long after its end a rollout still takes note of members that were silent."""

NAME = "hub"


@dataclass(frozen=True, slots=True)
class _Turn:
    """A rollout before and after a look, and what is to be done."""

    before: Rollout
    after: Rollout
    assigns: tuple[Assign, ...]
    decisions: tuple[Decision, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether the look changed nothing."""
        return self.before == self.after and not self.assigns and not self.decisions


def step(database: Database, objects: Objects, signer: PrivateKey, now_us: int) -> int:
    """Look at every rollout once; answers with how many have changed.

    Raises:
        StorageError: the database does not answer; nothing of the look that it broke off is left.
    """
    with database.reading() as connection:
        numbers = ledger.live(connection, now_us - LATE_US)
        awake = [number for number in numbers if not _look(connection, objects, number, now_us).is_nothing]
    return sum(_turn(database, objects, signer, number, now_us) for number in awake)


def _turn(database: Database, objects: Objects, signer: PrivateKey, number: int, now_us: int) -> bool:
    with database.writing() as connection:
        # Looked at again: what the first look saw is older than this transaction.
        if not ledger.claim(connection, number):
            return False
        turn = _look(connection, objects, number, now_us)
        if turn.is_nothing:
            return False
        after, refusals = _direct(connection, signer, turn, now_us)
        ledger.store(connection, turn.before, after)
        actor = Actor(NAME, after.reason, after.tenant)
        ledger.decide(connection, after, (*turn.decisions, *refusals), actor, now_us)
    return True


def _look(connection: Connection, objects: Objects, number: int, now_us: int) -> _Turn:
    before = ledger.load(connection, number)
    joined, told = joining.join(connection, objects, before, now_us)
    after, commands = tick(joined, gather(connection, joined), now_us)
    assigns = tuple(each for each in commands if isinstance(each, Assign))
    decisions = (*told, *(each for each in commands if isinstance(each, Decision)))
    return _Turn(before, after, assigns, decisions)


def _direct(connection: Connection, signer: PrivateKey, turn: _Turn, now_us: int) -> tuple[Rollout, list[Decision]]:
    """Carry out the assignments; the members of one that is refused have failed, and the others go on."""
    rollout, refusals = turn.after, []
    for each in turn.assigns:
        actor = Actor(NAME, f"rollout {rollout.id}: {each.reason}", rollout.tenant)
        try:
            with connection.begin_nested():
                wanted = {name: _release(connection, target) for name, target in each.targets.items()}
                name = _offer(rollout, each)
                director.assign(connection, signer, each.gateway, wanted, rollout=name, actor=actor, now_us=now_us)
        except HubError as error:
            if error.retry:
                raise
            rollout, decision = _refused(rollout, each, str(error))
            refusals.append(decision)
    return rollout, refusals


def _offer(rollout: Rollout, assign: Assign) -> str:
    """What a gateway is told of who offers it the release: with another attempt it tries again what it has refused."""
    mine = [each for each in rollout.members if each.gateway == assign.gateway and each.pipeline in assign.targets]
    attempt = max((each.attempt for each in mine), default=1)
    return str(rollout.id) if attempt <= 1 else f"{rollout.id}.{attempt}"


def _release(connection: Connection, target: Target | None) -> Release | None:
    if target is None:
        return None
    release = catalogue.by_digest(connection, target.digest)
    if release is None:
        message = f"{target.bundle} {target.version} is not in the catalogue"
        raise CatalogueError(message, "publish it: cloud-hub publish DIR --key FILE")
    return release


def _refused(rollout: Rollout, assign: Assign, text: str) -> tuple[Rollout, Decision]:
    """Reverting, it keeps what it runs: another attempt would end the same way."""
    reverts = rollout.state is not RolloutState.RUNNING
    state = MemberState.EXCLUDED if reverts else MemberState.FAILED
    reason = f"the director cannot {'give back what ran before' if reverts else 'assign it'}: {text}"

    def changed(member: Member) -> Member:
        mine = member.gateway == assign.gateway and member.pipeline in assign.targets
        return replace(member, state=state, reason=reason) if mine else member

    rollout = replace(rollout, members=tuple(map(changed, rollout.members)))
    return rollout, Decision(text=f"{state}: {reason}", wave=rollout.wave, gateway=assign.gateway)
