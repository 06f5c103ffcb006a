from pathlib import Path

from edge_agent.updates.objects import Objects
from edge_agent.updates.slots import Slots
from edge_protocol import bundle
from tests.edge_agent.updates.releases import Release, good


def put(store: Objects, made: Release) -> None:
    """All its objects."""
    for sha256, content in made.objects.items():
        store.write(sha256, len(content), 0, content)
        store.finish(sha256)


def test_a_slot_is_a_bundle_of_links(tmp_path: Path) -> None:
    """It passes the check of a bundle folder, takes no room of its own, and is made once."""
    store, made = Objects(tmp_path / "objects"), good("1.1.0")
    slots = Slots(tmp_path / "slots", store)
    put(store, made)

    path = slots.make(made.manifest, made.files)
    again = slots.make(made.manifest, made.files)

    manifest, digest = bundle.load(path)
    assert (path, digest) == (again, made.digest)
    assert all((path / name).samefile(store.path(manifest.files[name].sha256)) for name in made.files)
    assert slots.manifest(made.digest) == manifest


def test_a_slot_of_a_damaged_object_is_made_anew(tmp_path: Path) -> None:
    """The disk changed a file, its object was fetched again: the slot is of the new one."""
    store, made = Objects(tmp_path / "objects"), good("1.1.0")
    slots = Slots(tmp_path / "slots", store)
    put(store, made)
    path = slots.make(made.manifest, made.files)
    (path / "fp32.onnx").write_bytes(b"noise")
    sha256 = bundle.parse(made.manifest).files["fp32.onnx"].sha256
    damaged = store.check(sha256)
    put(store, made)

    slots.make(made.manifest, made.files)

    assert not damaged
    assert bundle.load(path)[1] == made.digest


def test_what_no_pipeline_needs_goes_with_its_objects(tmp_path: Path) -> None:
    """Slots that are not named are deleted, drafts of a cut too; the objects of the others are told."""
    store, old, new = Objects(tmp_path / "objects"), good("1.1.0"), good("1.2.0")
    slots = Slots(tmp_path / "slots", store)
    for made in (old, new):
        put(store, made)
        slots.make(made.manifest, made.files)
    (tmp_path / "slots" / ".draft.new").mkdir()

    store.collect(slots.collect({new.digest}))

    assert [path.name for path in (tmp_path / "slots").iterdir()] == [new.digest]
    assert {path.name for path in (tmp_path / "objects").iterdir()} == set(new.objects)
