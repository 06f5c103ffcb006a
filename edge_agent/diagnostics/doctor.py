"""A gateway's configuration comes in, what is well and what is not goes out in sentences, each with its cure.

Looks, loads and asks the goldens; changes nothing. Of what runs it reads no more than its database.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from edge_agent import identity
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import AgentError
from edge_agent.inference import selftest
from edge_agent.inference.engine import RUNTIME, list_providers
from edge_agent.inference.hardware import CHOOSING_FLAGS, architecture, cpu_flags, cpu_quota, throttled_share
from edge_agent.inference.model import Model
from edge_agent.inference.providers import CPU
from edge_agent.inference.trial import audit_variant
from edge_agent.inference.tuning import Plan
from edge_agent.inference.variants import FLOAT, VNNI
from edge_protocol import bundle
from edge_protocol.codes import ClockState
from edge_protocol.errors import ManifestError

LEAST_MB = 150
"""What the agent takes with two small models; a model's budget comes on top."""

THROTTLED = 0.05
"""Share of the scheduler's periods in which the quota stopped the process, from which on latencies show it."""

KEEP_FREE_MB = 64
CACHE = "cache"


class State(StrEnum):
    """How a remark is meant."""

    WELL = "well"
    CARE = "care"
    """It works, and could be better."""
    ILL = "ill"
    """The line cannot be judged, or not as it should be."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What was looked at, how it is, and what to do."""

    about: str
    state: State
    says: str
    cure: str = ""


def examine(
    config: Config,
    folders: Mapping[Path, str],
    optimised: Mapping[str, str],
    plans: Mapping[str, Plan],
    quota: float | None = None,
) -> Iterator[Remark]:
    """Everything, one remark after the other. `folders` are those of the bundles that run, with configured variants.

    `optimised` are the digests of what lies in the cache, `plans` how bundles run here, `quota` how many processors the
    agent last had, as the database has them; who asks may be in another cgroup.
    """
    yield _processor()
    yield _quota(quota)
    yield from (look() for look in (_algebra, _libraries, _providers, _clock))
    yield from (look(config) for look in _OF_CONFIG)
    yield _cache(config, optimised)
    for folder, variant in folders.items():
        yield from _bundle(folder, variant, plans)


def _processor() -> Remark:
    arch, flags = architecture(), cpu_flags()
    said = f"{arch} with {', '.join(sorted(flags & CHOOSING_FLAGS)) or 'none of the features that matter'}"
    if arch == "x86_64" and VNNI.isdisjoint(flags):
        kind = "integers of seven bits (u8s8-7bit): no VNNI" if "avx2" in flags else "integers, slowly: no AVX2"
        state = State.WELL if "avx2" in flags else State.CARE
        cure = "" if "avx2" in flags else "let the hypervisor show the processor's features, or tune: edge-agent tune"
        return Remark("processor", state, f"{said}; {kind}", cure)
    kinds = {"x86_64": "integers of eight bits (u8s8-vnni)", "aarch64": "signed integers (s8s8-arm)"}
    return Remark("processor", State.WELL, f"{said}; {kinds.get(arch, 'single precision (fp32)')}")


def _quota(noted: float | None) -> Remark:
    own = cpu_quota()
    quota, is_ours, share = own, True, 0.0
    if noted is None:
        said = f"this shell has {own:g} processors; no agent has noted yet how many it has"
    else:
        quota, is_ours = noted, f"{noted:g}" == f"{own:g}"
        said = f"the agent has {noted:g} processors{'' if is_ours else f', this shell {own:g}'}"
    if is_ours:  # What stops another cgroup says nothing of the agent's; its own metrics do.
        share = throttled_share()
        said += f"; stopped by the quota in {share:.0%} of its periods"
    if share > THROTTLED or quota < 1:
        return Remark(
            "quota", State.CARE, said, "raise CPUQuota= of the service, or the container's limit, to 1 or more"
        )
    return Remark("quota", State.WELL, said)


def _algebra() -> Remark:
    flags, chosen = cpu_flags(), os.environ.get("OPENBLAS_CORETYPE", "")
    if architecture() != "x86_64" or not flags or "avx" in flags:
        return Remark("algebra", State.WELL, "numpy's kernels suit this processor")
    if chosen:
        return Remark("algebra", State.WELL, f"no AVX: numpy was told to take its {chosen} kernels")
    return Remark("algebra", State.ILL, "no AVX, and numpy may take kernels that need it", "OPENBLAS_CORETYPE=Nehalem")


def _libraries() -> Remark:
    python = ".".join(map(str, sys.version_info[:3]))
    return Remark(
        "libraries", State.WELL, f"{RUNTIME}, OpenCV {cv2.__version__}, numpy {np.__version__}, Python {python}"
    )


def _providers() -> Remark:
    found = list_providers()
    if not found:
        return Remark("providers", State.WELL, "the CPU; no other is installed")
    said = ", ".join(["the CPU", *(name.removesuffix("ExecutionProvider") for name, lack in found.items() if not lack)])
    if lacks := [lack for lack in found.values() if lack]:
        cure = "; ".join(f"{lack.cure}, or uninstall it: the CPU runs what names it" for lack in lacks)
        return Remark("providers", State.CARE, "; ".join((said, *(lack.says for lack in lacks))), cure)
    return Remark("providers", State.WELL, said)


def _clock() -> Remark:
    if Clock().time().clock is ClockState.OK:
        return Remark("clock", State.WELL, "it is later than this program was made")
    return Remark(
        "clock", State.CARE, "it is earlier than this program was made", "set it: chrony, or timedatectl set-time"
    )


def _memory(config: Config) -> Remark:
    free_mb = _available_mb()
    need_mb = LEAST_MB + 50 * max(len(config.pipelines) - 2, 0)
    said = f"{free_mb:.0f} MB free, about {need_mb} MB are needed"
    if free_mb < need_mb:
        return Remark("memory", State.CARE, said, "end other programs, or run fewer pipelines here")
    return Remark("memory", State.WELL, said)


def _disk(config: Config) -> Remark:
    folder = next(each for each in (config.data_dir, *config.data_dir.parents) if each.exists())
    free_mb = shutil.disk_usage(folder).free / 2**20
    used_mb = sum(each.stat().st_size for each in config.data_dir.glob("lineside.*")) / 2**20
    need_mb = max(config.store.quota_mb - used_mb, 0) + config.updates.max_mb + KEEP_FREE_MB
    said = f"{free_mb:.0f} MB free; records and an update may take {need_mb:.0f} MB more"
    if not os.access(folder, os.W_OK):
        return Remark("disk", State.ILL, f"{folder} cannot be written", "let the agent's user own the data directory")
    if free_mb < need_mb:
        return Remark("disk", State.CARE, said, "free disk space, or lower [store] quota_mb or [updates] max_mb")
    return Remark("disk", State.WELL, said)


def _identity(config: Config) -> Remark:
    if config.hub is None:
        return Remark("identity", State.WELL, "there is no hub: this gateway works alone")
    files = config.identity
    try:
        own = identity.load(files.key_file, files.hub_keys_file, files.certificate_file, config.gateway.id)
    except AgentError as error:
        return Remark("identity", State.ILL, str(error), error.hint)
    why = identity.why_no_updates(config)
    said = f"key and {len(own.hub_keys)} keys of the hub are there; updates {why or 'on'}"
    return Remark(
        "identity", State.CARE if why else State.WELL, said, "edge-agent trust shows what is missing" if why else ""
    )


def _configuration(config: Config) -> Remark:
    said = f"{len(config.pipelines)} pipelines, {len(config.sources)} sources, {len(config.outputs)} outputs"
    if not config.pipelines:
        return Remark("configuration", State.ILL, said, "add [[sources]], [[triggers]] and [[pipelines]]")
    return Remark("configuration", State.WELL, said)


def _cache(config: Config, optimised: Mapping[str, str]) -> Remark:
    files = list((config.data_dir / CACHE).glob("*.opt"))
    known = [each for each in files if each.stem in optimised]
    damaged = [each for each in known if hashlib.sha256(each.read_bytes()).hexdigest() != optimised[each.stem]]
    said = f"{len(known)} optimised models, {sum(each.stat().st_size for each in files) / 2**20:.0f} MB"
    if damaged:
        cure = "look after the disk: something changed what was synced; the next start makes them again"
        return Remark("cache", State.CARE, f"{said}, {len(damaged)} not as they were written", cure)
    return Remark("cache", State.WELL, said)


_OF_CONFIG: tuple[Callable[[Config], Remark], ...] = (_configuration, _memory, _disk, _identity)


def _bundle(folder: Path, variant: str, plans: Mapping[str, Plan]) -> Iterator[Remark]:
    """Whether what runs loads, reproduces its goldens, where it asks to run, and in integers where it says so."""
    try:
        _, digest = bundle.read(folder)
        model = Model.load(folder, variant=variant or None, plan=plans.get(digest))
        differences = selftest.check(model, folder)
    except (AgentError, ManifestError) as error:
        yield Remark(f"bundle {folder.name[:12]}", State.ILL, str(error), error.hint)
        return
    name = f"bundle {model.manifest.name} {model.manifest.version}"
    said = f"{model.variant} on {model.engine.provider}, {_how(model, plans.get(digest))}"
    said += f", {len(model.manifest.goldens)} goldens"
    if differences:
        cure = "fetch the bundle again; with another OpenCV or onnxruntime, one that was made for it"
        yield Remark(name, State.ILL, f"{said}: {differences[0]}", cure)
    elif not model.manifest.goldens:
        yield Remark(
            name, State.CARE, f"{said}: nothing shows that it judges here as it was taught", "make it with goldens"
        )
    else:
        yield Remark(name, State.WELL, f"{said} reproduced")
    if (lack := model.engine.lack) is not None:
        instead = "; the CPU runs it" if model.engine.provider == CPU else ""
        yield Remark(name, State.CARE, f"{lack.says}{instead}", f"{lack.cure}, or name another variant")
    if model.variant != FLOAT and (warning := audit_variant(folder, model.manifest, model.variant).warning):
        cure = "none where its accuracy needs them so, as its card says; else quantize it again, activations unsigned"
        yield Remark(name, State.CARE, warning, cure)


def _how(model: Model, plan: Plan | None) -> str:
    threads = model.engine.options.threads
    said = "1 thread" if threads == 1 else f"{threads} threads"
    if plan is None or plan.variant != model.variant:
        return f"{said}, not measured on this processor and quota: edge-agent tune"
    return f"{said} as measured here ({plan.p50_ms:.3g} ms)"


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return float("inf")
