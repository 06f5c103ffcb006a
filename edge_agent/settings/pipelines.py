"""The rows of `[[pipelines]]`, with the limits of their guards."""

from typing import Annotated

from msgspec import Meta

from edge_agent.settings.table import Name, Table


class Guard(Table, frozen=True, kw_only=True):
    """When an input is not to be trusted, whatever a model says of it."""

    black_below: Annotated[float, Meta(ge=0, le=255, description="mean brightness that is black; 0: off")] = 12.0
    frozen_after: Annotated[int, Meta(ge=0, le=1000, description="equal inputs in a row that are frozen; 0: off")] = 5


class Pipeline(Table, frozen=True, kw_only=True):
    """One model at one place of the line."""

    name: Annotated[Name, Meta(description="name of the pipeline")]
    bundle: Annotated[Name, Meta(description="folder of the bundle in `data_dir`/bundles")]
    source: Annotated[Name, Meta(description="where its samples come from")]
    trigger: Annotated[Name, Meta(description="what says that a part is there; pipelines may share it")]
    outputs: Annotated[tuple[Name, ...], Meta(description="who is told each verdict")] = ()
    deadline_ms: Annotated[float, Meta(ge=0, description="age at which a sample is no longer judged; 0 for none")] = 0.0
    priority: Annotated[
        int, Meta(ge=0, le=9, description="which pipeline gets more of a short processor; 9: the most")
    ] = 5
    variant: Annotated[str, Meta(description="variant of the model to use; empty: chosen by the processor")] = ""
    guard: Annotated[Guard, Meta(description="limits of the guard, a table of its own")] = Guard()
