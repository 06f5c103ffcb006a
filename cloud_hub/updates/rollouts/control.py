"""What an operator may do to a rollout: pause, resume, abort. A rollout comes in, the changed one goes out. Pure."""

from msgspec.structs import replace

from cloud_hub.errors import RolloutError
from cloud_hub.updates.rollouts.plan import ENDED, Cause, MemberState, Rollout, RolloutState

_AGAIN = frozenset({MemberState.FAILED, MemberState.UNKNOWN})


def pause(rollout: Rollout, reason: str, now_us: int) -> Rollout:
    """Give the release to nobody else for now. Whoever has it goes on proving it.

    Raises:
        RolloutError: it does not run.
    """
    if rollout.state is not RolloutState.RUNNING:
        raise _refused(rollout, "pause", "only one that runs can be paused")
    return _turn(rollout, RolloutState.PAUSED, reason or "paused", now_us)


def resume(rollout: Rollout, reason: str, now_us: int) -> Rollout:
    """Go on. After a failure the failed waves are tried again, from the first of them; nothing later begins before.

    Raises:
        RolloutError: it is not paused.
    """
    if rollout.state is not RolloutState.PAUSED:
        raise _refused(rollout, "resume", "only a paused one can be resumed")
    if rollout.cause is Cause.FAILURE:
        again = [each for each in rollout.members if each.state in _AGAIN and each.wave <= rollout.wave]
        fresh = {each.key: replace(each, state=MemberState.PENDING, reason="", changed_us=now_us) for each in again}
        members = tuple(fresh.get(each.key, each) for each in rollout.members)
        wave = min((each.wave for each in again), default=rollout.wave)
        rollout = replace(rollout, members=members, wave=wave)
    return replace(rollout, state=RolloutState.RUNNING, cause=Cause.NONE, reason=reason, changed_us=now_us)


def abort(rollout: Rollout, reason: str, now_us: int, *, revert: bool = False) -> Rollout:
    """End it: nobody is given the release any more; with `revert` those who were get what they ran before.

    Raises:
        RolloutError: it is over already.
    """
    if rollout.state in ENDED and not (revert and rollout.state is RolloutState.STOPPED):
        raise _refused(rollout, "abort", "it is over already; roll out another version instead")
    if rollout.state is RolloutState.REVERTING:
        raise _refused(rollout, "abort", "it ends by itself when what ran before runs again")
    return _turn(rollout, RolloutState.REVERTING if revert else RolloutState.STOPPED, reason or "aborted", now_us)


def _turn(rollout: Rollout, state: RolloutState, reason: str, now_us: int) -> Rollout:
    return replace(rollout, state=state, cause=Cause.OPERATOR, reason=reason, changed_us=now_us)


def _refused(rollout: Rollout, verb: str, hint: str) -> RolloutError:
    return RolloutError(f"cannot {verb} rollout {rollout.id}: it is {rollout.state}", hint)
