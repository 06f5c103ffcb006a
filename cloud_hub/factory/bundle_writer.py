"""A manifest and the contents of its files come in, a bundle's folder goes out, whole or not at all."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cloud_hub.errors import FactoryError
from edge_protocol import bundle
from edge_protocol.bundle import File, Manifest
from edge_protocol.errors import ManifestError


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Write a bundle to `folder`, replacing one of the same name and version; the manifest with its files listed.

    Raises:
        FactoryError: something else is there, or the manifest breaks a rule.
    """
    listed = {name: File(hashlib.sha256(content).hexdigest(), len(content)) for name, content in sorted(files.items())}
    complete = msgspec.structs.replace(manifest, files=listed)
    draft = folder.with_name(f".{folder.name}.new")
    _check_place(folder, complete)
    shutil.rmtree(draft, ignore_errors=True)
    for name, content in {**files, bundle.MANIFEST: bundle.canonical(complete)}.items():
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        bundle.load(draft)
    except ManifestError as error:
        shutil.rmtree(draft)
        raise FactoryError(str(error), error.hint) from error
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return complete


def _check_place(folder: Path, manifest: Manifest) -> None:
    if not folder.exists():
        return
    try:
        present = bundle.parse((folder / bundle.MANIFEST).read_bytes())
    except (OSError, ManifestError) as error:
        message = f"{folder} is there and holds no bundle"
        raise FactoryError(message, "remove it, or build to another --out") from error
    if (present.name, present.version) != (manifest.name, manifest.version):
        message = f"{folder} holds {present.name} {present.version}, not {manifest.name} {manifest.version}"
        raise FactoryError(message, "move it away: a release is never overwritten by another")
