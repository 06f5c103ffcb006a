"""How the day tells of a rollout."""

import pytest

from scripts.day.rollouts import members, updates


def view(*states: tuple[str, str, str]) -> dict:
    """A rollout with one gateway a wave, as the hub's API gives it."""
    waves = [
        {"members": [{"gateway": f"press-{n}", "state": state, "reason": reason, "evidence": {"step": step}}]}
        for n, (state, step, reason) in enumerate(states, 1)
    ]
    return {"line": {"bundle": "surface", "version": "1.2.0", "reason": "press-1 failed"}, "waves": waves}


@pytest.mark.parametrize(
    ("state", "step", "outcome"),
    [
        ("updated", "kept", "updated"),
        ("failed", "refused", "refused"),
        ("failed", "returned", "rolled_back"),
        ("reverted", "returned", "rolled_back"),
        ("pending", "", "waiting"),
        ("assigned", "wanted", "waiting"),
        ("unknown", "", "waiting"),
    ],
)
def test_a_members_state_has_one_outcome(state: str, step: str, outcome: str) -> None:
    """The summary knows four words: updated, refused, rolled back, waiting."""
    (update,) = updates(view((state, step, "why")))

    assert (update.outcome, update.reason) == (outcome, "why")


def test_who_was_never_asked_waits_for_the_rollouts_own_reason() -> None:
    """A gateway of a later wave has no reason of its own: the rollout's is the one."""
    found = view(("failed", "refused", "SelfTestFailed"), ("pending", "", ""))

    assert [each["gateway"] for each in members(found)] == ["press-1", "press-2"]
    assert [each.reason for each in updates(found)] == ["SelfTestFailed", "press-1 failed"]
