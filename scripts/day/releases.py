"""The releases of the day, made of the bundle that the recipe built: one good, one careless, one with new weights.

What a publisher's machine would hold; nothing here signs or sends.
"""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from cloud_hub.factory.revision import revise, write_revision
from edge_protocol import bundle
from edge_protocol.bundle import ImageInput, Manifest, OperatingPoint

SHARE = 0.4
"""How far 1.1.0 moves the lower threshold towards the upper one: fewer good parts wait for a person."""

_NOTE = b"\x32\x09retrained"
"""ONNX's field for a description, appended: other bytes, the same answers."""


def good(source: Path, folder: Path) -> Path:
    """1.1.0: another threshold, the same files."""
    return _write(source, folder, "1.1.0", _moved)


def careless(source: Path, folder: Path) -> Path:
    """1.2.0: somebody changed the normalisation and did not make the goldens again."""
    return _write(source, folder, "1.2.0", _normalised_otherwise)


def retrained(source: Path, folder: Path) -> Path:
    """1.3.0: every ONNX file is new, so that gateways have to fetch it."""
    manifest, _ = bundle.load(source)
    files = {each.file: (source / each.file).read_bytes() + _NOTE for each in manifest.variants}
    write_revision(source, folder, revise(manifest, "1.3.0", manifest.operating_point), files)
    return folder


def _write(source: Path, folder: Path, version: str, change: Callable[[Manifest], Manifest]) -> Path:
    manifest, _ = bundle.load(source)
    write_revision(source, folder, replace(change(manifest), version=version))
    return folder


def _moved(manifest: Manifest) -> Manifest:
    point = manifest.operating_point
    accept = round(point.accept + SHARE * (point.reject - point.accept), 4)
    return revise(manifest, manifest.version, OperatingPoint(accept=accept, reject=point.reject))


def _normalised_otherwise(manifest: Manifest) -> Manifest:
    contract = manifest.input
    assert isinstance(contract, ImageInput)  # noqa: S101 (the demonstration's own model)
    return replace(manifest, input=replace(contract, mean=tuple(2 * each for each in contract.mean)))
