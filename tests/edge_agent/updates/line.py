"""A pipeline with its updates in one thread and no network: a director's word, a hub's blocks, a clock that is told."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_agent import settings
from edge_agent.clock import FixedClock
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.store import Connection, Store
from edge_agent.updates import machine
from edge_agent.updates.ledger import Ledger
from edge_agent.updates.points import Points, restore
from edge_agent.updates.proof import Proof
from edge_agent.updates.renewal import Renewal, Surroundings
from edge_agent.updates.resume import resume
from edge_agent.updates.updates import BLOCK, Updates
from edge_agent.updates.workshop import Workshop
from edge_protocol import messages
from edge_protocol.agreement import Wanted
from edge_protocol.codes import Reason
from edge_protocol.messages import BLOCK_BYTES, Adjusted, Block, Update, Want
from edge_protocol.points import WantedPoint
from edge_protocol.updates import UpdateRefused
from tests.edge_agent.inference.small_bundles import LENGTH, npy, write_window_bundle
from tests.edge_agent.updates.releases import Release

PART = npy(np.sin(np.arange(LENGTH) / 3))
TABLE = settings.Pipeline(name="engine", bundle="small-window", source="noise", trigger="belt")
LIMITS = settings.Updates(probation_verdicts=5, probation_s=0.5)
PATIENT = settings.Updates(probation_verdicts=10_000, probation_s=1000)
"""A probation that does not end by itself."""

PROVING = 60_000
"""Steps within which a self-test in its own process ends, on a machine that is busy too: some minutes of them."""


class PowerCut(BaseException):
    """The moment after which nothing more is done."""


class Director:
    """What the verified repositories say, without any."""

    def __init__(self) -> None:
        self.says: dict[str, Wanted | UpdateRefused] = {}
        self.points_said: dict[str, WantedPoint | UpdateRefused] | None = {}

    def take(self, repository: str, files: Mapping[str, bytes]) -> None:
        """Believe everything."""

    def wanted(self) -> dict[str, Wanted | UpdateRefused]:
        """What was put there."""
        return dict(self.says)

    def points(self) -> dict[str, WantedPoint | UpdateRefused] | None:
        """The same of operating points."""
        return None if self.points_said is None else dict(self.points_said)


class Passed(Proof):
    """A self-test that has ended at once."""

    def __init__(self) -> None:
        self.problem = None

    def poll(self) -> bool:
        return True

    def kill(self) -> None:
        pass


class QuickWorkshop(Workshop):
    """One whose self-tests take no time. `proof` makes another."""

    proof: Callable[[], Proof] = Passed

    def start_proof(self, pipeline: str, wanted: Wanted, variant: str) -> Proof | None:
        if self._work is not None:
            return None
        self._work, self._user = self.proof(), pipeline
        return self._work


class HookedStore:
    """A store whose owner hears of each transaction before it begins and after it is committed."""

    def __init__(self, store: Store, hook: Callable[[str], None]) -> None:
        self._store = store
        self._hook = hook
        self._depth = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        if self._depth == 0:
            self._hook("transaction")
        self._depth += 1
        try:
            with self._store.transaction() as connection:
                yield connection
        finally:
            self._depth -= 1
        if self._depth == 0:
            self._hook("committed")


class Line:
    """One start of the gateway in `folder`. `hook` hears of each durable step and may raise `PowerCut`."""

    def __init__(
        self,
        folder: Path,
        releases: tuple[Release, ...] = (),
        *,
        hook: Callable[[str], None] = lambda _what: None,
        limits: settings.Updates = LIMITS,
        was_clean: bool | None = None,
    ) -> None:
        self.folder = folder
        self.clock = FixedClock()
        self.told: list[Update] = []
        self.adjusted: list[Adjusted] = []
        self.judged: list[Judgement] = []
        self.swaps: list[str] = []
        self.silent = False
        self.director = Director()
        self.objects = {sha: content for each in releases for sha, content in each.objects.items()}
        self.wants: list[Want] = []
        self.block: Callable[[Block], Block | None] = lambda block: block
        placed = folder / "bundles/small-window"
        if not placed.exists():
            write_window_bundle(placed)
        self.store = Store.open(folder / "lineside.db", quota_bytes=32 * 2**20, clock=self.clock)
        self.ledger = Ledger(HookedStore(self.store, hook), self.told.append)  # type: ignore[arg-type]
        self._record = lambda operation: hook(str(operation.kind))
        try:
            self._build(placed, limits, was_clean=was_clean)
        except PowerCut:
            self.cut()
            raise

    def _build(self, placed: Path, limits: settings.Updates, *, was_clean: bool | None) -> None:
        clean = self.store.was_clean if was_clean is None else was_clean
        self.pipeline = Pipeline(
            "engine", self._first(placed, was_clean=clean), guard=lambda _look: Reason.NONE,
            emit=self._emit, clock=self.clock,
        )  # fmt: skip
        restore(self.store, {"engine": self.pipeline})
        self.workshop = QuickWorkshop(self.folder, limits, self._want, self.clock, record=self._record)
        self.updates = Updates(
            self.director, self.workshop, self.ledger, self.clock,
            make_renewal=lambda _name, may_return: self._renewal(limits, placed, may_return),
            pipelines=("engine",), folder=self.folder / "requests",
            points=Points(
                self.store, {"engine": self.pipeline}, self.workshop.objects, self.workshop.download,
                self.adjusted.append,
            ),
        )  # fmt: skip

    @property
    def placed(self) -> str:
        """The digest of the bundle that was placed by hand."""
        return hashlib.sha256((self.folder / "bundles/small-window/manifest.json").read_bytes()).hexdigest()

    @property
    def renewal(self) -> Renewal:
        """The only one."""
        return self.updates._renewals["engine"]

    def name(self, release: Release | UpdateRefused | None, rollout: str = "r-1") -> None:
        """The director names this from now on."""
        if release is None:
            self.director.says = {}
        elif isinstance(release, UpdateRefused):
            self.director.says = {"engine": release}
        else:
            self.director.says = {"engine": msgspec.structs.replace(release.wanted, rollout=rollout)}
        self.updates._is_begun = False

    def step(self) -> None:
        """A tenth of a second: one step of the updates, one part."""
        self.clock.advance(100_000)
        self.updates.step()
        n = len(self.judged) + 1
        self.pipeline.admit(
            Trigger(1, n, self.clock.wall_us(), self.clock.mono_us()), Sample({"signal": Channel(PART, 0)})
        )
        assert self.pipeline.step(0)

    def run(self, until: Callable[["Line"], bool], steps: int = 400) -> "Line":
        """Step until something is so."""
        for _ in range(steps):
            if until(self):
                return self
            self.step()
            self.updates.wait(0.002)
        message = f"in vain: {self.renewal.state}, {self.steps()}"
        raise AssertionError(message)

    def steps(self) -> list[str]:
        """What was told, step by step, with the refusal."""
        return [f"{note.step} {note.refusal}".strip() for note in self.told]

    def close(self) -> None:
        """End in order."""
        self.updates.close()
        self.store.finish()
        self.store.close()

    def cut(self) -> None:
        """End as by a cut: nothing is noted, the lock is given back."""
        self.store._release()

    def _first(self, placed: Path, *, was_clean: bool) -> Model:
        row = self.ledger.slots().get("engine")
        if row is None:
            return Model.load(placed)
        return resume(
            row, self.ledger, lambda digest: Model.load(self.folder / "slots" / digest),
            was_clean=was_clean, may_return=lambda digest: (self.folder / "slots" / digest).is_dir(),
        )  # fmt: skip

    def _renewal(self, limits: settings.Updates, placed: Path, may_return: Callable[[str], bool]) -> Renewal:
        around = Surroundings(
            lambda _name, model: self.swaps.append(model.digest),
            lambda _name: self.silent,
            may_return,
            lambda _model: lambda _look: Reason.NONE,
        )
        return Renewal(
            self.pipeline, TABLE, limits, workshop=self.workshop, ledger=self.ledger, clock=self.clock, around=around,
            placed=placed,
        )  # fmt: skip

    def _emit(self, judgement: Judgement) -> None:
        self.judged.append(judgement)
        self.updates.answered(judgement)

    def _want(self, want: Want) -> bool:
        self.wants.append(want)
        content = self.objects.get(want.sha256, b"")
        for at in range(want.offset, min(len(content), want.offset + want.length), BLOCK_BYTES) if content else (0,):
            data = content[at : min(at + BLOCK_BYTES, want.offset + want.length)]
            block = self.block(Block(sha256=want.sha256, offset=at, total=len(content), data=data))
            if block is not None:
                self.updates.on_message(BLOCK, messages.encode(block))
        return True


def in_phase(phase: machine.Phase) -> Any:
    """A look at where the machine stands."""
    return lambda line: line.renewal.state.phase is phase


def said(step: str) -> Any:
    """A look at what was told last."""
    return lambda line: bool(line.told) and line.steps()[-1] == step


@contextmanager
def line_of(folder: Path, *releases: Release, **keys: Any) -> Iterator[Line]:
    """A line that ends in order."""
    line = Line(folder, releases, **keys)
    try:
        yield line
    finally:
        line.close()
