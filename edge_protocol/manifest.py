"""What a model release says of itself: every field of `manifest.json` as a typed struct, and the rules they keep.

Pure data: reading, digests and files are `bundle`'s.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from edge_protocol.errors import ManifestError

SCHEMA = 1
MANIFEST = "manifest.json"
FEATURES = frozenset({"image-anomaly", "window-classification", "area-pyramid", "log-power-spectrum"})
"""What a manifest of this schema may require of a gateway; anything else is refused by name."""

VARIANTS = frozenset({"fp32", "u8s8-vnni", "u8s8-7bit", "s8s8-arm"})

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MAX_FILE_NAME = 200
_MAX_PIXELS = 8192
_MAX_WINDOW = 2**20
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
    """The same model in another arithmetic, and what a gateway must have to run it well.

    `arch` and `cpu_flags` are alternatives: one of each is needed, none where the list is empty.
    """

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


_TASKS = {"image-anomaly": (ImageInput, AnomalyOutput), "window-classification": (WindowInput, ClassOutput)}

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


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a manifest before the rest: a later schema fails there for a less helpful reason."""

    schema: int
    name: str = ""
    version: str = ""
    requires: tuple[str, ...] = ()


def head_problems(head: Head) -> Iterator[str]:
    """Why this side cannot read the manifest."""
    if head.schema != SCHEMA:
        yield f"schema: {head.schema} is not known here; this side reads schema {SCHEMA}, update it first"
    for feature in head.requires:
        if feature not in FEATURES and not feature.startswith("x-"):
            yield f"requires: {feature!r} is not a feature that this side has; update it first"


def problems(manifest: Manifest) -> Iterator[str]:
    """Every rule that the manifest breaks in itself, with the field's name."""
    if not _NAME.fullmatch(manifest.name):
        yield "name: 1 to 64 of a-z, 0-9 and hyphen, hyphens inside only"
    if not _VERSION.fullmatch(manifest.version):
        yield "version: three numbers, as 1.2.0"
    yield from _file_problems(manifest)
    yield from _variant_problems(manifest)
    yield from _contract_problems(manifest)
    if manifest.budget.rss_mb <= 0 or manifest.budget.latency_ms <= 0:
        yield "budget: rss_mb and latency_ms must be above zero"
    if manifest.retention_days < 0:
        yield "retention_days: must not be below zero"


def _file_problems(manifest: Manifest) -> Iterator[str]:
    for name, file in manifest.files.items():
        if not _FILE.fullmatch(name) or len(name) > _MAX_FILE_NAME or name == MANIFEST:
            yield f"files: {name[:_MAX_FILE_NAME]!r} is not a plain relative path of letters, digits and . _ - /"
        if not _SHA256.fullmatch(file.sha256) or file.length < 0:
            yield f"files: {name!r} needs a SHA-256 in hex and a length"
    for variant in manifest.variants:
        if variant.file not in manifest.files:
            yield f"variants: file {variant.file!r} of {variant.name} is not listed under files"
    for golden in manifest.goldens:
        if golden.file not in manifest.files:
            yield f"goldens: file {golden.file!r} is not listed under files"
    for field, name in (("reference", manifest.reference), ("card", manifest.card)):
        if name and name not in manifest.files:
            yield f"{field}: file {name!r} is not listed under files"


def _variant_problems(manifest: Manifest) -> Iterator[str]:
    names = [variant.name for variant in manifest.variants]
    if not names or len(set(names)) != len(names) or not VARIANTS.issuperset(names):
        yield f"variants: one or more of {', '.join(sorted(VARIANTS))}, each once"
    for golden in manifest.goldens:
        if not set(golden.expect) <= set(names):
            yield f"goldens: {golden.file!r} expects something of a variant that is not there"
        if any(expectation.margin < 0 for expectation in golden.expect.values()):
            yield f"goldens: {golden.file!r} has a margin below zero"


def _contract_problems(manifest: Manifest) -> Iterator[str]:
    if not manifest.operating_point.accept <= manifest.operating_point.reject:
        yield "operating_point: accept must not be above reject"
    if _TASKS[manifest.task] != (type(manifest.input), type(manifest.output)):
        yield f"task: {manifest.task} does not go with this input or output"
    if isinstance(manifest.output, ClassOutput):
        classes = manifest.output.classes
        if len(set(classes)) != len(classes) or manifest.output.anomalous not in classes:
            yield f"output: classes must be there once each, and {manifest.output.anomalous!r} among them"
    if isinstance(manifest.input, ImageInput):
        yield from _image_problems(manifest.input)
    else:
        yield from _window_problems(manifest.input)


def _image_problems(contract: ImageInput) -> Iterator[str]:
    channels = 1 if contract.colour == "gray" else 3
    if not (len(contract.mean) == len(contract.std) == channels) or min(contract.std) <= 0:
        yield f"input: mean and std need {channels} values each, std above zero"
    if not (0 < contract.width <= _MAX_PIXELS and 0 < contract.height <= _MAX_PIXELS):
        yield f"input: width and height must lie between 1 and {_MAX_PIXELS}"
    if not 0 <= contract.pad_value <= 255:
        yield "input: pad_value is a grey level, 0 to 255"
    if contract.roi is not None and (min(contract.roi) < 0 or min(contract.roi[2:]) == 0):
        yield "input: roi is left, top, width and height in pixels, none below zero, width and height above"


def _window_problems(contract: WindowInput) -> Iterator[str]:
    spectrum = contract.features == "log-power-spectrum"
    size = contract.bands if spectrum else contract.length
    if not 2 <= contract.length <= _MAX_WINDOW or contract.rate_hz <= 0:
        yield f"input: length must lie between 2 and {_MAX_WINDOW}, rate_hz above zero"
    if spectrum and not 0 < contract.bands <= contract.length // 2:
        yield "input: bands must lie between 1 and half of length"
    if (
        len(contract.mean) not in (0, size)
        or len(contract.std) != len(contract.mean)
        or min(contract.std, default=1) <= 0
    ):
        yield f"input: mean and std need {size} values each or none, std above zero"
