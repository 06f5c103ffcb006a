"""A bundle folder comes in, the plan it runs by on this gateway goes out: variants proved, audited, timed in turns.

A variant whose goldens differ, or that sorts parts otherwise than the floats do, is no candidate however fast it is;
one that is slower than the floats is not chosen. Never keeps a plan: who asked does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference import audit, selftest
from edge_agent.inference.audit import Audit
from edge_agent.inference.cache import Cache
from edge_agent.inference.engine import optimise
from edge_agent.inference.hardware import architecture, cpu_flags, cpu_quota
from edge_agent.inference.model import Model
from edge_agent.inference.tuning import Plan, Run, Tried, grid, tune
from edge_agent.inference.variants import FLOAT, candidates
from edge_protocol import bundle
from edge_protocol.bundle import Manifest
from edge_protocol.codes import Reason
from edge_protocol.errors import ManifestError

Array = npt.NDArray[Any]

_BLENDS = (0.25, 0.5, 0.75)
_FEW, _LEAST_OF_FEW = 10, 0.7
"""Of a handful of goldens two neighbours may change places."""


@dataclass(slots=True)
class Trial:
    """What came of it: the plan, all that was tried, and the audit of each variant that calls itself int8."""

    plan: Plan
    tried: tuple[Tried, ...]
    audits: dict[str, Audit] = field(default_factory=dict)


def try_bundle(folder: Path, *, variant: str = "", cache: Cache | None = None, seconds: float = 10.0) -> Trial:
    """Try every plan for the bundle in `folder`, of `variant` or of all that suit this processor and are there.

    Raises:
        InferenceError: none of them can be run here.
    """
    manifest = _read(folder)
    names = [variant] if variant else _present(manifest, folder)
    if not names:
        message = f"{folder} has no variant for this {architecture()} processor"
        raise InferenceError(message, "see edge-agent models for what it has", Reason.NO_MODEL)
    bench = _Bench(folder, cache, FLOAT in names)
    found = tune(grid(names, cpu_quota()), bench.load, seconds)
    return Trial(found.plan, found.tried, bench.audits)


def audit_variant(folder: Path, manifest: Manifest, variant: str) -> Audit:
    """The audit of a variant as it is optimised for this processor.

    Raises:
        InferenceError: it cannot be loaded.
    """
    try:
        return audit.audit(optimise((folder / manifest.variant(variant).file).read_bytes()))
    except OSError as error:
        message = f"{variant} of {folder} cannot be read: {error.strerror}"
        raise InferenceError(message, "copy the whole bundle folder again", Reason.NO_MODEL) from error


def ranks_of_goldens(model: Model, folder: Path) -> str:
    """What is wrong with the order in which a variant puts the goldens, by what the floats were expected to say.

    It needs no floats here: their scores are signed with the goldens. Nothing is wrong where there are too few.
    """
    known = [(golden, golden.expect[FLOAT].score) for golden in model.manifest.goldens if FLOAT in golden.expect]
    if model.variant == FLOAT or len(known) < audit.FEWEST_SCORES:
        return ""
    tensors = [_tensor(model, folder, golden.file) for golden, _ in known]
    return _rank_problem([score for _, score in known], _scores(model, tensors))


class _Bench:
    """Loads candidates: each is proved once for its variant before its time counts."""

    def __init__(self, folder: Path, cache: Cache | None, has_floats: bool) -> None:  # noqa: FBT001
        self.audits: dict[str, Audit] = {}
        self._folder = folder
        # The plans that stand now say nothing of a trial.
        self._cache = Cache(cache.folder, cache.rows) if cache is not None else None
        self._probes: list[Array] = []
        self._floats: list[float] = []
        self._has_floats = has_floats
        self._problems: dict[str, str] = {}

    def load(self, plan: Plan) -> Run:
        """A candidate, warm, on a tensor of the bundle's own."""
        model = Model.load(self._folder, variant=plan.variant, cache=self._cache, plan=plan)
        # With each count of threads sums are added up in another order.
        if differences := selftest.check(model, self._folder):
            raise InferenceError(str(differences[0]), "see edge-agent doctor")
        if plan.variant != FLOAT and plan.variant not in self.audits:
            self.audits[plan.variant] = audit_variant(self._folder, model.manifest, plan.variant)
            self._problems[plan.variant] = self._ranks(model)
        if problem := self._problems.get(plan.variant):
            raise InferenceError(problem, "quantize it again, on parts as the line sees them")
        goldens = model.manifest.goldens
        tensor = _tensor(model, self._folder, goldens[0].file) if goldens else model.new_tensor()
        return partial(model.run, tensor)

    def _ranks(self, model: Model) -> str:
        if not self._has_floats or not model.manifest.goldens:
            return ranks_of_goldens(model, self._folder)
        if not self._probes:
            floats = Model.load(self._folder, variant=FLOAT, cache=self._cache)
            self._probes = _blended([_tensor(floats, self._folder, each.file) for each in floats.manifest.goldens])
            self._floats = _scores(floats, self._probes)
        return _rank_problem(self._floats, _scores(model, self._probes))


def _read(folder: Path) -> Manifest:
    try:
        return bundle.read(folder)[0]
    except ManifestError as error:
        raise InferenceError(str(error), error.hint, Reason.NO_MODEL) from error


def _present(manifest: Manifest, folder: Path) -> list[str]:
    fitting = candidates(manifest, cpu_flags(), architecture())
    return [each.name for each in fitting if (folder / each.file).is_file()]


def _tensor(model: Model, folder: Path, golden: str) -> Array:
    tensor = model.new_tensor()
    model.write(model.preprocessor.decode((folder / golden).read_bytes()), tensor)
    return tensor


def _blended(tensors: Sequence[Array]) -> list[Array]:
    """The tensors and mixtures of every two: inputs between good and bad, whose order the floats know."""
    mixed = [
        (share * one + (1 - share) * other).astype(one.dtype)
        for one, other in combinations(tensors, 2)
        for share in _BLENDS
    ]
    return [*tensors, *mixed]


def _scores(model: Model, tensors: Sequence[Array]) -> list[float]:
    return [model.conclude(model.run(tensor)).score for tensor in tensors]


def _rank_problem(floats: Sequence[float], integers: Sequence[float]) -> str:
    least = audit.LEAST_RANK if len(floats) >= _FEW else _LEAST_OF_FEW
    found = audit.rank_correlation(floats, integers)
    if len(floats) < audit.FEWEST_SCORES or found >= least:
        return ""
    return (
        f"it sorts {len(floats)} parts otherwise than fp32: rank correlation {found:.2f}, at least {least:g} is asked"
    )
