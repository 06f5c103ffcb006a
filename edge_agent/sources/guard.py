"""Whether an input can be trusted at all, before any model is asked: a look at it comes in, a reason goes out.

What cannot be decoded never gets here: the decoder has its own reasons. Never changes the input.
"""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from edge_agent.sample import Look
from edge_agent.settings import Guard as Settings
from edge_agent.sources.picture_guard import PictureGuard
from edge_agent.sources.sequence_guard import SequenceGuard
from edge_agent.sources.window_guard import WindowGuard
from edge_protocol.codes import Reason
from edge_protocol.counters import Reference

Kind: TypeAlias = Literal["image", "window", "tensor"]
Check: TypeAlias = Callable[[Look], Reason]


class Guard:
    """Asks each sense in turn. It remembers the inputs of one source for one pipeline, so it belongs to one thread."""

    def __init__(
        self,
        settings: Settings,
        kind: Kind,
        reference: Reference | None = None,
        *,
        axes: int = 1,
        follows: bool = True,
    ) -> None:
        """`kind` is the bundle's input, of a window with so many `axes`; `reference` is what good parts looked like.

        `follows`: whether an input comes after the one before it; a neighbour's questions do not.

        Raises:
            ConfigError: the picture of `placed_like` cannot be read.
        """
        pictures = PictureGuard(settings, reference) if kind == "image" else None
        self.limits: Mapping[str, tuple[float, float | None]] = pictures.limits if pictures is not None else {}
        """Of a picture's signals, the lowest and the highest value that is trusted."""
        own: dict[Kind, Check] = {"window": WindowGuard(settings, axes).check, "tensor": _trusted}
        # Values of a process repeat themselves: that a tensor is the one before says nothing.
        order = (SequenceGuard(settings, repeats=kind != "tensor").check,) if follows else ()
        self._checks = (pictures.check if pictures is not None else own[kind], *order)

    def check(self, look: Look) -> Reason:
        """Why the input is not to be trusted, or NONE. Every sense sees every input, or it would count wrong."""
        reasons = [check(look) for check in self._checks]
        return next((reason for reason in reasons if reason is not Reason.NONE), Reason.NONE)


def _trusted(_look: Look) -> Reason:
    return Reason.NONE
