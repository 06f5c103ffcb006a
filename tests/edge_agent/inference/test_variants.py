from pathlib import Path

import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference import variants
from edge_agent.inference.tuning import Plan
from edge_agent.inference.variants import candidates, choose_variant, settle
from edge_protocol.bundle import Variant
from edge_protocol.codes import Reason
from tests.edge_agent.inference import small_bundles

VNNI = Variant(name="u8s8-vnni", file="a", arch=("x86_64",), cpu_flags=("avx512_vnni", "avx_vnni"))
SEVEN_BIT = Variant(name="u8s8-7bit", file="b", arch=("x86_64",))
ARM = Variant(name="s8s8-arm", file="c", arch=("aarch64",))
FLOAT = Variant(name="fp32", file="d")


@pytest.mark.parametrize(
    ("arch", "flags", "chosen"),
    [
        ("x86_64", {"avx2", "avx512_vnni"}, "u8s8-vnni"),
        ("x86_64", {"avx2", "avx_vnni"}, "u8s8-vnni"),
        ("x86_64", {"avx2"}, "u8s8-7bit"),
        ("x86_64", set(), "u8s8-7bit"),
        ("aarch64", {"asimd", "asimddp"}, "s8s8-arm"),
        ("riscv64", set(), "fp32"),
    ],
)
def test_the_variant_fits_the_processor(arch: str, flags: set[str], chosen: str) -> None:
    """By architecture and flags, whatever the order in the manifest; anything else gets single precision."""
    for offered in ((VNNI, SEVEN_BIT, ARM, FLOAT), (FLOAT, ARM, SEVEN_BIT, VNNI)):
        manifest = small_bundles.image_manifest(variants=offered)
        assert choose_variant(manifest, frozenset(flags), arch).name == chosen


def test_a_bundle_without_a_variant_for_this_processor_is_refused() -> None:
    """Where nothing fits, the error names what the bundle has."""
    manifest = small_bundles.image_manifest(variants=(ARM,))

    with pytest.raises(InferenceError) as caught:
        choose_variant(manifest, frozenset(), "x86_64")

    assert caught.value.reason is Reason.NO_MODEL
    assert "s8s8-arm" in caught.value.hint


CARELESS = tuple(Variant(name=name, file=name) for name in ("s8s8-arm", "u8s8-vnni", "u8s8-7bit", "fp32"))
"""Variants whose manifest says nothing of the processor."""


@pytest.mark.parametrize(
    ("arch", "flags", "names"),
    [
        ("x86_64", {"avx2", "avx512_vnni"}, ["u8s8-vnni", "u8s8-7bit", "fp32"]),
        ("x86_64", {"avx2"}, ["u8s8-7bit", "fp32"]),
        ("x86_64", set(), ["u8s8-7bit", "fp32"]),
        ("aarch64", {"asimd"}, ["s8s8-arm", "fp32"]),
        ("riscv64", set(), ["fp32"]),
    ],
)
def test_signed_activations_are_never_for_x86_nor_eight_bits_without_vnni(
    arch: str, flags: set[str], names: list[str]
) -> None:
    """What a variant's name promises holds, even where its manifest would let every processor run it."""
    manifest = small_bundles.image_manifest(variants=CARELESS)

    assert [each.name for each in candidates(manifest, frozenset(flags), arch)] == names


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with AVX2 and no more."""
    monkeypatch.setattr(variants, "cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(variants, "architecture", lambda: "x86_64")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("files", "wanted", "plan", "settled"),
    [
        ("bd", "", None, Plan("u8s8-7bit")),
        ("d", "", None, Plan("fp32")),
        ("", "", None, Plan("u8s8-7bit")),
        ("bd", "", Plan("fp32", 2), Plan("fp32", 2)),
        ("b", "", Plan("fp32", 2), Plan("u8s8-7bit")),
        ("abcd", "", Plan("u8s8-vnni", 2), Plan("u8s8-7bit")),
        ("bd", "fp32", Plan("u8s8-7bit", 2), Plan("fp32")),
        ("bd", "fp32", Plan("fp32", 2), Plan("fp32", 2)),
    ],
)
def test_what_runs_is_wanted_or_planned_or_the_first_that_is_there(
    tmp_path: Path, files: str, wanted: str, plan: Plan | None, settled: Plan
) -> None:
    """A configured variant before a measured plan before the flags; a plan for what is not there counts for nothing."""
    for name in files:
        (tmp_path / name).touch()
    manifest = small_bundles.image_manifest(variants=(VNNI, SEVEN_BIT, ARM, FLOAT))

    assert settle(manifest, tmp_path, wanted, plan) == settled
