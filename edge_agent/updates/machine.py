"""The update of one pipeline as a table: (where it stands, what happened) → (where it stands then, what to do). Pure.

Before the activation nothing is kept but files: after a restart the director's word starts it anew and finds them.
From the activation on the row of the `Ledger` decides, and `begin` makes the state of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias

from edge_agent.updates.ledger import Problem
from edge_protocol.agreement import Wanted
from edge_protocol.updates import PASSING, Refusal, Step

BACK_OFF_US = (5_000_000, 30_000_000, 120_000_000, 600_000_000)
"""Pauses before a refusal that may be over by itself is tried again."""


class Phase(StrEnum):
    """What the machine waits for."""

    IDLE = "idle"
    """The director: it runs what it should, or what it should run is refused."""
    MANIFEST = "manifest"
    """The manifest, and what the check of it says."""
    FILES = "files"
    """The files that this gateway needs."""
    PROOF = "proof"
    """The self-test."""
    LOADING = "loading"
    """The new model, to be loaded beside the running one."""
    PROBATION = "probation"
    """The ruling on the model that judges."""
    RETURNING = "returning"
    """The model before, to be loaded."""
    WAITING = "waiting"
    """The end of a pause."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the running model is given back: to the one before it, remembered as bad where there is a problem."""

    problem: Problem | None = None
    detail: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Where the update of one pipeline stands. `running` and `previous` are digests; `step` is what was last said.

    `rollout` is the one that brought what runs.
    """

    phase: Phase = Phase.IDLE
    running: str = ""
    previous: str = ""
    rollout: str = ""
    wanted: Wanted | None = None
    refused: Mapping[str, Problem] = field(default_factory=dict)
    step: str = ""
    problem: Problem | None = None
    tries: int = 0
    due_us: int = 0
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Both repositories name this for the pipeline."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Withheld:
    """The director names something that is refused before any of its bytes are fetched."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Unnamed:
    """The director names nothing for the pipeline."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was waited for is there: manifest checked, files whole, self-test passed, model loaded."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What was waited for cannot be had."""

    problem: Problem
    now_us: int = 0


@dataclass(frozen=True, slots=True)
class Another:
    """The variant that was proved does not do; another one of the same release is to be fetched and proved."""

    detail: str


@dataclass(frozen=True, slots=True)
class Ruled:
    """Probation is over; a problem says that the model has not stood it."""

    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """Somebody at the gateway wants the model before this one, or the gateway itself: then there is no actor."""

    actor: str
    reason: str
    refusal: Refusal = Refusal.OPERATOR


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes."""

    now_us: int


class Command(StrEnum):
    """What is to be done at once. What takes time, the self-test and loading a model, is what a phase waits for."""

    FETCH_MANIFEST = "fetch-manifest"
    FETCH_FILES = "fetch-files"
    CANCEL = "cancel"
    """Whatever is being fetched, proved or loaded for this pipeline is of no use any more."""
    ACTIVATE = "activate"
    KEEP = "keep"
    RETURN = "return"
    REFUSE = "refuse"
    """Remember the digest as bad, and note it."""
    FORGIVE = "forgive"
    """Forget what else was remembered as bad."""
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Do:
    """A command with what belongs to it: of a note, what it says; of the others, which release they are about."""

    command: Command
    wanted: Wanted | None = None
    step: str = ""
    problem: Problem | None = None
    detail: str = ""
    actor: str = ""


Event: TypeAlias = Named | Withheld | Unnamed | Done | Another | Failed | Ruled | Ordered | Tick
Result: TypeAlias = tuple[State, tuple[Do, ...]]

_WORKING = (Phase.MANIFEST, Phase.FILES, Phase.PROOF, Phase.LOADING, Phase.WAITING)


def advance(state: State, event: Event) -> Result:
    """The next state and what is to be done for it. What means nothing in a phase changes nothing."""
    rule = TABLE.get((state.phase, type(event)))
    return rule(state, event) if rule is not None else (state, ())


def _start(state: State, wanted: Wanted) -> Result:
    """What was refused stays refused until somebody offers it anew: another rollout, or another attempt of one."""
    known = state.refused.get(wanted.digest)
    is_offered_anew = known is not None and known.rollout != wanted.rollout
    known = None if is_offered_anew else known
    fresh = replace(state, phase=Phase.IDLE, wanted=wanted, problem=known, tries=0, ending=None)
    forgive = Do(Command.FORGIVE, None if is_offered_anew else wanted)
    if wanted.digest == state.running:
        return _met(replace(fresh, wanted=None, problem=None, refused={}), state, Do(Command.FORGIVE, wanted))
    if known is not None:
        return replace(fresh, step=state.step or Step.REFUSED), ()
    note = Do(Command.NOTE, wanted, Step.WANTED)
    state = replace(fresh, phase=Phase.MANIFEST, step=Step.WANTED, refused={})
    return state, (*((forgive,) if fresh.refused else ()), note, Do(Command.FETCH_MANIFEST, wanted))


def _met(met: State, before: State, forgive: Do) -> Result:
    """What runs is what should run. Where it was not so, the history says that it is over."""
    forgives = (forgive,) if before.refused else ()
    if before.problem is None:
        return replace(met, step=before.step if before.wanted is None else ""), forgives
    note = Do(Command.NOTE, forgive.wanted, Step.KEPT, detail="what runs is what the hub names")
    return replace(met, step=Step.KEPT), (*forgives, note)


def _named(state: State, event: Named) -> Result:
    return _start(state, event.wanted)


def _renamed(state: State, event: Named) -> Result:
    """A release is on its way: the same one goes on, another one takes its place."""
    if state.wanted is not None and event.wanted.digest == state.wanted.digest:
        return replace(state, wanted=event.wanted), ()
    after, commands = _start(state, event.wanted)
    return after, (Do(Command.CANCEL), *commands)


def _named_in_probation(state: State, event: Named) -> Result:
    """Another name ends the probation: the model before is the one that is known to be good. The name comes again."""
    if event.wanted.digest == state.running:
        return state, ()
    if not state.previous:
        return _start(state, event.wanted)
    named = f"{event.wanted.bundle} {event.wanted.version}"
    return _give_back(state, Ending(detail=f"the director names {named}"))


def _withheld(state: State, event: Withheld) -> Result:
    cancel = (Do(Command.CANCEL),) if state.phase in _WORKING else ()
    step = Step.WANTED if event.problem.refusal in PASSING else Step.REFUSED
    after = replace(state, phase=Phase.IDLE, wanted=None, problem=event.problem, step=step)
    if after == state:
        return state, ()
    # What may be over with the next message, as a set that overtook the other one, is shown and not put on record.
    note = () if step is Step.WANTED else (Do(Command.NOTE, None, step, event.problem),)
    return after, (*cancel, *note)


def _unnamed(state: State, _event: Unnamed) -> Result:
    if state.phase is Phase.IDLE and state.wanted is None and state.problem is None:
        return state, ()
    cancel = (Do(Command.CANCEL),) if state.phase in _WORKING else ()
    return replace(state, phase=Phase.IDLE, wanted=None, problem=None, step=""), cancel


def _has_manifest(state: State, _event: Done) -> Result:
    return replace(state, phase=Phase.FILES), (Do(Command.FETCH_FILES, state.wanted),)


def _has_files(state: State, _event: Done) -> Result:
    after = replace(state, phase=Phase.PROOF, step=Step.STAGED, problem=None)
    return after, (Do(Command.NOTE, state.wanted, Step.STAGED),)


def _proved(state: State, _event: Done) -> Result:
    return replace(state, phase=Phase.LOADING), ()


def _another(state: State, event: Another) -> Result:
    note = Do(Command.NOTE, state.wanted, Step.WANTED, detail=event.detail)
    return replace(state, phase=Phase.FILES), (note, Do(Command.FETCH_FILES, state.wanted))


def _loaded(state: State, _event: Done) -> Result:
    wanted = state.wanted
    after = replace(
        state,
        phase=Phase.PROBATION,
        running=wanted.digest if wanted is not None else "",
        previous=state.running,
        rollout=wanted.rollout if wanted is not None else "",
        wanted=None,
        step=Step.PROBATION,
        problem=None,
        tries=0,
    )
    return after, (Do(Command.ACTIVATE, wanted, Step.PROBATION),)


def _failed(state: State, event: Failed) -> Result:
    problem = event.problem
    if problem.refusal in PASSING:
        pause_us = BACK_OFF_US[min(state.tries, len(BACK_OFF_US) - 1)]
        waiting = replace(
            state, phase=Phase.WAITING, tries=state.tries + 1, due_us=event.now_us + pause_us, problem=problem
        )
        # Said once, however often it is tried.
        is_new = state.problem is None or state.problem.refusal is not problem.refusal
        note = Do(Command.NOTE, state.wanted, Step.WANTED, problem)
        return replace(waiting, step=Step.WANTED), (*((note,) if is_new else ()), Do(Command.CANCEL))
    refused = dict(state.refused)
    if state.wanted is not None:
        refused[state.wanted.digest] = replace(problem, rollout=state.wanted.rollout)
    after = replace(state, phase=Phase.IDLE, step=Step.REFUSED, problem=problem, refused=refused)
    return after, (Do(Command.REFUSE, state.wanted, Step.REFUSED, problem), Do(Command.CANCEL))


def _waited(state: State, event: Tick) -> Result:
    if event.now_us < state.due_us:
        return state, ()
    return replace(state, phase=Phase.MANIFEST), (Do(Command.FETCH_MANIFEST, state.wanted),)


def _ruled(state: State, event: Ruled) -> Result:
    if event.problem is None:
        return replace(state, phase=Phase.IDLE, step=Step.KEPT, problem=None), (Do(Command.KEEP, None, Step.KEPT),)
    if state.previous:
        return _give_back(state, Ending(problem=event.problem))
    # Said once: the counts in its words go on rising.
    if state.problem is not None and state.problem.refusal is event.problem.refusal:
        return state, ()
    note = Do(Command.NOTE, None, Step.PROBATION, event.problem, "there is no model before it")
    return replace(state, problem=event.problem), (note,)


def _ordered(state: State, event: Ordered) -> Result:
    if not state.previous:
        return state, ()
    problem = Problem(event.refusal, event.reason)
    after, _ = _give_back(state, Ending(problem, actor=event.actor))
    return after, (Do(Command.CANCEL),) if state.phase in _WORKING else ()


def _give_back(state: State, ending: Ending) -> Result:
    after = replace(state, phase=Phase.RETURNING, wanted=None, ending=ending)
    return after, ()


def _returned(state: State, _event: Done) -> Result:
    ending = state.ending or Ending()
    refused = dict(state.refused)
    if ending.problem is not None:
        refused[state.running] = replace(ending.problem, rollout=state.rollout)
    after = replace(
        state,
        phase=Phase.IDLE,
        running=state.previous,
        previous="",
        rollout="",
        refused=refused,
        step=Step.RETURNED,
        problem=ending.problem,
        ending=None,
    )
    return after, (Do(Command.RETURN, None, Step.RETURNED, ending.problem, ending.detail, ending.actor),)


def _cannot_return(state: State, event: Failed) -> Result:
    """The model before does not load either: the one that runs is the only one there is."""
    ending = state.ending or Ending()
    after = replace(state, phase=Phase.PROBATION, previous="", problem=ending.problem, ending=None)
    return after, (Do(Command.NOTE, None, Step.PROBATION, ending.problem or event.problem, event.problem.detail),)


Rule: TypeAlias = Callable[[State, Any], Result]

TABLE: dict[tuple[Phase, type], Rule] = {
    (Phase.IDLE, Named): _named,
    (Phase.IDLE, Withheld): _withheld,
    (Phase.IDLE, Unnamed): _unnamed,
    (Phase.IDLE, Ordered): _ordered,
    **{(phase, Named): _renamed for phase in _WORKING},
    **{(phase, Withheld): _withheld for phase in _WORKING},
    **{(phase, Unnamed): _unnamed for phase in _WORKING},
    **{(phase, Failed): _failed for phase in _WORKING[:4]},
    **{(phase, Ordered): _ordered for phase in _WORKING},
    (Phase.MANIFEST, Done): _has_manifest,
    (Phase.FILES, Done): _has_files,
    (Phase.PROOF, Done): _proved,
    (Phase.PROOF, Another): _another,
    (Phase.LOADING, Done): _loaded,
    (Phase.WAITING, Tick): _waited,
    (Phase.PROBATION, Named): _named_in_probation,
    (Phase.PROBATION, Ruled): _ruled,
    (Phase.PROBATION, Ordered): _ordered,
    (Phase.RETURNING, Done): _returned,
    (Phase.RETURNING, Failed): _cannot_return,
}
