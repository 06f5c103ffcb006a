"""The catalogue: bundles that do not change."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from cloud_hub.access.audit import Actor
from cloud_hub.clock import FixedClock
from cloud_hub.errors import CatalogueError
from cloud_hub.monitoring.views import reference_of
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import audit
from cloud_hub.updates import catalogue
from cloud_hub.updates.catalogue import Release
from edge_protocol import bundle
from edge_protocol.bundle import ClassOutput, File, Manifest, OperatingPoint, Variant, WindowInput
from edge_protocol.counters import Reference, make_signal

REFERENCE = Reference((make_signal("rms", np.random.default_rng(1).normal(size=500)),))
FILES = {"model.onnx": b"not a model, which is not the catalogue's business", "card.md": b"# A card"}


def write_bundle(folder: Path, version: str = "1.0.0", *, threshold: float = 0.5) -> bytes:
    """A small bundle; answers with its manifest."""
    contents = {**FILES, "reference.json": REFERENCE.canonical()}
    manifest = Manifest(
        schema=1, name="engine-fault", version=version, task="window-classification",
        input=WindowInput(tensor="x", length=500, rate_hz=1000.0),
        output=ClassOutput(classes=("ok", "fault"), anomalous=("fault",)),
        operating_point=OperatingPoint(accept=threshold, reject=threshold),
        variants=(Variant(name="fp32", file="model.onnx"),), reference="reference.json", card="card.md",
        files={name: File(hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in contents.items()},
    )  # fmt: skip
    folder.mkdir(parents=True)
    for name, raw in contents.items():
        (folder / name).write_bytes(raw)
    raw = bundle.canonical(manifest)
    (folder / bundle.MANIFEST).write_bytes(raw)
    return raw


class Shelf:
    """A catalogue to add to."""

    def __init__(self, database: Database, objects: Objects, clock: FixedClock) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock

    def add(self, folder: Path) -> Release:
        """Add a bundle."""
        with self.database.writing() as connection:
            return catalogue.add(connection, self.objects, folder, Actor("me", "a test"), self.clock.wall_us())

    def all(self) -> list[Release]:
        """What is in it."""
        with self.database.reading() as connection:
            return catalogue.releases(connection)


@pytest.fixture
def shelf(database: Database, tmp_path: Path, clock: FixedClock) -> Shelf:
    """An empty catalogue."""
    return Shelf(database, Objects.open(tmp_path / "objects"), clock)


def test_a_bundle_is_kept_file_by_file(shelf: Shelf, tmp_path: Path) -> None:
    """
    Manifest and files lie in the store by digest, the release names them, the reference is ready to judge by.
    """
    raw = write_bundle(tmp_path / "bundle")

    release = shelf.add(tmp_path / "bundle")

    assert release.digest == bundle.digest(raw)
    assert shelf.objects.get(release.digest) == raw
    assert shelf.objects.get(release.card) == FILES["card.md"]
    assert all(shelf.objects.has(hashlib.sha256(content).hexdigest()) for content in FILES.values())
    with shelf.database.reading() as connection:
        assert reference_of(connection, release.reference) == REFERENCE
        row = connection.execute(select(audit.c.action, audit.c.subject, audit.c.actor)).one()
    assert tuple(row) == ("bundle added", "engine-fault 1.0.0", "me")


def test_the_same_bundle_twice_is_once(shelf: Shelf, tmp_path: Path) -> None:
    """
    Adding again changes nothing but puts back what the store lost.
    """
    write_bundle(tmp_path / "bundle")
    first = shelf.add(tmp_path / "bundle")
    (tmp_path / "objects" / first.digest[:2] / first.digest).unlink()

    assert shelf.add(tmp_path / "bundle") == first
    assert shelf.all() == [first]
    assert shelf.objects.has(first.digest)


def test_a_release_never_changes(shelf: Shelf, tmp_path: Path) -> None:
    """
    The same name and version with other content is refused; another version is another release.
    """
    write_bundle(tmp_path / "one")
    write_bundle(tmp_path / "other", threshold=0.7)
    write_bundle(tmp_path / "next", "1.0.1", threshold=0.7)
    shelf.add(tmp_path / "one")

    with pytest.raises(CatalogueError) as caught:
        shelf.add(tmp_path / "other")
    assert "another version" in caught.value.hint
    shelf.add(tmp_path / "next")

    assert [release.version for release in shelf.all()] == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize("damage", ["no manifest", "a changed file", "an extra file", "a bad reference"])
def test_what_is_no_bundle_is_refused_with_a_cure(shelf: Shelf, tmp_path: Path, damage: str) -> None:
    """
    A folder that is not exactly what its manifest says is not taken, and nothing of it is kept.
    """
    folder = tmp_path / "bundle"
    manifest = msgspec.json.decode(write_bundle(folder))
    if damage == "no manifest":
        (folder / bundle.MANIFEST).unlink()
    elif damage == "a changed file":
        (folder / "model.onnx").write_bytes(b"evil")
    elif damage == "an extra file":
        (folder / "extra").write_bytes(b"x")
    else:
        (folder / "reference.json").write_bytes(b"{}")
        manifest["files"]["reference.json"] = {"sha256": hashlib.sha256(b"{}").hexdigest(), "length": 2}
        (folder / bundle.MANIFEST).write_bytes(msgspec.json.encode(manifest))

    with pytest.raises(CatalogueError) as caught:
        shelf.add(folder)

    assert caught.value.hint
    assert shelf.all() == []
    assert list((tmp_path / "objects").iterdir()) == []
