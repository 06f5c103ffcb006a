"""A draft and what a person has filled in come in; what is still open, a golden, or a whole bundle goes out.

The model is loaded and asked by the very code of the gateway, in a copy: the draft stays one until it is finished.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cloud_hub.errors import FactoryError
from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.goldens import expectation
from cloud_hub.factory.newborn import open_points
from edge_agent.errors import InferenceError
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_protocol import bundle
from edge_protocol.bundle import MANIFEST, Golden, Manifest
from edge_protocol.errors import ManifestError
from edge_protocol.manifest import DRAFT

_GOLDENS = "goldens"


def still_open(folder: Path) -> list[tuple[str, str]]:
    """What is to be filled in, each with its place in the manifest."""
    return list(open_points(_read(folder)))


def add_golden(folder: Path, data: Path, verdict: str) -> Golden:
    """Judge an input as the gateway will, and keep it with what came out as a golden.

    Raises:
        FactoryError: something else is open, the model cannot be run, or it gives another verdict.
    """
    document = _read(folder)
    if left := [where for where, _ in open_points(document) if where != _GOLDENS]:
        message = f"{', '.join(left)}: still to be filled in"
        raise FactoryError(message, f"edit {folder / MANIFEST}; goldens come last")
    content = _content(data)
    with _loaded(folder, document) as (manifest, models):
        found = {name: selftest.trace(model, content) for name, model in models.items()}
        for name, each in found.items():
            if each.verdict != verdict:
                message = f"{data.name} is {each.verdict} with score {each.score:.4g} by {name}, not {verdict}"
                raise FactoryError(message, "look at normalisation, classes and thresholds, or choose another input")
        expect = {name: expectation(each, manifest.operating_point) for name, each in found.items()}
    golden = Golden(file=f"{_GOLDENS}/{data.name}", expect=expect)
    (folder / _GOLDENS).mkdir(exist_ok=True)
    (folder / golden.file).write_bytes(content)
    known = document[_GOLDENS] if isinstance(document[_GOLDENS], list) else []
    others = [each for each in known if each["file"] != golden.file]
    _write(folder, document | {_GOLDENS: [*others, msgspec.to_builtins(golden)]})
    return golden


def finish(folder: Path) -> Manifest:
    """Make the draft a bundle: prove it by its goldens, list its files, take the mark away.

    Raises:
        FactoryError: something is open, the model cannot be run, or a golden is not reproduced.
    """
    document = _read(folder)
    if left := [where for where, _ in open_points(document)]:
        message = f"{', '.join(left)}: still to be filled in"
        raise FactoryError(message, f"edit {folder / MANIFEST}")
    with _loaded(folder, document) as (manifest, models):
        for name, model in models.items():
            for difference in selftest.check(model, folder):
                message = f"{name}: {difference.golden} differs in {difference.stage}: {difference.detail}"
                raise FactoryError(message, "give the golden again with cloud-hub bundle golden")
    (folder / MANIFEST).write_bytes(bundle.canonical(manifest))
    return manifest


@contextmanager
def _loaded(folder: Path, document: dict[str, Any]) -> Iterator[tuple[Manifest, dict[str, Model]]]:
    """The manifest without the mark and the models of all its variants, from a copy."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files[MANIFEST]
    whole = document | {
        "requires": [feature for feature in document.get("requires", []) if feature != DRAFT],
        "files": {n: {"sha256": hashlib.sha256(c).hexdigest(), "length": len(c)} for n, c in sorted(files.items())},
        _GOLDENS: document[_GOLDENS] if isinstance(document.get(_GOLDENS), list) else [],
    }
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        try:
            manifest = write_bundle(Path(name) / "bundle", bundle.parse(json.dumps(whole).encode()), files)
            models = {v.name: Model.load(Path(name) / "bundle", variant=v.name) for v in manifest.variants}
            yield manifest, models
        except (ManifestError, InferenceError) as error:
            raise FactoryError(str(error), error.hint) from error


def _read(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        message = f"{folder / MANIFEST}: {error}"
        raise FactoryError(message, "cloud-hub bundle new MODEL.onnx writes one") from error
    if not isinstance(document, dict):
        message = f"{folder / MANIFEST} is no manifest"
        raise FactoryError(message, "cloud-hub bundle new MODEL.onnx writes one")
    return document


def _write(folder: Path, document: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _content(data: Path) -> bytes:
    try:
        return data.read_bytes()
    except OSError as error:
        message = f"{data}: {error.strerror}"
        raise FactoryError(message, "name a picture, or a window or tensor as .npy") from error
