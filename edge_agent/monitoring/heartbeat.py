"""The live engine of a pipeline is asked what its goldens are, one at a time between two parts; it must still know.

What differs is quarantined at once, then loaded anew from the signed file; if that differs too, or differs again, the
release before it comes back. Never on the thread that judges but for the engine's own run.
"""

import logging
import queue
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.inference.preprocess import make_preprocessor
from edge_agent.inference.selftest import Approach, Difference
from edge_protocol.bundle import Golden

log = logging.getLogger(__name__)

DIFFERS, UNREADABLE, STUCK = "golden-differs", "golden-unreadable", "no-way-back"
"""The faults of a pipeline that are told here."""

FIRST_US = 2_000_000
"""After a model has begun to judge: its first verdicts come first."""

GAP_US = 500_000
"""Between the goldens of a first round."""

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Around:
    """What a heartbeat needs of the agent around it."""

    folder: Callable[[Model], Path | None]
    """Where the bundle of a model lies; None when it lies nowhere any more."""
    tell: Callable[[str, bool, str], None]
    """A fault of the pipeline begins or ends: reason, whether it is active, detail."""
    passed: Callable[[Model], None]
    """All goldens came out as they should: write it down."""
    failed: Callable[[Model], None]
    """One did not: whatever was written down counts no more."""
    load: Callable[[Path, Model], Model]
    """The same model again from the signed file in a folder, run as this one is. Raises InferenceError."""
    install: Callable[[Model, Model], None]
    """Let the second judge instead of the first, unless another one does already."""
    fall_back: Callable[[str, str], bool]
    """Have the release before this digest come back, for this reason; False when there is none."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A golden on its way through the live engine."""

    golden: Golden
    begun: Approach
    answer: "queue.SimpleQueue[Outputs | InferenceError]"


class Heartbeat:
    """One pipeline's. Belongs to one thread; times are monotonic."""

    def __init__(self, pipeline: Pipeline, around: Around, *, every_us: int) -> None:
        self._pipeline = pipeline
        self._around = around
        self._every_us = every_us
        self._model: Model | None = None
        self._next = 0
        self._due_us = 0
        self._question: _Question | None = None
        self._is_proved = False
        self._awaited: Model | None = None
        self._problem = ""
        self._mismatches: Counter[str] = Counter()

    @property
    def problem(self) -> str:
        """Why the engine is quarantined; empty when it is not."""
        return self._problem

    @property
    def is_awaited(self) -> bool:
        """Whether the model that this process began with has not answered all of its goldens yet."""
        return self._awaited is not None and self._awaited.engine is self._pipeline.model.engine

    def begin(self, now_us: int, *, is_known: bool) -> None:
        """Before the line runs: a model that has not passed with these libraries is checked now, else soon."""
        model = self._model = self._pipeline.model
        self._due_us = now_us + FIRST_US
        folder = self._around.folder(model)
        if folder is None or not model.manifest.goldens:
            return
        if is_known:
            self._awaited = model
            return
        differences = selftest.check(model, folder)
        if differences:
            self._quarantine(model, differences[0], now_us)
        else:
            self._prove(model, now_us)

    def step(self, now_us: int) -> bool:
        """Do what is due; whether anything was."""
        model = self._pipeline.model
        if model is not self._model:
            self._meet(model, now_us)
        if self._question is not None:
            return self._hear(model, self._question, now_us)
        if now_us < self._due_us or not model.manifest.goldens:
            return False
        if self._problem:
            self._mend(model, now_us)
        else:
            self._ask(model, now_us)
        return True

    def _meet(self, model: Model, now_us: int) -> None:
        """Another model judges: it is trusted until it is asked, and asked soon. At another point it is the same."""
        if self._pipeline.quarantined:
            # An engine that was distrusted before another one judged is no better now that it is back.
            self._problem = self._problem or "it did not know its goldens before another release judged"
            self._model, self._question, self._due_us = model, None, min(self._due_us, now_us + FIRST_US)
            return
        self._due_us = now_us if self._problem else now_us + FIRST_US
        self._model, self._next, self._question, self._is_proved, self._problem = model, 0, None, False, ""

    def _ask(self, model: Model, now_us: int) -> None:
        golden = model.manifest.goldens[self._next]
        folder = self._around.folder(model)
        data = selftest.read(model.manifest, folder, golden) if folder is not None else None
        self._around.tell(UNREADABLE, data is None, golden.file)
        if data is None:  # The disk's fault, not the engine's.
            self._pass_on(model, now_us)
            return
        try:
            # A preprocessor of its own: the line's is at work on the line's thread.
            begun = selftest.approach(make_preprocessor(model.manifest.input), data)
        except InferenceError as error:
            self._quarantine(model, Difference(golden.file, "decode", str(error)), now_us)
            return
        self._question = _Question(golden, begun, queue.SimpleQueue())
        self._pipeline.probe(model, begun.tensor, self._question.answer.put)

    def _hear(self, model: Model, question: _Question, now_us: int) -> bool:
        try:
            said = question.answer.get_nowait()
        except queue.Empty:  # The line is busy; that it hangs is for others to say.
            return False
        self._question = None
        difference = _judge(model, question, said)
        if difference is None:
            self._pass_on(model, now_us)
        else:
            self._quarantine(model, difference, now_us)
        return True

    def _pass_on(self, model: Model, now_us: int) -> None:
        """To the next golden: soon in a first round, afterwards one at each heartbeat."""
        self._next = (self._next + 1) % len(model.manifest.goldens)
        self._due_us = now_us + (self._every_us if self._is_proved else min(GAP_US, self._every_us))
        if self._next == 0 and not self._is_proved:
            self._prove(model, now_us)

    def _prove(self, model: Model, now_us: int) -> None:
        self._is_proved, self._awaited, self._due_us = True, None, now_us + self._every_us
        self._around.passed(model)
        for reason in (DIFFERS, STUCK):
            self._around.tell(reason, False, "")

    def _quarantine(self, model: Model, difference: Difference, now_us: int) -> None:
        """From here on no part is judged by it."""
        self._pipeline.quarantine(model)
        self._problem, self._due_us = str(difference), now_us
        self._mismatches[model.digest] += 1
        log.error("%s is quarantined: %s", self._pipeline.name, self._problem)
        self._around.tell(DIFFERS, True, self._problem)
        self._around.failed(model)

    def _mend(self, model: Model, now_us: int) -> None:
        """Load it anew; where that was of no use, go back."""
        self._due_us = now_us + self._every_us
        is_repeated = self._mismatches[model.digest] > 1
        if is_repeated and self._around.fall_back(model.digest, self._problem):
            return
        folder = self._around.folder(model)
        try:
            fresh = self._around.load(folder, model) if folder is not None else None
            differences = selftest.check(fresh, folder) if fresh is not None and folder is not None else []
        except InferenceError as error:
            fresh, differences = None, [Difference(model.manifest.name, "load", str(error))]
        if fresh is not None and not differences:
            self._around.install(model, fresh)
            return
        again = f"{self._problem}; loaded anew: {differences[0] if differences else 'its bundle is gone'}"
        if is_repeated or not self._around.fall_back(model.digest, again):
            self._around.tell(STUCK, True, f"{again}; there is no release to go back to")


def _judge(model: Model, question: _Question, said: Outputs | InferenceError) -> Difference | None:
    golden = question.golden
    if isinstance(said, InferenceError):
        return Difference(golden.file, "engine", str(said))
    try:
        found = selftest.conclude(model, question.begun, said)
    except InferenceError as error:
        return Difference(golden.file, "engine", str(error))
    return selftest.compare(model, golden, found)
