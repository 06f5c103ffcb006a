"""Bundle folders by digest, ready to be loaded: objects and a manifest come in, a folder of hard links is there.

A slot is whole or not there, after any cut. Never says which one runs: the `Ledger` does.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from edge_agent import durable
from edge_agent.updates.objects import Objects
from edge_protocol import bundle
from edge_protocol.bundle import MANIFEST, Manifest
from edge_protocol.errors import ManifestError


class Slots:
    """The slots in `folder`, made if it is not there. Belongs to one thread."""

    def __init__(self, folder: Path, objects: Objects, *, record: durable.Recorder | None = None) -> None:
        """Raises OSError: the folder cannot be made."""
        durable.make_folder(folder, record=record)
        self._folder = folder
        self._objects = objects
        self._record = record

    def path(self, digest: str) -> Path:
        """The folder of a bundle."""
        return self._folder / digest

    def has(self, digest: str) -> bool:
        """Whether it is there."""
        return bool(digest) and self.path(digest).is_dir()

    def make(self, manifest: bytes, names: Collection[str]) -> Path:
        """The slot of `manifest` with its files `names`, which are objects already.

        Raises:
            OSError: it could not be written; there is no such slot then.
        """
        path = self.path(bundle.digest(manifest))
        files = bundle.parse(manifest).files
        links = {name: self._objects.path(files[name].sha256) for name in names}
        if path.exists():
            # Of the same inodes: an object that was fetched anew, the disk had damaged it, is not in the old slot.
            if all(_same(path / name, linked) for name, linked in links.items()):
                return path
            durable.remove_folder(path, record=self._record)
        durable.write_folder(path, {MANIFEST: manifest}, links, record=self._record)
        return path

    def drop(self, digest: str) -> None:
        """Delete a slot."""
        if self.has(digest):
            durable.remove_folder(self.path(digest), record=self._record)

    def collect(self, keep: Collection[str]) -> set[str]:
        """Delete the slots that are not in `keep` and what a kill left; the objects that the others are made of."""
        for path in self._folder.iterdir():
            if path.name not in keep:
                durable.remove_folder(path, record=self._record)
        return {sha256 for digest in keep for sha256 in self._objects_of(digest)}

    def _objects_of(self, digest: str) -> Iterator[str]:
        yield digest
        manifest = self.manifest(digest)
        if manifest is not None:
            yield from (file.sha256 for file in manifest.files.values())

    def manifest(self, digest: str) -> Manifest | None:
        """The manifest of a slot; None if there is none, or none that can be read."""
        try:
            raw = (self.path(digest) / MANIFEST).read_bytes()
            return bundle.parse(raw) if bundle.digest(raw) == digest else None
        except (OSError, ManifestError):
            return None


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and path.samefile(other)
