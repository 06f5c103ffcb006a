"""What a model release says of itself: every field of `manifest.json` as a typed struct, and the rules they keep.

Pure data: reading, digests and files are `bundle`'s.
"""

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from edge_protocol.contract import TASKS, Constant, InputContract, OperatingPoint, OutputContract, State
from edge_protocol.contract_rules import feed_problems, point_problems, suit_problems, task_problems
from edge_protocol.errors import ManifestError

SCHEMA = 1
MANIFEST = "manifest.json"
FEATURES = frozenset({*TASKS, "area-pyramid", "log-power-spectrum", "vibration", "states"})
"""What a manifest of this schema may require of a gateway; anything else is refused by name."""

DRAFT = "draft"
"""What a manifest requires in which things are still to be filled in: no side has it."""

VARIANTS = frozenset({"fp32", "u8s8-vnni", "u8s8-7bit", "s8s8-arm"})

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MAX_FILE_NAME = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


class File(msgspec.Struct, frozen=True):
    """A file of the bundle by content."""

    sha256: str
    length: int


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant says of a golden: the verdict, the score, and probe values after each stage of the pipeline.

    `margin` is the distance of the score to the nearest threshold; a gateway's score may differ by a quarter of it.
    `stages` maps decode, geometry, normalise and engine to a few values at fixed places (`inference` says which).
    """

    verdict: Literal["OK", "NG", "REVIEW"]
    score: float
    margin: float
    stages: dict[str, tuple[float, ...]] = {}


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What the trainer's own framework says of a golden, by a path that is not the gateway's: of any variant.

    `framework` names what computed it, with its version and what it was given.
    """

    score: float
    tolerance: float
    framework: str


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """An input with known answers, raw as the source would deliver it: a picture's or a .npy window's bytes."""

    file: str
    expect: dict[str, Expectation]
    trained: Trained | None = None


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


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A model release. Unknown fields are ignored; what must be understood stands in `requires`."""

    schema: int
    name: str
    version: str
    task: str
    input: InputContract
    output: OutputContract
    operating_point: OperatingPoint
    variants: tuple[Variant, ...]
    files: dict[str, File]
    states: tuple[State, ...] = ()
    constants: tuple[Constant, ...] = ()
    dimensions: dict[str, int] = {}
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
    if DRAFT in head.requires:
        yield "requires: this is a draft; cloud-hub bundle check says what is to be filled in, and finishes it"
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
    if manifest.task in TASKS:
        yield from task_problems(manifest.task, manifest.input, manifest.output)
    else:
        yield f"task: {manifest.task[:64]!r} is not known here; there is {', '.join(TASKS)}"
    yield from point_problems(manifest.operating_point)
    yield from suit_problems(manifest.operating_point, manifest.output)
    yield from feed_problems(manifest.states, manifest.constants)
    if any(side < 1 for side in manifest.dimensions.values()):
        yield "dimensions: each needs a whole number above zero"
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
        if golden.trained is not None and golden.trained.tolerance < 0:
            yield f"goldens: {golden.file!r} has a tolerance below zero"
