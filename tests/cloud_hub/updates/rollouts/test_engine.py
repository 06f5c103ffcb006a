"""Rollouts in the database: what gateways signed makes them go on, any replica carries them, nothing is done twice."""

from msgspec.structs import replace
from sqlalchemy import func, select

from cloud_hub.access import audit
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import audit as chain
from cloud_hub.storage.schema import rollout_decisions, trust_files
from cloud_hub.updates import repository
from cloud_hub.updates.repository import director_of
from cloud_hub.updates.rollouts import ledger, views
from cloud_hub.updates.rollouts.plan import Action, Member, RolloutState, Threshold
from cloud_hub.updates.signing import TARGETS
from edge_protocol.codes import Verdict
from edge_protocol.updates import Step
from tests.cloud_hub.updates.rollouts.works import V1, V2, V3, Works


def test_a_canary_proves_itself_then_the_rest_follows(works: Works) -> None:
    """
    One gateway is assigned; when its signed verdicts carry the digest the others are; when theirs do, it is finished.
    """
    fleet = [works.gateway(f"press-{i}") for i in range(1, 4)]
    works.create(works.plan(waves=("1", "100%")))

    works.look()
    first = [name for name in ("press-1", "press-2", "press-3") if works.assigned(name)]
    works.run(fleet[:1], V2)
    works.look()
    second = works.states()
    works.run(fleet[1:], V2)
    works.look()

    assert first == ["press-1"]
    assert second == {"press-1": "updated", "press-2": "assigned", "press-3": "assigned"}
    assert set(works.states().values()) == {"updated"}
    assert works.rollout().state is RolloutState.FINISHED
    assert works.assigned("press-3")["seal"].version == "1.1.0"
    assert works.assigned("press-3")["seal"].rollout == "1"


def test_reports_without_verdicts_prove_nothing(works: Works) -> None:
    """
    A gateway that says `kept`, and that it runs the release, and goes on judging with the old one is never updated.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.say(press, V2, Step.KEPT)
    press.pipelines["seal"] = V2
    works.floor.state(press)
    works.floor.judge(press, "seal", V1, [Verdict.OK] * 500)
    works.look(60)

    assert works.states() == {"press-1": "assigned"}
    assert works.rollout().members[0].evidence.n == 0
    assert works.rollout().members[0].evidence.step == "kept"


def test_a_gateway_that_runs_it_already_proves_it_anew(works: Works) -> None:
    """
    Verdicts from before the assignment are not evidence, whoever's digest they carry.
    """
    press = works.gateway("press-1", runs=V2)
    works.create(works.plan(waves=("100%",)))

    works.look()
    before = works.states()
    works.run([press], V2)
    works.look()

    assert before == {"press-1": "assigned"}
    assert works.states() == {"press-1": "updated"}


def test_a_refusal_stops_it_by_name(works: Works) -> None:
    """
    The canary's self-test fails: the rollout stops, says which gateway and why, and nobody else is ever assigned.
    """
    press = [works.gateway(f"press-{i}") for i in (1, 2)]
    works.create(works.plan(V3, on_failure=Action.STOP))
    works.look()

    works.say(press[0], V3, Step.REFUSED, "SelfTestFailed", "normalise differs by 0.7")
    works.look()
    works.look(10_000)

    found = works.rollout()
    assert found.state is RolloutState.STOPPED
    assert found.reason == "wave 1: 1 of 1 failed, limit 10 %; press-1 seal: SelfTestFailed"
    assert found.members[0].reason == "SelfTestFailed: normalise differs by 0.7"
    assert works.states() == {"press-1": "failed", "press-2": "pending"}
    assert works.assigned("press-2") == {}


def test_what_a_gateway_says_of_itself_later_is_enough_to_fail(works: Works) -> None:
    """
    Where the record of a refusal is not here, the signed state names it; one from before the assignment does not count.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()
    works.floor.refuse(press, "seal", V2, "Unstable")

    works.floor.state(press)
    works.look()
    soon = works.states()
    works.clock.advance(40)
    works.floor.state(press)
    works.look()

    assert soon == {"press-1": "assigned"}
    assert works.states() == {"press-1": "failed"}
    assert works.rollout().members[0].reason == "Unstable"


def test_what_may_be_over_by_itself_is_waited_for(works: Works) -> None:
    """
    A gateway without room says so and tries again: at the deadline that is its failure, by name.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.say(press, V2, Step.WANTED, "OutOfSpace", "3 MB are missing")
    works.look()
    soon = works.states()
    works.look(600)

    assert soon == {"press-1": "assigned"}
    assert works.states() == {"press-1": "failed"}
    assert works.rollout().members[0].reason == "OutOfSpace: 3 MB are missing"


def test_what_a_thief_sends_stops_no_rollout(works: Works) -> None:
    """
    A set that is refused as a whole names no release: it fails nobody, and is told as the last thing heard.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.say(press, None, Step.REFUSED, "NotTrusted", "models: a stranger's key")
    works.look()
    soon = works.states()
    works.look(600)

    assert soon == {"press-1": "assigned"}
    assert works.states() == {"press-1": "unknown"}
    assert "last heard: NotTrusted: models: a stranger's key" in works.rollout().members[0].reason


def test_slow_verdicts_fail_the_budget_of_the_manifest(works: Works) -> None:
    """
    The latency gate looks at the rows themselves, and its limit is what the signed manifest promises.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.floor.judge(press, "seal", V2, [Verdict.OK] * 100, over_us=1_000_000, latency_us=90_000)
    works.look()

    assert works.states() == {"press-1": "failed"}
    assert "gate latency: 100 of 100" in works.rollout().members[0].reason
    assert works.rollout().members[0].evidence.p99_ms == 90.0


def test_a_gateway_that_was_always_slow_is_held_to_what_it_was(works: Works) -> None:
    """
    Where the release of before broke the budget on this very pipeline, half as much again is the limit, and said so.
    """
    press = works.gateway("press-1")
    works.floor.judge(press, "seal", V1, [Verdict.OK] * 2000, over_us=1_000_000, latency_us=80_000)
    works.floor.state(press)
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.floor.judge(press, "seal", V2, [Verdict.OK] * 50, over_us=1_000_000, latency_us=110_000)
    works.look()

    member = works.rollout().members[0]
    assert (member.state, member.evidence.p99_limit_ms) == ("updated", 120.0)
    assert "0 of 50 took longer than 120 ms: 1.5 times the p99 of before" in member.evidence.gates[2].text


def test_silence_is_unknown_and_a_return_is_heard(works: Works) -> None:
    """
    A silent gateway is unknown at its deadline and pauses the rollout; back with verdicts it is updated after all.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.look(601)
    silent, paused = works.states(), works.rollout()
    works.run([press], V2)
    works.look()

    assert silent == {"press-1": "unknown"}
    assert paused.state is RolloutState.PAUSED
    assert works.states() == {"press-1": "updated"}


def test_pause_resume_and_abort_are_obeyed(works: Works) -> None:
    """
    Paused, nobody is assigned; resumed, the next wave is; aborted, nobody is any more and those who have it keep it.
    """
    fleet = [works.gateway(f"press-{i}") for i in (1, 2, 3)]
    works.create(works.plan(waves=("1", "1", "1")))
    works.look()
    works.run(fleet[:1], V2)

    works.order(1, "pause")
    works.look()
    paused = works.assigned("press-2")
    works.order(1, "resume")
    works.look()
    resumed = works.assigned("press-2")
    works.order(1, "abort")
    works.run(fleet[1:2], V2)
    works.look()

    assert (paused, [*resumed]) == ({}, ["seal"])
    assert works.states() == {"press-1": "updated", "press-2": "updated", "press-3": "pending"}
    assert works.assigned("press-1")["seal"].digest == V2.target.digest


def test_resume_after_a_failure_retries_the_failed_wave(works: Works) -> None:
    """
    The failed canary is assigned again with a new deadline, and the second wave waits.
    """
    fleet = [works.gateway(f"press-{i}") for i in (1, 2)]
    works.create(works.plan())
    works.look()
    works.say(fleet[0], V2, Step.REFUSED, "SelfTestFailed")
    works.look()

    works.order(1, "resume", "the lamp is new")
    works.look()
    again = works.rollout()
    works.run(fleet[:1], V2)
    works.look()

    assert (again.members[0].attempt, again.members[0].state, works.assigned("press-2") != {}) == (2, "assigned", True)
    # Another attempt has another name: a gateway that refused the release tries it once more.
    assert works.assigned("press-1")["seal"].rollout == "1.2"
    assert works.states() == {"press-1": "updated", "press-2": "assigned"}


def test_an_old_refusal_does_not_fail_the_next_attempt(works: Works) -> None:
    """
    What a gateway said of the attempt before counts no more, also where another member's time began earlier.
    """
    fleet = [works.gateway(f"press-{i}") for i in (1, 2)]
    works.create(works.plan(waves=("100%",)))
    works.look()
    works.run(fleet[1:], V2)
    works.say(fleet[0], V2, Step.REFUSED, "SelfTestFailed")
    works.look()

    works.order(1, "resume")
    works.look()
    works.look()

    assert works.states() == {"press-1": "assigned", "press-2": "updated"}


def test_a_look_that_changes_nothing_writes_nothing(works: Works) -> None:
    """
    Without news the second look stores, decides and signs nothing.
    """
    works.gateway("press-1")
    works.create(works.plan())
    works.look()
    before = counted(works.database)

    assert works.look() == 0

    assert counted(works.database) == before


def test_any_replica_goes_on(works: Works) -> None:
    """
    Whatever process looks next sees all there is: a rollout read back is the one that was stored.
    """
    press = works.gateway("press-1")
    works.create(works.plan())
    works.look()
    works.run([press], V2)
    works.look()

    first, second = works.rollout(), works.rollout()

    assert first == second
    assert first.members[0].before == {"NG": 2, "OK": 198}
    assert first.members[0].previous == V1.target


def test_everything_decided_is_in_the_chain(works: Works) -> None:
    """
    Each decision is a row beside the rollout and an entry of the audit chain, which is whole.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()
    works.run([press], V2)
    works.look()

    with works.database.reading() as connection:
        told = [each.text for each in views.view(connection, 1).decisions]
        entries = select(func.count()).select_from(chain).where(chain.c.action == "rollout")
        assert connection.execute(entries).scalar_one() == len(told)
        assert audit.broken_at(connection) is None
    assert told == [
        "finished: 1 of 1 updated",
        "updated: 30 signed verdicts carry it, every gate passes",
        "assigned surface-anomaly 1.1.0",
        "created: 1 pipelines in 1 waves",
    ]


def test_a_gateway_that_cannot_be_assigned_fails_alone(works: Works) -> None:
    """
    The director's refusal of one gateway is that member's failure; the look goes on with the others.
    """
    for name in ("press-1", "press-2"):
        works.gateway(name)
    rollout = works.create(works.plan(waves=("100%",), failure=Threshold(percent=100.0)))
    ghost = Member(gateway="ghost", pipeline="seal", wave=0)
    with works.database.writing() as connection:
        ledger.store(connection, rollout, replace(rollout, members=(*rollout.members, ghost)))

    works.look()

    assert works.states() == {"ghost": "failed", "press-1": "assigned", "press-2": "assigned"}
    assert "ghost is not enrolled" in next(each.reason for each in works.rollout().members if each.gateway == "ghost")


def test_what_a_refused_assignment_had_begun_is_undone(works: Works) -> None:
    """
    Metadata signed on the way to a director's refusal is not there afterwards; the member's failure is.
    """
    works.gateway("press-1")
    works.create(works.plan(V2))
    works.publish(V3, floor=V3.version)

    works.look()

    assert works.states() == {"press-1": "failed"}
    assert "below its publisher's floor" in works.rollout().members[0].reason
    with works.database.reading() as connection:
        assert repository.version_of(connection, director_of("press-1"), TARGETS) == 0


def counted(database: Database) -> list[int]:
    """How many rows there are of what a look writes."""
    with database.reading() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (rollout_decisions, chain, trust_files)
        ]
