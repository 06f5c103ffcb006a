"""A bundle is what its manifest says, or it is refused with the field and the cure."""

import copy
import hashlib
import json
from pathlib import Path

import pytest

from edge_protocol import bundle
from edge_protocol.contract import TASKS
from edge_protocol.errors import ManifestError

FILES = {"model.fp32.onnx": b"onnx", "goldens/good-1.png": b"png", "reference.json": b"{}", "card.md": b"# card"}

IMAGE = {
    "schema": 1,
    "name": "surface-anomaly",
    "version": "1.2.0",
    "task": "image-anomaly",
    "input": {"kind": "image", "tensor": "image", "width": 224, "height": 224, "roi": [0, 0, 640, 480]},
    "output": {"kind": "image-anomaly"},
    "operating_point": {"accept": 1.0, "reject": 2.0},
    "variants": [{"name": "fp32", "file": "model.fp32.onnx", "cpu_flags": ["avx2"], "arch": ["x86_64"]}],
    "files": {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "length": len(content)} for name, content in FILES.items()
    },
    "goldens": [{"file": "goldens/good-1.png", "expect": {"fp32": {"verdict": "OK", "score": 0.5, "margin": 0.5}}}],
    "reference": "reference.json",
    "card": "card.md",
    "requires": ["image-anomaly", "area-pyramid", "x-anything"],
    "licences": [{"what": "backbone", "licence": "Apache-2.0"}],
    "lineage": {"recipe": "models/surface-anomaly"},
}
WINDOW = {
    **IMAGE,
    "task": "window-classification",
    "input": {
        "kind": "window", "tensor": "window", "length": 500, "rate_hz": 500.0, "bands": 2, "mean": [0, 1], "std": [1, 2]
    },
    "output": {"kind": "classification", "classes": ["good", "fault"], "anomalous": ["fault"]},
}  # fmt: skip


def _raw(manifest: dict) -> bytes:
    return json.dumps(manifest).encode()


def _broken(manifest: dict, path: str, value: object) -> bytes:
    """The manifest with the value at `path` (keys and places, slashes between) replaced, or removed if None."""
    changed = copy.deepcopy(manifest)
    *way, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    place = changed
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return _raw(changed)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A bundle on disk."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / bundle.MANIFEST).write_bytes(_raw(IMAGE))
    return tmp_path


@pytest.mark.parametrize("manifest", [IMAGE, WINDOW], ids=["image", "window"])
def test_a_manifest_comes_back_from_its_canonical_bytes(manifest):
    """A manifest written by us is read to the same manifest, and written again to the same bytes."""
    found = bundle.parse(_raw(manifest))

    raw = bundle.canonical(found)

    assert bundle.parse(raw) == found
    assert bundle.canonical(bundle.parse(raw)) == raw
    assert bundle.digest(raw) == hashlib.sha256(raw).hexdigest()


def test_unknown_fields_are_ignored():
    """What must be understood stands in `requires`; the rest may grow."""
    later = {**IMAGE, "x-later": {"deep": [1]}, "input": {**IMAGE["input"], "gamma": 2.2}}

    assert bundle.parse(_raw(later)) == bundle.parse(_raw(IMAGE))


RULES = [
    ("schema", None, "schema"),
    ("schema", 2, "schema"),
    ("name", "Surface", "name"),
    ("name", "-a", "name"),
    ("name", "a" * 65, "name"),
    ("version", "1.2", "version"),
    ("version", "01.2.0", "version"),
    ("requires", ["time-travel"], "requires"),
    ("task", "window-classification", "task"),
    ("task", "telepathy", "task"),
    ("output", {"kind": "classification", "classes": ["a"], "anomalous": ["a"]}, "task"),
    ("operating_point/accept", 3.0, "operating_point"),
    ("operating_point/accept", "low", "operating_point"),
    ("operating_point", None, "operating_point"),
    ("variants", [], "variants"),
    ("variants/0/name", "fp64", "variants"),
    ("variants", [IMAGE["variants"][0]] * 2, "variants"),
    ("variants/0/file", "", "variants"),
    ("variants/0/file", "model.onnx", "variants"),
    ("files/model.fp32.onnx", None, "variants"),
    ("files/model.fp32.onnx/sha256", "AB" * 32, "files"),
    ("files/model.fp32.onnx/sha256", "ab", "files"),
    ("files/model.fp32.onnx/length", -1, "files"),
    ("goldens/0/file", "other.png", "goldens"),
    ("goldens/0/expect", {"u8s8-vnni": {"verdict": "OK", "score": 0.5, "margin": 0.5}}, "goldens"),
    ("goldens/0/expect/fp32/margin", -1, "goldens"),
    ("goldens/0/expect/fp32/verdict", "UNINSPECTED", "goldens"),
    ("reference", "other.json", "reference"),
    ("card", "other.md", "card"),
    ("budget", {"rss_mb": 0}, "budget"),
    ("budget", {"latency_ms": -1}, "budget"),
    ("retention_days", -1, "retention_days"),
    ("capture", "always", "capture"),
    ("input/mean", [0.0], "input"),
    ("input/std", [1.0, 0.0, 1.0], "input"),
    ("input/std", [1.0, -1.0, 1.0], "input"),
    ("input/colour", "gray", "input"),
    ("input/width", 0, "input"),
    ("input/height", 9000, "input"),
    ("input/pad_value", 256, "input"),
    ("input/roi", [0, -1, 10, 10], "input"),
    ("input/roi", [0, 0, 10, 0], "input"),
    ("input/roi", [0, 0, 10], "input"),
    ("input/layout", "hwcn", "input"),
    ("input/kind", "smell", "input"),
]
WINDOW_RULES = [
    ("input/length", 1, "input"),
    ("input/length", 2**21, "input"),
    ("input/rate_hz", 0, "input"),
    ("input/bands", 0, "input"),
    ("input/bands", 251, "input"),
    ("input/mean", [0.0], "input"),
    ("input/std", [1.0], "input"),
    ("input/std", [1.0, 0.0], "input"),
    ("output/anomalous", ["odd"], "output"),
    ("output/classes", ["fault", "fault"], "output"),
    ("task", "image-anomaly", "task"),
]


@pytest.mark.parametrize(
    ("manifest", "path", "value", "field"),
    [(IMAGE, *rule) for rule in RULES] + [(WINDOW, *rule) for rule in WINDOW_RULES],
)
def test_each_broken_rule_is_named(manifest, path, value, field):
    """Each rule, broken alone, is refused with the name of the field in the message."""
    with pytest.raises(ManifestError, match=field) as caught:
        bundle.parse(_broken(manifest, path, value))

    assert caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc/passwd", "a/../b", "a//b", "a/", "a\\b", "a\0b", "a b", ".hidden", "manifest.json"],
)
def test_a_file_name_that_could_leave_the_folder_is_refused(name):
    """A file of a bundle lies inside it under a plain name."""
    files = {**IMAGE["files"], name: {"sha256": "ab" * 32, "length": 1}}

    with pytest.raises(ManifestError, match="files"):
        bundle.parse(_raw({**IMAGE, "files": files}))


def test_raw_windows_need_no_bands():
    """The rule about bands is one of the spectrum alone."""
    window = {"kind": "window", "tensor": "x", "length": 10, "rate_hz": 1.0, "features": "raw"}

    assert bundle.parse(_raw({**WINDOW, "input": window})).input.length == 10


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", _raw(IMAGE).replace(b"1.0", b"1e999", 1)]
)
def test_what_is_no_manifest_is_refused(raw):
    """Nesting, wrong encodings and numbers beyond floats end in a ManifestError."""
    with pytest.raises(ManifestError):
        bundle.parse(raw)


def test_a_huge_manifest_is_refused_for_its_size(folder):
    """Above the limit nothing is parsed, from memory or from a folder."""
    raw = b" " * (bundle.MAX_MANIFEST_BYTES + 1)
    (folder / bundle.MANIFEST).write_bytes(raw)

    for read in (lambda: bundle.parse(raw), lambda: bundle.load(folder)):
        with pytest.raises(ManifestError, match="at most"):
            read()


def test_a_later_schema_is_named_even_when_nothing_else_fits():
    """The reader learns that it must be updated, not that some field has an odd type."""
    with pytest.raises(ManifestError, match="schema: 9"):
        bundle.parse(b'{"schema": 9, "input": [1, 2, 3]}')


def test_a_whole_folder_loads(folder):
    """A folder whose files are those of the manifest gives the manifest and the bundle's digest."""
    manifest, digest = bundle.load(folder)

    assert manifest.variant("fp32").file == "model.fp32.onnx"
    assert digest == bundle.digest(_raw(IMAGE))


def test_a_bundle_may_be_reached_by_a_link(folder, tmp_path_factory):
    """The folder itself may be a symbolic link: only what lies in it may not."""
    link = tmp_path_factory.mktemp("slots") / "current"
    link.symlink_to(folder)

    assert bundle.load(link) == bundle.load(folder)


def test_an_unknown_variant_is_refused_with_those_there_are(folder):
    """Asking for a variant that is not there tells which are."""
    with pytest.raises(ManifestError) as caught:
        bundle.load(folder)[0].variant("s8s8-arm")

    assert "fp32" in caught.value.hint


def _replace_by_link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def _move_folder_behind_a_link(path: Path) -> None:
    target = path.parent.parent / "goldens-elsewhere"
    path.parent.rename(target)
    path.parent.symlink_to(target)


DAMAGE = {
    "missing": Path.unlink,
    "shorter": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "another of the same length": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link": _replace_by_link,
    "behind a link": _move_folder_behind_a_link,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named(folder, damage):
    """A file that is missing, changed or not a file of the folder is refused by its name, with a cure."""
    damage(folder / "goldens/good-1.png")

    with pytest.raises(ManifestError, match=r"goldens/good-1\.png") as caught:
        bundle.load(folder)

    assert caught.value.hint


@pytest.mark.parametrize("kind", ["file", "hidden", "deep", "link to a file", "link to a folder"])
def test_what_the_manifest_does_not_name_is_refused(folder, kind):
    """Nothing lies in a bundle that its digest does not fix."""
    names = {"hidden": ".extra", "deep": "goldens/extra"}
    extra = folder / names.get(kind, "extra")
    if kind.startswith("link"):
        extra.symlink_to(folder / "card.md" if kind == "link to a file" else folder / "goldens")
    else:
        extra.write_bytes(b"")

    with pytest.raises(ManifestError, match="extra"):
        bundle.load(folder)


def test_a_folder_without_a_bundle_says_what_one_is(tmp_path):
    """A folder without a manifest, or no folder at all, is refused with a hint."""
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ManifestError, match="no bundle") as caught:
            bundle.load(place)
        assert bundle.MANIFEST in caught.value.hint


def test_every_feature_a_contract_can_name_is_one_that_can_be_required():
    """`requires` can say every task and every special step a manifest of this schema knows."""
    tasks = list(TASKS)

    assert set(tasks) <= bundle.FEATURES
