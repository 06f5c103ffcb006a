"""What a day is played with: the models, built by their recipes when they are not there, and the real data."""

from collections.abc import Mapping
from pathlib import Path

from scripts.day.children import Children

ROOT = Path(__file__).parents[2]


def prepare(children: Children, *, fresh: bool) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """The bundles by the names of models, the data by the names of scenes."""
    raise NotImplementedError
