"""A gateway takes of a bundle what it runs, and says before anything moves why it cannot run it."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from edge_protocol import bundle
from edge_protocol.bundle import AnomalyOutput, File, Golden, ImageInput, Manifest, OperatingPoint, Variant
from edge_protocol.errors import ManifestError

VNNI = Variant(name="u8s8-vnni", file="vnni.onnx", cpu_flags=("avx512_vnni", "avx_vnni"), arch=("x86_64",))
ARM = Variant(name="s8s8-arm", file="arm.onnx", arch=("aarch64",))
FP32 = Variant(name="fp32", file="fp32.onnx")
NAMES = ("vnni.onnx", "arm.onnx", "fp32.onnx", "goldens/1.png", "reference.json", "card.md", "notes.txt")


def make(*variants: Variant, **changes) -> Manifest:
    """A manifest with these variants; each file holds its own name."""
    files = {name: File(hashlib.sha256(name.encode()).hexdigest(), len(name)) for name in NAMES}
    manifest = Manifest(
        schema=1,
        name="surface",
        version="1.0.0",
        task="image-anomaly",
        input=ImageInput(tensor="image", width=8, height=8),
        output=AnomalyOutput(),
        operating_point=OperatingPoint(accept=1.0, reject=2.0),
        variants=variants or (VNNI, ARM, FP32),
        files=files,
        goldens=(Golden(file="goldens/1.png", expect={}), Golden(file="goldens/1.png", expect={})),
        reference="reference.json",
        card="card.md",
        requires=("image-anomaly", "x-later"),
    )
    return msgspec.structs.replace(manifest, **changes)


def lay(folder: Path, names) -> Path:
    """A folder with these files of `make`'s bundle."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / bundle.MANIFEST).write_bytes(bundle.canonical(make()))
    return folder


def test_a_gateway_needs_its_variant_and_what_proves_it():
    """The chosen model, goldens, reference and card, each once; nothing of the other variants."""
    assert bundle.needed(make(), "s8s8-arm") == ("arm.onnx", "goldens/1.png", "reference.json", "card.md")
    assert bundle.needed(make(goldens=(), reference="", card=""), "fp32") == ("fp32.onnx",)
    with pytest.raises(ManifestError, match="no variant"):
        bundle.needed(make(FP32), "s8s8-arm")


def test_what_is_not_needed_need_not_be_there(tmp_path):
    """A folder with the needed files passes; one of them missing or changed does not; all of them is the default."""
    needed = bundle.needed(make(), "fp32")
    folder = lay(tmp_path, needed)

    bundle.check_files(make(), folder, needed)

    with pytest.raises(ManifestError, match=r"vnni\.onnx"):
        bundle.check_files(make(), folder)
    (folder / "fp32.onnx").write_text("FP32.onnx")
    with pytest.raises(ManifestError, match=r"fp32\.onnx"):
        bundle.check_files(make(), folder, needed)


def test_what_the_manifest_does_not_name_is_refused_even_if_little_is_needed(tmp_path):
    """A folder with needed files and one that no digest fixes is no bundle."""
    folder = lay(tmp_path, ["fp32.onnx", "more.onnx"])

    with pytest.raises(ManifestError, match=r"more\.onnx"):
        bundle.check_files(make(), folder, ["fp32.onnx"])


@pytest.mark.parametrize(
    ("variant", "arch", "flags", "expect"),
    [
        (FP32, "x86_64", (), True),
        (FP32, "", (), True),
        (VNNI, "x86_64", ("avx_vnni",), True),
        (VNNI, "x86_64", ["sse", "avx512_vnni"], True),
        (VNNI, "x86_64", ("avx2",), False),
        (VNNI, "x86_64", (), False),
        (VNNI, "aarch64", ("avx_vnni",), False),
        (ARM, "aarch64", frozenset(), True),
        (msgspec.structs.replace(FP32, provider="CUDAExecutionProvider"), "x86_64", (), True),
    ],
)
def test_a_variant_runs_where_its_processor_is(variant, arch, flags, expect):
    """One architecture and one flag of those listed; none where the list is empty; whatever the provider."""
    assert bundle.runs(variant, arch, flags) is expect


def test_a_bundle_that_cannot_run_says_why():
    """The first missing feature by name, or the processor; nothing when it runs; `x-` asks for nothing."""
    features = ("image-anomaly", "area-pyramid")
    demanding = make(requires=("area-pyramid", "thermal"))

    assert bundle.why_not(make(), features, "riscv64", ()) == ""
    assert "thermal" in bundle.why_not(demanding, features, "x86_64", ())
    assert "image-anomaly" in bundle.why_not(make(requires=()), (), "x86_64", ())
    assert "aarch64" in bundle.why_not(make(VNNI), features, "aarch64", ())
