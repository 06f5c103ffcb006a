"""The update of one pipeline as it is done: the machine says what, this does it, and tells the machine what came of it.

The order is the law: the row is committed, then the model changes between two samples. On any doubt the old one stays.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent import settings
from edge_agent.clock import Clock
from edge_agent.inference import memory
from edge_agent.inference.lane import Guard
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.updates import machine
from edge_agent.updates.ledger import Ledger, Phase, Problem, Slot
from edge_agent.updates.loading import Loading
from edge_agent.updates.machine import Another, Command, Do, Done, Event, Failed, Named, Ruled, State, Tick
from edge_agent.updates.probation import Probation, Terms, p99_ms
from edge_agent.updates.proof import Proof
from edge_agent.updates.workshop import Workshop
from edge_protocol.agreement import Wanted
from edge_protocol.messages import Update
from edge_protocol.updates import Refusal, Step, UpdateRefused


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a renewal needs of the agent around it: calls into rooms that this one does not know."""

    begin: Callable[[str, Model], None]
    """From here on this model judges on this pipeline: whoever counts by model begins anew."""
    is_silent: Callable[[str], bool]
    """Whether the thread that judges for this pipeline hangs."""
    may_return: Callable[[str], bool]
    """Whether a digest may run as far as its publisher's floor goes."""
    make_guard: Callable[[Model], Guard]
    """What says of an input that this model must not be asked."""


class Renewal:
    """One pipeline. All but `probation` belongs to one thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        table: settings.Pipeline,
        limits: settings.Updates,
        *,
        workshop: Workshop,
        ledger: Ledger,
        clock: Clock,
        around: Surroundings,
        placed: Path,
    ) -> None:
        """`placed` is the folder its first model was loaded from.

        Raises:
            StoreError: its row cannot be read.
        """
        self.name = pipeline.name
        self.probation: Probation | None = None
        self._pipeline = pipeline
        self._variant = table.variant
        self._limits = limits
        self._workshop = workshop
        self._ledger = ledger
        self._clock = clock
        self._around = around
        self._placed = placed
        self._before: Model | None = None
        self._candidate: Model | None = None
        self._work: Proof | Loading | None = None
        self._lost: set[str] = set()
        self._instead: dict[str, str] = {}
        self._commands: dict[Command, Callable[[Do], None]] = {
            Command.FETCH_MANIFEST: self._fetch_manifest,
            Command.FETCH_FILES: self._fetch_files,
            Command.CANCEL: self._cancel,
            Command.ACTIVATE: self._activate,
            Command.KEEP: self._keep,
            Command.RETURN: self._return,
            Command.REFUSE: self._refuse,
            Command.FORGIVE: self._forgive,
            Command.NOTE: self._note,
        }
        self.row = ledger.slots().get(self.name)
        self.state = self._begin()

    @property
    def digests(self) -> tuple[str, ...]:
        """The slots that are needed: the running one, the one before, the one on its way."""
        row, wanted = self.row, self.state.wanted
        held = (row.digest, row.previous) if row is not None else ()
        return (*held, *((wanted.digest,) if wanted is not None else ()), self._pipeline.model.digest)

    def feed(self, event: Event) -> bool:
        """Let the machine know; whether anything changed.

        Raises:
            StoreError: it could not be written down; nothing has happened, and the same event may be fed again.
        """
        if isinstance(event, Named) and self.row is None:
            self._settle(event.wanted)
        # The floor may have risen since: what could be returned to may not any more.
        state, commands = machine.advance(replace(self.state, previous=self._previous()), event)
        if state == self.state and not commands:
            return False
        problem = None
        for command in commands:
            problem = self._do(command) or problem
        self.state = replace(state, previous=self._previous())
        if problem is not None:
            self.feed(Failed(problem, self._clock.mono_us()))
        return True

    def step(self) -> bool:
        """Look at what is waited for; whether it came."""
        if (event := self._look()) is None:
            return False
        return self.feed(event)

    def can_return(self) -> bool:
        """Whether there is a model before the running one that may run."""
        return bool(self._previous())

    def close(self) -> None:
        """End what is at work; what was fetched stays."""
        self._workshop.finish(self.name)

    def _begin(self) -> State:
        last, refused = self._ledger.last(self.name), self._ledger.refused(self.name)
        state = State(running=self._pipeline.model.digest, refused=refused)
        if last is not None:
            problem = Problem(Refusal(last.refusal), last.detail) if last.refusal else None
            state = replace(state, step=last.step, problem=problem)
        if self.row is None:
            return state
        state = replace(state, rollout=self.row.rollout)
        if self.row.phase is Phase.PROBATION:
            self._begin_probation()
            state = replace(state, phase=machine.Phase.PROBATION)
        return replace(state, previous=self._previous())

    def _previous(self) -> str:
        digest = self.row.previous if self.row is not None else ""
        is_usable = digest not in self._lost and self._workshop.slots.has(digest) and self._around.may_return(digest)
        return digest if is_usable else ""

    def _look(self) -> Event | None:
        """What has come of what this phase waits for."""
        looks: dict[machine.Phase, Callable[[], Event | None]] = {
            machine.Phase.MANIFEST: lambda: Done() if self._workshop.has_all(self.name) else None,
            machine.Phase.FILES: self._look_at_files,
            machine.Phase.PROOF: self._look_at_proof,
            machine.Phase.LOADING: self._look_at_load,
            machine.Phase.PROBATION: self._look_at_probation,
            machine.Phase.RETURNING: self._look_at_before,
            machine.Phase.WAITING: lambda: Tick(self._clock.mono_us()),
        }
        try:
            return looks[self.state.phase]() if self.state.phase in looks else None
        except UpdateRefused as refused:
            return Failed(Problem(refused.refusal, refused.detail), self._clock.mono_us())

    def _look_at_files(self) -> Event | None:
        if self.state.wanted is None or not self._workshop.has_all(self.name):
            return None
        self._workshop.objects.release()
        self._workshop.stage(self.state.wanted, self._variant_of(self.state.wanted.digest))
        if self.row is None and not self._workshop.slots.has(self.state.running):
            self._workshop.keep_placed(self._placed, self._pipeline.model)
        return Done()

    def _look_at_proof(self) -> Event | None:
        if self.state.wanted is None:
            return None
        if not isinstance(self._work, Proof):
            try:
                variant = self._variant_of(self.state.wanted.digest)
                self._work = self._workshop.start_proof(self.name, self.state.wanted, variant)
            except OSError as error:
                raise UpdateRefused(Refusal.OUT_OF_SPACE, f"no self-test: {error.strerror}") from error
            return None
        if not self._work.poll():
            return None
        proof, self._work = self._work, None
        self._workshop.finish(self.name)
        if proof.problem is None:
            self._workshop.keep_found(self.state.wanted, proof.report)
            return Done()
        return self._try_another(self.state.wanted, proof) or Failed(proof.problem, self._clock.mono_us())

    def _try_another(self, wanted: Wanted, proof: Proof) -> Another | None:
        """The floats, where it is the integers that failed: they are fetched only now."""
        if self._variant or proof.problem is None or not proof.report.is_of_variant:
            return None
        other = self._workshop.next_variant(wanted, proof.report.variant)
        if not other:
            return None
        self._instead[wanted.digest] = other
        return Another(f"{proof.report.variant} does not do here, {other} is tried: {proof.problem.detail}")

    def _variant_of(self, digest: str) -> str:
        """What is configured, or what is tried after another one failed; else the processor decides."""
        return self._variant or self._instead.get(digest, "")

    def _look_at_load(self) -> Event | None:
        if self.state.wanted is None or (loaded := self._load(self.state.wanted.digest)) is None:
            return None
        if isinstance(loaded, str):
            return Failed(Problem(Refusal.SELF_TEST_FAILED, f"it does not load: {loaded}"), self._clock.mono_us())
        self._candidate = loaded
        return Done()

    def _look_at_before(self) -> Event | None:
        digest = self._previous()
        if not digest:
            return Failed(Problem(Refusal.UNSTABLE, "the model before it may not run any more"), self._clock.mono_us())
        if self._before is not None:
            return Done()
        if (loaded := self._load(digest)) is None:
            return None
        if isinstance(loaded, str):
            self._lost.add(digest)
            detail = f"the model before it does not load: {loaded}"
            return Failed(Problem(Refusal.UNSTABLE, detail), self._clock.mono_us())
        self._before = loaded
        return Done()

    def _look_at_probation(self) -> Event | None:
        if self.probation is None:
            return None
        if self._before is None and self._previous():
            self._look_at_before()  # After a restart: to be there when it is needed.
        ruling = self.probation.rule(self._clock.mono_us(), is_silent=self._around.is_silent(self.name))
        if ruling is False:
            return None
        return Ruled(None if ruling is True else ruling)

    def _load(self, digest: str) -> Model | str | None:
        """The model of a slot or why there is none, once that is known."""
        if not isinstance(self._work, Loading):
            self._work = self._workshop.start_load(self.name, digest, self._variant_of(digest))
            return None
        if not self._work.poll():
            return None
        model, problem, self._work = self._work.model, self._work.problem, None
        self._workshop.finish(self.name)
        if model is None or model.digest != digest:
            return problem or "it is another one"
        return model

    def _do(self, do: Do) -> Problem | None:
        """Carry out a command; the problem that keeps it from being done."""
        try:
            self._commands[do.command](do)
        except UpdateRefused as refused:
            return Problem(refused.refusal, refused.detail)
        return None

    def _fetch_manifest(self, do: Do) -> None:
        if do.wanted is not None:
            self._instead.pop(do.wanted.digest, None)  # an attempt begins with what suits the processor
            self._workshop.ask_manifest(self.name, do.wanted)

    def _fetch_files(self, do: Do) -> None:
        if do.wanted is not None:
            variant, task = self._variant_of(do.wanted.digest), self._pipeline.model.manifest.task
            self._workshop.ask_files(self.name, do.wanted, variant, task)

    def _cancel(self, _do: Do) -> None:
        self._workshop.drop(self.name)
        self._work, self._candidate = None, None

    def _activate(self, do: Do) -> None:
        wanted, model = do.wanted, self._candidate
        if wanted is None or model is None:
            return
        # One whose probation had no good end is nothing to return to.
        is_good = self.row is None or self.row.phase is Phase.KEPT
        before = self._pipeline.model.digest
        previous = before if is_good and self._workshop.slots.has(before) else ""
        now_us = self._clock.wall_us()
        row = Slot(
            self.name, model.digest, wanted.bundle, wanted.version, previous, Phase.PROBATION, now_us, 0, wanted.rollout
        )
        self._ledger.put(row, self._about(do, row))
        self._before, self._candidate, self.row = (self._pipeline.model if previous else None), None, row
        self._swap(model)
        self._begin_probation()
        self._workshop.drop(self.name)

    def _keep(self, do: Do) -> None:
        if self.row is not None:
            row = replace(self.row, phase=Phase.KEPT, starts=0)
            self._ledger.put(row, self._about(do, row))
            self.row = row
        self.probation, self._before = None, None
        memory.release()

    def _return(self, do: Do) -> None:
        row, model = self.row, self._before
        if row is None or model is None:
            return
        manifest, now_us = model.manifest, self._clock.wall_us()
        after = Slot(self.name, model.digest, manifest.name, manifest.version, "", Phase.KEPT, now_us)
        refused = (row.digest, do.problem) if do.problem is not None else None
        self._ledger.put(after, self._about(do, row), refused=refused)
        self.probation, self._before, self.row = None, None, after
        self._swap(model)
        memory.release()

    def _refuse(self, do: Do) -> None:
        if do.wanted is not None and do.problem is not None:
            self._ledger.refuse(self.name, do.wanted.digest, do.problem, self._about(do, self.row))

    def _forgive(self, do: Do) -> None:
        self._ledger.forgive(self.name, do.wanted.digest if do.wanted is not None else "")

    def _note(self, do: Do) -> None:
        self._ledger.note(self._about(do, self.row))

    def _settle(self, wanted: Wanted) -> None:
        """What was placed is what is named: from now on the row says so, and the folder may change as it likes."""
        model = self._pipeline.model
        if wanted.digest != model.digest:
            return
        with suppress(UpdateRefused):  # No room: at the next word of the director.
            if self._workshop.keep_placed(self._placed, model):
                now_us = self._clock.wall_us()
                row = Slot(self.name, model.digest, wanted.bundle, wanted.version, "", Phase.KEPT, now_us)
                row = replace(row, rollout=wanted.rollout)
                self._ledger.put(row, self._about(Do(Command.NOTE, wanted, Step.KEPT, detail="it was placed"), row))
                self.row, self.state = row, replace(self.state, step=Step.KEPT)

    def _swap(self, model: Model) -> None:
        self._pipeline.swap(model, self._around.make_guard(model))
        self._around.begin(self.name, model)

    def _begin_probation(self) -> None:
        if self.row is not None:
            budget = self._pipeline.model.manifest.budget
            # Of the record, not of memory: a restart within the probation judges by the same.
            before_ms = p99_ms(self._ledger.latencies_us(self.name, self.row.previous)) if self.row.previous else 0.0
            time_us = round(self._limits.probation_s * 1e6)
            terms = Terms(self._limits.probation_verdicts, time_us, budget.latency_ms, before_ms)
            self.probation = Probation(self.row.digest, terms, self._clock.mono_us())

    def _about(self, do: Do, row: Slot | None) -> Update:
        """The record of a step: about the release on its way, or about the one in the row."""
        release = do.wanted or (row if self.state.phase in _OF_ROW else None)
        problem = do.problem
        detail = "; ".join(filter(None, (problem.detail if problem is not None else "", do.detail)))
        return Update(
            pipeline=self.name,
            step=do.step,
            bundle=release.bundle if release is not None else "",
            version=release.version if release is not None else "",
            digest=release.digest if release is not None else "",
            rollout=release.rollout if release is not None else "",
            refusal=problem.refusal if problem is not None else "",
            detail=detail,
            actor=do.actor,
        )


_OF_ROW = (machine.Phase.PROBATION, machine.Phase.RETURNING)
