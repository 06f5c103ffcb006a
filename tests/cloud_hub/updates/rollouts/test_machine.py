"""Rollouts under everything at once: gateways that prove, refuse, return and vanish, operators that pause and abort."""

import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from cloud_hub.updates.rollouts import control
from cloud_hub.updates.rollouts.plan import (
    ENDED,
    Action,
    Assign,
    Gates,
    Key,
    Member,
    MemberState,
    Plan,
    Refused,
    Report,
    Rollout,
    RolloutState,
    Threshold,
)
from cloud_hub.updates.rollouts.tick import MAX_GATEWAYS, is_over, is_reached, is_success, tick
from cloud_hub.updates.rollouts.waves import Place, split
from edge_protocol.updates import Refusal, Step
from tests.cloud_hub.updates.rollouts.fleets import NEW, OLD

DEADLINE_S = 100
THRESHOLDS = st.builds(
    Threshold, count=st.sampled_from([None, 1, 3]), percent=st.sampled_from([None, 0.0, 25.0, 50.0, 100.0])
)


class Fleet:
    """Gateways as the hub hears of them."""

    def __init__(self, keys: list[Key]) -> None:
        self.totals = {key: {OLD.digest: {"OK": 500}, NEW.digest: {"OK": 3}} for key in keys}
        self.refused: dict[Key, Refused] = {}

    def judge(self, key: Key, digest: str, n: int) -> None:
        """Signed verdicts arrive."""
        counted = self.totals[key][digest]
        counted["OK"] = counted.get("OK", 0) + n

    def reports(self) -> dict[Key, Report]:
        """What is known now."""
        return {
            key: Report(
                running=OLD, totals={digest: dict(n) for digest, n in totals.items()}, refused=self.refused.get(key)
            )
            for key, totals in self.totals.items()
        }


class Rollouts(RuleBasedStateMachine):
    """One rollout over at most twelve gateways."""

    @initialize(
        groups=st.lists(st.sampled_from(["", "", "x", "y"]), min_size=1, max_size=12),
        waves=st.sampled_from([("100%",), ("1", "50%", "100%"), ("2", "2", "rest")]),
        action=st.sampled_from(list(Action)), failure=THRESHOLDS, unknown=THRESHOLDS,
        success=st.sampled_from([0.0, 50.0, 90.0, 100.0]),
    )  # fmt: skip
    def begin(
        self, groups: list[str], waves: tuple[str, ...], action: Action, *, failure: Threshold, unknown: Threshold,
        success: float,
    ) -> None:  # fmt: skip
        """A plan and a fleet."""
        places = [Place(f"g{i:02}", group) for i, group in enumerate(groups)]
        self.groups = {place.gateway: place.group for place in places}
        wave_of = split(waves, places)
        plan = Plan(
            target=NEW, waves=waves, deadline_s=DEADLINE_S, on_failure=action, failure=failure, unknown=unknown,
            success_percent=success, min_verdicts=10, gates=Gates(),
        )  # fmt: skip
        members = (Member(gateway=place.gateway, pipeline="seal", wave=wave_of[place.gateway]) for place in places)
        self.rollout = Rollout(id=1, plan=plan, members=tuple(members))
        self.fleet = Fleet([each.key for each in self.rollout.members])
        self.now_us = 1_000_000
        self.ended = False
        self.named: dict[Key, str] = {}

    @rule(seconds=st.sampled_from([0, 1, 30, DEADLINE_S]))
    def look(self, seconds: int) -> None:
        """Time goes by and the hub looks; what it does is checked against what it may do."""
        self.now_us += seconds * 1_000_000
        before = self.rollout
        for member in before.members:
            if member.state is MemberState.PENDING:  # what was said before an assignment is not of it
                self.fleet.refused.pop(member.key, None)
        self.rollout, commands = tick(before, self.fleet.reports(), self.now_us)
        assigns = [each for each in commands if isinstance(each, Assign)]
        self._check(before, assigns)
        again = tick(self.rollout, self.fleet.reports(), self.now_us)
        assert again == (self.rollout, ()), "the same look twice is one"
        self.ended = self.rollout.state in ENDED

    @rule(data=st.data(), n=st.sampled_from([1, 5, 50]))
    def prove(self, data: st.DataObject, n: int) -> None:
        """A gateway judges with whatever the director names for it."""
        key = self._choose(data)
        self.fleet.judge(key, self.named.get(key, OLD.digest), n)

    @rule(data=st.data(), refusal=st.sampled_from(["", *Refusal]), step=st.sampled_from([Step.REFUSED, Step.RETURNED]))
    def refuse(self, data: st.DataObject, refusal: str, step: Step) -> None:
        """A gateway refuses what the director names for it, or gives it back, or its last refusal is over."""
        key = self._choose(data)
        self.fleet.refused.pop(key, None)
        if refusal and self.named.get(key) == NEW.digest:
            self.fleet.refused[key] = Refused(step, refusal)

    @precondition(lambda self: self.rollout.state is RolloutState.RUNNING)
    @rule()
    def pause(self) -> None:
        """An operator pauses."""
        self.rollout = control.pause(self.rollout, "by hand", self.now_us)

    @precondition(lambda self: self.rollout.state is RolloutState.PAUSED)
    @rule()
    def resume(self) -> None:
        """An operator resumes; what had been refused may work this time."""
        self.fleet.refused.clear()
        self.rollout = control.resume(self.rollout, "by hand", self.now_us)

    @precondition(lambda self: self.rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED))
    @rule(revert=st.booleans())
    def abort(self, *, revert: bool) -> None:
        """An operator aborts."""
        self.rollout = control.abort(self.rollout, "by hand", self.now_us, revert=revert)

    @invariant()
    def states_are_sums(self) -> None:
        """Every member of a wave is in exactly one state, and nobody is lost."""
        if not hasattr(self, "rollout"):
            return
        waves = [self.rollout.in_wave(wave) for wave in range(self.rollout.waves)]
        excluded = sum(each.state is MemberState.EXCLUDED for each in self.rollout.members)
        assert sum(map(len, waves)) + excluded == len(self.groups)

    @invariant()
    def one_wave_at_a_time(self) -> None:
        """Those who prove themselves now are of one wave, and never two that stand in for each other."""
        if not hasattr(self, "rollout"):
            return
        proving = [each for each in self.rollout.members if each.state is MemberState.ASSIGNED]
        assert len({each.wave for each in proving}) <= 1
        groups = [self.groups[each.gateway] for each in proving if self.groups[each.gateway]]
        assert len(groups) == len(set(groups))

    @invariant()
    def finished_is_success(self) -> None:
        """A rollout finishes only with enough updated in every wave, and goes no further without it."""
        if hasattr(self, "rollout") and self.rollout.state is RolloutState.FINISHED and not self.ended:
            for wave in range(self.rollout.waves):
                assert is_success(self.rollout.plan, self.rollout.in_wave(wave))

    def _check(self, before: Rollout, assigns: list[Assign]) -> None:
        given = {each.gateway for each in assigns if each.targets["seal"] == NEW}
        back = {each.gateway: each.targets["seal"] for each in assigns if each.targets["seal"] != NEW}
        self.named |= {(each.gateway, "seal"): each.targets["seal"].digest for each in assigns if each.targets["seal"]}
        if before.state is not RolloutState.RUNNING:
            assert not given, "nothing is given while it does not run"
        if given:
            wave = self.rollout.wave
            assert given <= {each.gateway for each in self.rollout.in_wave(wave)}
            for earlier in range(wave):
                assert is_success(before.plan, self.rollout.in_wave(earlier)), (
                    "no wave begins before the last succeeded"
                )
            for started in range(wave + 1):
                members = self.rollout.in_wave(started)
                failed = sum(each.state is MemberState.FAILED for each in members)
                assert not is_reached(before.plan.failure, failed, len(members))
        if back:
            assert RolloutState.REVERTING in (before.state, self.rollout.state) or self.rollout.state in ENDED
            attempted = {each.gateway: each.previous for each in before.members if each.attempt}
            assert all(attempted[gateway] == target for gateway, target in back.items()), "what ran before comes back"
        for member in self.rollout.members:
            if member.state is MemberState.UPDATED:
                judged = self.fleet.totals[member.key][NEW.digest]["OK"] - member.baseline.get("OK", 0)
                assert judged >= before.plan.min_verdicts, "updated is what was measured"

    def _choose(self, data: st.DataObject) -> Key:
        return data.draw(st.sampled_from([each.key for each in self.rollout.members]))


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_a_fleet_of_a_thousand_comes_through() -> None:
    """
    Waves of 1, 1 %, 10 %, all of a thousand gateways of which every 50th is silent: each wave waits for the one before,
    at no time more are proving than the wave has, and every gateway has a verdict at the end.
    """
    places = [Place(f"g{i:04}", f"pair-{i // 2}" if i % 10 < 2 else "") for i in range(1000)]
    waves = ("1", "1%", "10%", "100%")
    wave_of = split(waves, places)
    plan = Plan(target=NEW, waves=waves, deadline_s=DEADLINE_S, min_verdicts=10, unknown=Threshold(percent=25.0))
    members = (Member(gateway=place.gateway, pipeline="seal", wave=wave_of[place.gateway]) for place in places)
    rollout, now_us, chance = Rollout(id=1, plan=plan, members=tuple(members)), 0, random.Random(3)  # noqa: S311
    fleet = Fleet([each.key for each in rollout.members])
    silent = {f"g{i:04}" for i in range(25, 1000, 50)}
    began: list[int] = []

    while rollout.state is RolloutState.RUNNING:
        now_us += 1_000_000
        rollout, commands = tick(rollout, fleet.reports(), now_us)
        given = [each for each in commands if isinstance(each, Assign)]
        assert len(given) <= MAX_GATEWAYS
        began += [rollout.wave] if given and rollout.wave not in began else []
        proving = [each for each in rollout.members if each.state is MemberState.ASSIGNED]
        assert {each.wave for each in proving} <= {rollout.wave}
        for each in proving:
            if each.gateway not in silent and chance.random() < 0.3:
                fleet.judge(each.key, NEW.digest, 6)

    assert rollout.state is RolloutState.FINISHED
    assert began == list(range(rollout.waves))
    assert sum(each.state is MemberState.UPDATED for each in rollout.members) == 1000 - len(silent)
    assert {each.gateway for each in rollout.members if each.state is MemberState.UNKNOWN} == silent
    assert not is_over(rollout)
    late: dict[Key, Any] = {each.key: replace(fleet.reports()[each.key], superseded=2) for each in rollout.members[:1]}
    assert tick(rollout, late, now_us)[1] == ()
