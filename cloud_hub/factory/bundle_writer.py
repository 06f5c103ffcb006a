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
    check_place(folder, manifest.name, manifest.version)
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


class _Named(msgspec.Struct, frozen=True):
    """The release of a manifest, also of one that an older contract described: such a build is made anew."""

    name: str
    version: str


def check_place(folder: Path, name: str, version: str) -> None:
    """See that a release may be written to `folder`.

    Raises:
        FactoryError: something is there that is not an earlier build of the same release.
    """
    if not folder.exists():
        return
    try:
        present = msgspec.json.decode((folder / bundle.MANIFEST).read_bytes(), type=_Named)
    except (OSError, msgspec.MsgspecError) as error:
        message = f"{folder} is there and holds no bundle"
        raise FactoryError(message, "remove it, or build to another --out") from error
    if (present.name, present.version) != (name, version):
        message = f"{folder} holds {present.name} {present.version}, not {name} {version}"
        raise FactoryError(message, "move it away: a release is never overwritten by another")
