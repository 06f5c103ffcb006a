"""What a model release is: one `manifest.json` and the files it names by SHA-256 and length. No archives.

The manifest alone says how an input becomes a tensor, how the outputs become a verdict and at which operating point.
Reading and checking only; making a bundle is `cloud_hub.factory`'s work.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from edge_protocol.contract import (
    AnomalyOutput,
    Bearing,
    ClassOutput,
    Constant,
    DetectionOutput,
    ImageInput,
    InputContract,
    OperatingPoint,
    OutputContract,
    RegressionOutput,
    SegmentationOutput,
    State,
    TensorInput,
    Vibration,
    WindowAnomalyOutput,
    WindowInput,
    Zone,
)
from edge_protocol.errors import ManifestError
from edge_protocol.manifest import (
    FEATURES,
    MANIFEST,
    SCHEMA,
    VARIANTS,
    Budget,
    Expectation,
    File,
    Golden,
    Head,
    Licence,
    Manifest,
    Trained,
    Variant,
    head_problems,
    problems,
)

__all__ = [
    "FEATURES",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "SCHEMA",
    "VARIANTS",
    "AnomalyOutput",
    "Bearing",
    "Budget",
    "ClassOutput",
    "Constant",
    "DetectionOutput",
    "Expectation",
    "File",
    "Golden",
    "ImageInput",
    "InputContract",
    "Licence",
    "Manifest",
    "OperatingPoint",
    "OutputContract",
    "RegressionOutput",
    "SegmentationOutput",
    "State",
    "TensorInput",
    "Trained",
    "Variant",
    "Vibration",
    "WindowAnomalyOutput",
    "WindowInput",
    "Zone",
    "canonical",
    "check_files",
    "digest",
    "load",
    "needed",
    "parse",
    "read",
    "runs",
    "why_not",
]

MAX_MANIFEST_BYTES = 1024 * 1024

_FOLDER_HINT = "a bundle is a folder with a manifest.json; scripts/build_models makes some"
_README_HINT = "compare it with the bundle section of edge_protocol/README.md"

T = TypeVar("T")


def digest(manifest: bytes) -> str:
    """The bundle's digest: SHA-256 of the manifest's bytes, hex. It fixes every file, for they are named by digest."""
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
        message = f"the manifest has {len(raw)} bytes or more, at most {MAX_MANIFEST_BYTES} are taken"
        raise ManifestError(message)
    # The head first: a later schema, or a feature that is not known here, would fail below for a less helpful reason.
    head = _decode(raw, Head)
    problem = next(head_problems(head), None)
    if problem is None:
        manifest = _decode(raw, Manifest)
        problem = next(problems(manifest), None)
    if problem is not None:
        message = f"{head.name[:64]!r} {head.version[:64]!r}: {problem}"
        raise ManifestError(message, _README_HINT)
    return manifest


def _decode(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        message = f"manifest.json: {error}"
        raise ManifestError(message, _README_HINT) from error


def needed(manifest: Manifest, variant: str) -> tuple[str, ...]:
    """The files a gateway needs to run `variant` and to prove it: its model, goldens, reference and card.

    Raises:
        ManifestError: there is no such variant.
    """
    names = (manifest.variant(variant).file, *(golden.file for golden in manifest.goldens))
    return tuple(dict.fromkeys(filter(None, (*names, manifest.reference, manifest.card))))


def runs(variant: Variant, arch: str, cpu_flags: Collection[str]) -> bool:
    """Whether a processor runs `variant` as it should: its architecture, and one of the flags it asks for.

    The provider is no condition: where it is not installed the processor runs the variant, and the gateway says so.
    """
    return (not variant.arch or arch in variant.arch) and (
        not variant.cpu_flags or not set(variant.cpu_flags).isdisjoint(cpu_flags)
    )


def why_not(manifest: Manifest, features: Collection[str], arch: str, cpu_flags: Collection[str]) -> str:
    """Why a gateway with these features and this processor cannot run the bundle; nothing when it can."""
    for feature in (manifest.task, *manifest.requires):
        if feature not in features and not feature.startswith("x-"):
            return f"it requires {feature}, which this gateway does not have"
    if not any(runs(variant, arch, cpu_flags) for variant in manifest.variants):
        names = ", ".join(variant.name for variant in manifest.variants)
        return f"it has no variant for this {arch or 'unknown'} processor, only {names}"
    return ""


def check_files(manifest: Manifest, folder: Path, names: Collection[str] | None = None) -> None:
    """Compare `folder` with what the manifest names: `names` of its files, or all, must be there as they should be.

    Raises:
        ManifestError: a file is missing, differs, or is there without being named.
    """
    for name in manifest.files if names is None else names:
        _check_file(manifest.files[name], folder, name)
    entries = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    present = {path.relative_to(folder).as_posix() for path in entries}
    if extra := sorted(present - set(manifest.files) - {MANIFEST}):
        message = f"{extra[0]} is in {folder} and not named by the manifest"
        raise ManifestError(message, "remove it, or make the bundle again")


def _check_file(file: File, folder: Path, name: str) -> None:
    path = folder / name
    inside = [path, *(folder / parent for parent in PurePosixPath(name).parents[:-1])]
    if any(part.is_symlink() for part in inside) or not path.is_file():
        message = f"{name} is named by the manifest and is not a file in {folder}"
        raise ManifestError(message, "copy the whole bundle folder again, without symbolic links")
    try:
        # The length first: a wrong file may be larger than the memory.
        same = path.stat().st_size == file.length
        if same:
            with path.open("rb") as content:
                same = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except OSError as error:
        message = f"{name} in {folder} cannot be read: {error.strerror}"
        raise ManifestError(message, "make the folder readable for this user") from error
    if not same:
        message = f"{name} is not the file that the manifest names"
        raise ManifestError(message, "the copy is damaged or was changed: fetch the bundle again")


def read(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a bundle folder, checked in itself, and the bundle's digest; `check_files` looks at the rest.

    Raises:
        ManifestError: no manifest there, or a wrong one.
    """
    try:
        with (folder / MANIFEST).open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        message = f"{folder} holds no bundle: {error.strerror}"
        raise ManifestError(message, _FOLDER_HINT) from error
    return parse(raw), digest(raw)


def load(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a bundle folder and the bundle's digest, all its files checked.

    Raises:
        ManifestError: no manifest there, a wrong one, or files that differ from it.
    """
    manifest, found = read(folder)
    check_files(manifest, folder)
    return manifest, found
