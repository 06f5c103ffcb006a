import itertools
from dataclasses import replace

import pytest
from msgspec import structs

from edge_agent.updates.ledger import Problem
from edge_agent.updates.machine import (
    BACK_OFF_US,
    TABLE,
    Another,
    Command,
    Done,
    Ending,
    Event,
    Failed,
    Named,
    Ordered,
    Phase,
    Ruled,
    State,
    Tick,
    Unnamed,
    Withheld,
    advance,
)
from edge_protocol.agreement import Wanted
from edge_protocol.updates import Refusal, Step


def wanted(version: str) -> Wanted:
    """A release; its digest tells its version."""
    return Wanted("seal", "surface", version, f"digest-{version}", 1000)


OLD, NEW, NEXT = wanted("1.0.0"), wanted("1.1.0"), wanted("1.2.0")
AGAIN = structs.replace(NEW, rollout="7.2")
BAD = Problem(Refusal.SELF_TEST_FAILED, "normalise of hole.png")
SHAKY = Problem(Refusal.UNSTABLE, "p99 900 ms")
FULL = Problem(Refusal.OUT_OF_SPACE, "3 MB are missing")
LATE = Problem(Refusal.STALE, "the director knows a later snapshot")
FLOOR = Problem(Refusal.BELOW_FLOOR, "surface 0.9.0 is below the floor 1.0.0")

IDLE = State(running=OLD.digest)
WORKING = replace(IDLE, wanted=NEW, step=Step.WANTED)
MANIFEST = replace(WORKING, phase=Phase.MANIFEST)
FILES = replace(WORKING, phase=Phase.FILES)
PROOF = replace(WORKING, phase=Phase.PROOF, step=Step.STAGED)
LOADING = replace(PROOF, phase=Phase.LOADING)
WAITING = replace(WORKING, phase=Phase.WAITING, tries=1, due_us=BACK_OFF_US[0], problem=FULL)
PROBATION = State(Phase.PROBATION, running=NEW.digest, previous=OLD.digest, step=Step.PROBATION)
ALONE = replace(PROBATION, previous="")
RETURNING = replace(PROBATION, phase=Phase.RETURNING, ending=Ending(SHAKY))
KEPT = replace(PROBATION, phase=Phase.IDLE, step=Step.KEPT)
REFUSED = replace(IDLE, wanted=NEW, refused={NEW.digest: BAD}, problem=BAD, step=Step.REFUSED)

ROWS: list[tuple[str, State, Event, Phase, list[str]]] = [
    ("a new name starts", IDLE, Named(NEW), Phase.MANIFEST, ["note wanted", "fetch-manifest"]),
    ("what runs is named", IDLE, Named(OLD), Phase.IDLE, []),
    ("another variant is tried", PROOF, Another("int8 fails"), Phase.FILES, ["note wanted", "fetch-files"]),
    ("what was refused is named", replace(IDLE, refused={NEW.digest: BAD}), Named(NEW), Phase.IDLE, []),
    ("another attempt is made", REFUSED, Named(AGAIN), Phase.MANIFEST, ["forgive", "note wanted", "fetch-manifest"]),
    ("another name forgives", REFUSED, Named(NEXT), Phase.MANIFEST, ["forgive", "note wanted", "fetch-manifest"]),
    ("the running one forgives too", REFUSED, Named(OLD), Phase.IDLE, ["forgive", "note kept"]),
    ("nothing is agreed", IDLE, Withheld(FLOOR), Phase.IDLE, ["note refused BelowFloor"]),
    ("one set overtook the other", IDLE, Withheld(LATE), Phase.IDLE, []),
    ("nothing is agreed any more", FILES, Withheld(FLOOR), Phase.IDLE, ["cancel", "note refused BelowFloor"]),
    ("nothing is named any more", PROOF, Unnamed(), Phase.IDLE, ["cancel"]),
    ("the manifest is there", MANIFEST, Done(), Phase.FILES, ["fetch-files"]),
    ("the files are there", FILES, Done(), Phase.PROOF, ["note staged"]),
    ("the self-test passed", PROOF, Done(), Phase.LOADING, []),
    ("the model is loaded", LOADING, Done(), Phase.PROBATION, ["activate probation"]),
    ("the manifest is wrong", MANIFEST, Failed(BAD), Phase.IDLE, ["refuse refused SelfTestFailed", "cancel"]),
    ("the files are wrong", FILES, Failed(BAD), Phase.IDLE, ["refuse refused SelfTestFailed", "cancel"]),
    ("the self-test failed", PROOF, Failed(BAD), Phase.IDLE, ["refuse refused SelfTestFailed", "cancel"]),
    ("it does not load", LOADING, Failed(BAD), Phase.IDLE, ["refuse refused SelfTestFailed", "cancel"]),
    ("no room", FILES, Failed(FULL), Phase.WAITING, ["note wanted OutOfSpace", "cancel"]),
    ("no room again", replace(FILES, problem=FULL, tries=1), Failed(FULL), Phase.WAITING, ["cancel"]),
    ("not yet", WAITING, Tick(BACK_OFF_US[0] - 1), Phase.WAITING, []),
    ("once more", WAITING, Tick(BACK_OFF_US[0]), Phase.MANIFEST, ["fetch-manifest"]),
    ("another name while waiting", WAITING, Named(NEXT), Phase.MANIFEST, ["cancel", "note wanted", "fetch-manifest"]),
    ("the same name while fetching", FILES, Named(NEW), Phase.FILES, []),
    ("a newer name while fetching", FILES, Named(NEXT), Phase.MANIFEST, ["cancel", "note wanted", "fetch-manifest"]),
    ("the running one while proving", PROOF, Named(OLD), Phase.IDLE, ["cancel"]),
    ("it has stood it", PROBATION, Ruled(), Phase.IDLE, ["keep kept"]),
    ("it has not stood it", PROBATION, Ruled(SHAKY), Phase.RETURNING, []),
    ("it has not, and is alone", ALONE, Ruled(SHAKY), Phase.PROBATION, ["note probation Unstable"]),
    ("it has not, and that is said", replace(ALONE, problem=SHAKY), Ruled(SHAKY), Phase.PROBATION, []),
    ("the same name on probation", PROBATION, Named(NEW), Phase.PROBATION, []),
    ("the one before on probation", PROBATION, Named(OLD), Phase.RETURNING, []),
    ("a newer name on probation", PROBATION, Named(NEXT), Phase.RETURNING, []),
    ("a newer name, nothing before", ALONE, Named(NEXT), Phase.MANIFEST, ["note wanted", "fetch-manifest"]),
    ("nothing is named on probation", PROBATION, Unnamed(), Phase.PROBATION, []),
    ("the one before is loaded", RETURNING, Done(), Phase.IDLE, ["return returned Unstable"]),
    ("the one before does not load", RETURNING, Failed(SHAKY), Phase.PROBATION, ["note probation Unstable"]),
    ("an order on probation", PROBATION, Ordered("eve", "bad"), Phase.RETURNING, []),
    ("an order later", KEPT, Ordered("eve", "bad"), Phase.RETURNING, []),
    ("an order while fetching", replace(FILES, previous="p"), Ordered("eve", "bad"), Phase.RETURNING, ["cancel"]),
    ("an order, nothing before", IDLE, Ordered("eve", "bad"), Phase.IDLE, []),
]


def said(state: State, event: Event) -> tuple[State, list[str]]:
    """The next state, and the commands as words."""
    after, commands = advance(state, event)
    words = [(do.command, do.step, do.problem.refusal if do.problem is not None else "") for do in commands]
    return after, [" ".join(filter(None, each)) for each in words]


@pytest.mark.parametrize(("state", "event", "phase", "commands"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_each_event_leads_where_the_table_says(state: State, event: Event, phase: Phase, commands: list[str]) -> None:
    """(Where it stands, what happened) → (where it stands then, what to do)."""
    after, found = said(state, event)

    assert (after.phase, found) == (phase, commands)


def test_each_rule_has_its_row() -> None:
    """No entry of the table is without a case here, but for those that hold for every phase before the activation."""
    shown = {(state.phase, type(event)) for _, state, event, _, _ in ROWS}
    common = {(phase, kind) for phase in Phase for kind in (Named, Withheld, Unnamed, Ordered)}

    assert [rule for rule in TABLE if rule not in shown | common] == []


EVENTS: tuple[Event, ...] = (
    Named(OLD), Named(NEW), Named(NEXT), Withheld(FLOOR), Withheld(FULL), Unnamed(), Done(), Failed(BAD),
    Failed(FULL), Ruled(), Ruled(SHAKY), Ordered("eve", "bad"), Tick(10**12),
)  # fmt: skip


def test_whatever_happens_nothing_judges_that_was_not_loaded_and_proved() -> None:
    """
    Over every order of six events from the start: `running` changes only by `activate` from loading and by `return`,
    a refused digest is never started again while it is named, and what was running before can be returned to.
    """
    states = {IDLE.phase: [IDLE]}
    seen = {repr(IDLE)}
    for _ in range(6):
        found = [
            (state, event, *advance(state, event)) for each in states.values() for state in each for event in EVENTS
        ]
        states = {}
        for before, event, after, commands in found:
            done = [do.command for do in commands]
            if after.running != before.running:
                assert done in ([Command.ACTIVATE], [Command.RETURN])
                assert (before.phase, type(event)) in ((Phase.LOADING, Done), (Phase.RETURNING, Done))
                assert after.running == (before.previous if Command.RETURN in done else before.wanted.digest)  # type: ignore[union-attr]
            if isinstance(event, Named) and event.wanted.digest in before.refused:
                assert Command.FETCH_MANIFEST not in done
            if Command.ACTIVATE in done:
                assert after.previous == before.running
            if repr(after) not in seen:
                seen.add(repr(after))
                states.setdefault(after.phase, []).append(after)
    assert len(seen) > 50


def test_a_return_remembers_only_what_was_bad() -> None:
    """Given back because it was unstable: refused. Given back because the director names another: not."""
    unstable, _ = advance(RETURNING, Done())
    preempted, _ = advance(replace(RETURNING, ending=Ending(detail="the director names surface 1.2.0")), Done())

    assert unstable.refused == {NEW.digest: SHAKY}
    assert (unstable.running, unstable.previous, unstable.problem) == (OLD.digest, "", SHAKY)
    assert preempted.refused == {}


def test_a_refusal_is_of_the_rollout_that_offered_it() -> None:
    """Refused or given back: while the same rollout names it, it is not tried again; by another attempt it is."""
    offered = structs.replace(NEW, rollout="7")
    refused, _ = advance(replace(LOADING, wanted=offered), Failed(BAD))
    judging, _ = advance(replace(LOADING, wanted=offered), Done())
    returned, _ = advance(*(advance(judging, Ruled(SHAKY))[0], Done()))

    for state in (refused, returned):
        assert advance(state, Named(offered))[0].phase is Phase.IDLE
        assert advance(state, Named(AGAIN))[0].phase is Phase.MANIFEST


def test_pauses_grow_up_to_a_limit() -> None:
    """What may be over by itself is tried again after longer and longer pauses, never given up."""
    state, now_us, pauses = FILES, 0, []
    for _ in range(6):
        state, _ = advance(replace(state, phase=Phase.FILES), Failed(FULL, now_us))
        pauses.append(state.due_us - now_us)
        now_us = state.due_us

    assert pauses == [*BACK_OFF_US, BACK_OFF_US[-1], BACK_OFF_US[-1]]


def test_saying_the_same_twice_changes_nothing() -> None:
    """Each word of the director, said again: no command, the same state."""
    for state, event in itertools.product((IDLE, REFUSED, FILES, PROBATION), EVENTS[:6]):
        once, _ = advance(state, event)
        if once.phase is Phase.RETURNING:
            continue

        again, commands = advance(once, event)

        assert (again, commands) == (once, ()), (state.phase, event)
