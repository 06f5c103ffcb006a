"""Carries out what an operator asks of a rollout: one transaction, with who and why in the audit chain."""

from collections.abc import Callable

from sqlalchemy import Connection

from cloud_hub.access.audit import Actor
from cloud_hub.errors import RolloutError
from cloud_hub.updates.rollouts import control, ledger
from cloud_hub.updates.rollouts.plan import Decision, Rollout

VERBS: dict[str, Callable[[Rollout, str, int], Rollout]] = {
    "pause": control.pause,
    "resume": control.resume,
    "abort": control.abort,
    "revert": lambda rollout, reason, now_us: control.abort(rollout, reason, now_us, revert=True),
}
"""What may be asked, by name. `revert` is an abort that has what ran before given back."""


def order(connection: Connection, number: int, verb: str, actor: Actor, now_us: int) -> Rollout:
    """Do as asked; the next look of the hub acts on it.

    Raises:
        RolloutError: there is no such rollout or verb, or it is in no state for it.
    """
    if verb not in VERBS:
        message = f"a rollout knows no {verb!r}"
        raise RolloutError(message, f"ask for {', '.join(VERBS)}")
    ledger.claim(connection, number, wait=True)
    before = ledger.load(connection, number)
    after = VERBS[verb](before, actor.reason, now_us)
    ledger.store(connection, before, after)
    text = f"{verb} asked for by {actor.name}" + (f": {actor.reason}" if actor.reason else "")
    ledger.decide(connection, after, [Decision(text=text, wave=after.wave)], actor, now_us)
    return after
