"""Which variants of a bundle a processor runs as they should, the fastest first.

What a variant's name promises holds whatever its manifest says of the processor: integers of eight bits without VNNI
overflow on x86, and signed activations leave half of a network in float there.
"""

from pathlib import Path

from edge_agent.errors import InferenceError
from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.tuning import Plan
from edge_protocol.bundle import Manifest, Variant, runs
from edge_protocol.codes import Reason

FLOAT = "fp32"
VNNI = frozenset(("avx512_vnni", "avx_vnni"))

_ORDER = ("u8s8-vnni", "u8s8-7bit", "s8s8-arm", FLOAT)
_ARCH = {"u8s8-vnni": "x86_64", "u8s8-7bit": "x86_64", "s8s8-arm": "aarch64"}


def candidates(manifest: Manifest, flags: frozenset[str], arch: str) -> tuple[Variant, ...]:
    """The variants for this processor, the one to try first in front."""
    fitting = [each for each in manifest.variants if runs(each, arch, flags) and _keeps_its_promise(each, flags, arch)]
    return tuple(sorted(fitting, key=lambda variant: _ORDER.index(variant.name)))


def choose_variant(manifest: Manifest, flags: frozenset[str], arch: str) -> Variant:
    """The fastest variant that this processor runs as it should: by architecture and one of its flags.

    Raises:
        InferenceError: NO_MODEL: the bundle has none for this processor.
    """
    for variant in candidates(manifest, flags, arch):
        return variant
    message = f"{manifest.name} {manifest.version} has no variant for this {arch} processor"
    raise InferenceError(message, f"it has {', '.join(v.name for v in manifest.variants)}", Reason.NO_MODEL)


def settle(manifest: Manifest, folder: Path, wanted: str, plan: Plan | None) -> Plan:
    """How the bundle in `folder` runs here: the variant that is wanted, planned, or the first for this processor.

    A gateway fetches only what it runs: of the variants that suit, the first whose file is there is meant.

    Raises:
        InferenceError: NO_MODEL: the bundle has none for this processor.
        ManifestError: there is no such variant.
    """
    if wanted:
        manifest.variant(wanted)
        return plan if plan is not None and plan.variant == wanted else Plan(wanted)
    fitting = candidates(manifest, cpu_flags(), architecture())
    here = [each.name for each in fitting if (folder / each.file).is_file()]
    if plan is not None and plan.variant in here:
        return plan
    return Plan(here[0] if here else choose_variant(manifest, cpu_flags(), architecture()).name)


def _keeps_its_promise(variant: Variant, flags: frozenset[str], arch: str) -> bool:
    has_arch = _ARCH.get(variant.name, arch) == arch
    return has_arch and (variant.name != "u8s8-vnni" or not VNNI.isdisjoint(flags))
