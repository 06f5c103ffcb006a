"""At a start the row decides what a pipeline runs: rows and slots come in, a loaded model goes out.

A slot that does not load, or whose probation keeps on ending with the agent, gives way to the one before it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from edge_agent.errors import InferenceError, StoreError
from edge_agent.inference.model import Model
from edge_agent.updates.ledger import Ledger, Phase, Problem, Slot
from edge_protocol.messages import Update
from edge_protocol.updates import Refusal, Step

MAX_STARTS = 3
"""Starts after an end that nobody asked for, all in one probation."""


def resume(
    row: Slot, ledger: Ledger, load: Callable[[str], Model], *, was_clean: bool, may_return: Callable[[str], bool]
) -> Model:
    """The model of a pipeline that has a row. `load` gives the model of a digest.

    Raises:
        InferenceError: neither it nor the one before can be loaded.
        StoreError: which one runs could not be written down.
    """
    row = _count_start(row, ledger) if row.phase is Phase.PROBATION and not was_clean else row
    before = row.previous if may_return(row.previous) else ""
    problem = None
    if row.phase is Phase.PROBATION and row.starts > MAX_STARTS and before:
        problem = Problem(Refusal.UNSTABLE, f"the agent ended {row.starts} times in its probation")
        with suppress(InferenceError):
            return _give_back(row, ledger, load(before), problem)
    try:
        return load(row.digest)
    except InferenceError as error:
        if not before or problem is not None:
            raise
        return _give_back(row, ledger, load(before), Problem(Refusal.UNSTABLE, f"it does not load: {error}"))


def start_over(row: Slot, ledger: Ledger, model: Model, problem: str) -> Model:
    """Run `model`, which was placed: no slot can be loaded any more, and a line that judges nothing helps nobody.

    Raises:
        StoreError: it could not be written down.
    """
    ledger.drop(row.pipeline, _note(row, Problem(Refusal.UNSTABLE, f"no slot loads: {problem}")))
    return model


def _count_start(row: Slot, ledger: Ledger) -> Slot:
    counted = replace(row, starts=row.starts + 1)
    with suppress(StoreError):  # A disk that is full keeps no model from judging.
        ledger.put(counted)
    return counted


def _give_back(row: Slot, ledger: Ledger, model: Model, problem: Problem) -> Model:
    slot = Slot(row.pipeline, model.digest, model.manifest.name, model.manifest.version, "", Phase.KEPT, row.since_us)
    # What had proved itself is not bad: the disk has damaged it, and it may be fetched anew.
    refused = (row.digest, problem) if row.phase is Phase.PROBATION else None
    ledger.put(slot, _note(row, problem), refused=refused)
    return model


def _note(row: Slot, problem: Problem) -> Update:
    return Update(
        pipeline=row.pipeline,
        step=Step.RETURNED,
        bundle=row.bundle,
        version=row.version,
        digest=row.digest,
        rollout=row.rollout,
        refusal=problem.refusal,
        detail=problem.detail,
    )
