"""What a model release is: one `manifest.json` and the files it names by SHA-256 and length. No archives.

The manifest alone says how an input becomes a tensor, how the outputs become a verdict and at which operating point.
Reading and checking only; making a bundle is `cloud_hub.factory`'s work.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import msgspec

from edge_protocol.errors import ManifestError

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024
FEATURES = frozenset({"image-anomaly", "window-classification", "area-pyramid", "log-power-spectrum"})
"""What a manifest of this schema may require of a gateway; anything else is refused by name."""

VARIANTS = frozenset({"fp32", "u8s8-vnni", "u8s8-7bit", "s8s8-arm"})

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class File(msgspec.Struct, frozen=True):
    """A file of the bundle by content."""

    sha256: str
    length: int


class ImageInput(msgspec.Struct, frozen=True, kw_only=True, tag="image", tag_field="kind"):
    """How a picture becomes the tensor: decode → colour → ROI → geometry → (value - mean) / std → layout.

    `mean` and `std` are per channel in the order of `colour`, in grey levels 0…255. `tensor` is the graph's input.
    """

    tensor: str
    width: int
    height: int
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    roi: tuple[int, int, int, int] | None = None
    geometry: Literal["stretch", "letterbox", "crop"] = "stretch"
    resize: Literal["area-pyramid", "area", "linear", "cubic"] = "area-pyramid"
    pad_value: int = 0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"


class WindowInput(msgspec.Struct, frozen=True, kw_only=True, tag="window", tag_field="kind"):
    """How a window of a signal becomes the tensor: `length` values → features → (value - mean) / std.

    `log-power-spectrum`: remove the mean, scale to unit deviation, Hann window, |rfft|², sum in `bands` equal bands,
    natural logarithm of (1e-9 + power). `raw` passes the window. `mean` and `std` have one value per feature.
    """

    tensor: str
    length: int
    rate_hz: float
    channel: str = "signal"
    features: Literal["log-power-spectrum", "raw"] = "log-power-spectrum"
    bands: int = 64
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class AnomalyOutput(msgspec.Struct, frozen=True, kw_only=True, tag="image-anomaly", tag_field="kind"):
    """Names of the graph's outputs: `map` [1,h,w] float32 distances, `score` [1] float32, higher is more anomalous."""

    map: str = "map"
    score: str = "score"


class ClassOutput(msgspec.Struct, frozen=True, kw_only=True, tag="window-classification", tag_field="kind"):
    """`probabilities` [1,k] float32 over `classes`; the score is the probability of class `anomalous`."""

    classes: tuple[str, ...]
    anomalous: str
    probabilities: str = "probabilities"


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """score < accept → OK; score ≥ reject → NG; between → REVIEW. Equal thresholds leave no REVIEW."""

    accept: float
    reject: float


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant says of a golden: the verdict, the score, and probe values after each stage of the pipeline.

    `margin` is the distance of the score to the nearest threshold; a gateway's score may differ by a quarter of it.
    `stages` maps decode, geometry, normalise and engine to a few values at fixed places (`inference` says which).
    """

    verdict: Literal["OK", "NG", "REVIEW"]
    score: float
    margin: float
    stages: dict[str, tuple[float, ...]] = {}


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """An input with known answers, raw as the source would deliver it: a picture's or a .npy window's bytes."""

    file: str
    expect: dict[str, Expectation]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The same model in another arithmetic, and what a gateway must have to run it well."""

    name: str
    file: str
    cpu_flags: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    provider: str = "CPUExecutionProvider"


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """Where a part of the bundle comes from and under which terms: an SPDX id, or `not stated`."""

    what: str
    licence: str
    origin: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What the bundle may take of a gateway; above it the self-test refuses."""

    rss_mb: int = 256
    latency_ms: float = 1000.0


InputContract: TypeAlias = ImageInput | WindowInput
OutputContract: TypeAlias = AnomalyOutput | ClassOutput


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A model release. Unknown fields are ignored; what must be understood stands in `requires`."""

    schema: int
    name: str
    version: str
    task: Literal["image-anomaly", "window-classification"]
    input: InputContract
    output: OutputContract
    operating_point: OperatingPoint
    variants: tuple[Variant, ...]
    files: dict[str, File]
    goldens: tuple[Golden, ...] = ()
    reference: str = ""
    card: str = ""
    requires: tuple[str, ...] = ()
    budget: Budget = Budget()
    objective: str = ""
    capture: Literal["none", "ng", "sampled"] = "none"
    retention_days: int = 0
    licences: tuple[Licence, ...] = ()
    lineage: dict[str, str] = {}

    def variant(self, name: str) -> Variant:
        """The variant called `name`.

        Raises:
            ManifestError: there is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        message = f"{self.name} {self.version} has no variant {name!r}"
        raise ManifestError(message, f"it has {', '.join(v.name for v in self.variants)}")


def digest(manifest: bytes) -> str:
    """The bundle's digest: SHA-256 of the manifest's bytes, hex. It fixes every file, for the manifest names them so."""
    return hashlib.sha256(manifest).hexdigest()


def canonical(manifest: Manifest) -> bytes:
    """The bytes to write as `manifest.json`: indented for people, in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def parse(raw: bytes) -> Manifest:
    """The manifest in `raw`, checked in itself; `check_files` compares it with a folder.

    Raises:
        ManifestError: naming the field and what it should be.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        message = f"the manifest has {len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are taken"
        raise ManifestError(message)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        message = f"manifest.json: {error}"
        raise ManifestError(message, "compare it with the bundle section of edge_protocol/README.md") from error
    problem = next(_problems(manifest), None)
    if problem is not None:
        message = f"{manifest.name!r} {manifest.version!r}: {problem}"
        raise ManifestError(message)
    return manifest


def check_files(manifest: Manifest, folder: Path) -> None:
    """Compare `folder` with what the manifest names.

    Raises:
        ManifestError: a file is missing, differs, or is there without being named.
    """
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            message = f"{name} is named by the manifest and is not in {folder}"
            raise ManifestError(message, "copy the whole bundle folder again")
        content = path.read_bytes()
        if len(content) != file.length or hashlib.sha256(content).hexdigest() != file.sha256:
            message = f"{name} is not the file that the manifest names"
            raise ManifestError(message, "the copy is damaged or was changed: fetch the bundle again")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if extra := sorted(present - set(manifest.files) - {MANIFEST}):
        message = f"{extra[0]} is in {folder} and not named by the manifest"
        raise ManifestError(message, "remove it, or make the bundle again")


def load(folder: Path) -> tuple[Manifest, str]:
    """The checked manifest of a bundle folder and the bundle's digest.

    Raises:
        ManifestError: no manifest there, a wrong one, or files that differ from it.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        message = f"{folder} holds no bundle: {error.strerror}"
        raise ManifestError(message, "a bundle is a folder with a manifest.json; scripts/build_models makes two") from error
    manifest = parse(raw)
    check_files(manifest, folder)
    return manifest, digest(raw)


def _problems(manifest: Manifest) -> Iterator[str]:
    yield from _identity_problems(manifest)
    yield from _file_problems(manifest)
    yield from _contract_problems(manifest)


def _identity_problems(manifest: Manifest) -> Iterator[str]:
    if manifest.schema != SCHEMA:
        yield f"schema {manifest.schema} is not known here; this side reads schema {SCHEMA}"
    if not _NAME.fullmatch(manifest.name):
        yield "name: 1 to 64 of a-z, 0-9 and hyphen"
    if not _VERSION.fullmatch(manifest.version):
        yield "version: three numbers, as 1.2.0"
    for feature in manifest.requires:
        if feature not in FEATURES and not feature.startswith("x-"):
            yield f"requires: {feature!r} is not a feature that this side has; update it first"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    for name, file in manifest.files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\\" in name or name == MANIFEST:
            yield f"files: {name!r} is not a plain relative path"
        if not _SHA256.fullmatch(file.sha256) or file.length < 0:
            yield f"files: {name!r} needs a SHA-256 in hex and a length"
    named = [variant.file for variant in manifest.variants] + [golden.file for golden in manifest.goldens]
    for name in (*named, manifest.reference, manifest.card):
        if name and name not in manifest.files:
            yield f"files: {name!r} is used and not listed"


def _contract_problems(manifest: Manifest) -> Iterator[str]:
    names = [variant.name for variant in manifest.variants]
    if not names or len(set(names)) != len(names) or not VARIANTS.issuperset(names):
        yield f"variants: one or more of {', '.join(sorted(VARIANTS))}, each once"
    if not manifest.operating_point.accept <= manifest.operating_point.reject:
        yield "operating_point: accept must not be above reject"
    fits = {"image-anomaly": (ImageInput, AnomalyOutput), "window-classification": (WindowInput, ClassOutput)}
    needs_input, needs_output = fits[manifest.task]
    if not isinstance(manifest.input, needs_input) or not isinstance(manifest.output, needs_output):
        yield f"task: {manifest.task} does not go with this input or output"
    if isinstance(manifest.output, ClassOutput) and manifest.output.anomalous not in manifest.output.classes:
        yield f"output: {manifest.output.anomalous!r} is not one of its classes"
    yield from _input_problems(manifest.input)


def _input_problems(contract: InputContract) -> Iterator[str]:
    if isinstance(contract, ImageInput):
        channels = 1 if contract.colour == "gray" else 3
        if not (len(contract.mean) == len(contract.std) == channels) or 0 in contract.std:
            yield f"input: mean and std need {channels} values each, std none of zero"
        if not (0 < contract.width <= 8192 and 0 < contract.height <= 8192):
            yield "input: width and height must lie between 1 and 8192"
    else:
        size = contract.bands if contract.features == "log-power-spectrum" else contract.length
        if len(contract.mean) not in (0, size) or len(contract.std) != len(contract.mean) or 0 in contract.std:
            yield f"input: mean and std need {size} values each, std none of zero"
        if not 0 < contract.bands <= contract.length // 2 or contract.length > 2**20:
            yield "input: bands must lie between 1 and half of length, length at most 1048576"
