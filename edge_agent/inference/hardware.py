"""What this gateway's processor is and how much of it we may use, read from /proc and the cgroup."""

import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_FLAG_LINES = ("flags", "features")

CHOOSING_FLAGS = frozenset(
    ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
)
"""Those of a hundred and more that a bundle's variants ask for: what a gateway tells its hub of its processor."""


def architecture() -> str:
    """`x86_64`, `aarch64`, or what the system calls it."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The features of the first processor (x86 `flags`, ARM `Features`); empty where they cannot be read."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() in _FLAG_LINES:
            return frozenset(value.split())
    return frozenset()


def cpu_quota(cgroup: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """How many processors this process may keep busy: the scheduler's set, limited by every quota above it."""
    available = float(len(os.sched_getaffinity(0)))
    return min([available, *filter(None, map(_quota, _groups(cgroup, own)))])


def _groups(cgroup: Path, own: Path) -> list[Path]:
    """Our control group and those it lies in: a service's quota stands in its own, a container's in what looks like /.

    Of both versions; under version 1 the controller of processors has a folder of its own.
    """
    found = [cgroup, cgroup / "cpu"]
    try:
        lines = own.read_text(errors="replace").splitlines()
    except OSError:
        return found
    for _, controllers, folder in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = Path(folder.lstrip("/"))
        found += [cgroup / controllers / each for each in (inside, *inside.parents)]
    return list(dict.fromkeys(found))


def _quota(group: Path) -> float | None:
    for read in (_quota_v2, _quota_v1):
        try:
            return read(group)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None


def _quota_v2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period)


def _quota_v1(group: Path) -> float:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    period = int((group / "cpu.cfs_period_us").read_text())
    return quota / period if quota > 0 else float("inf")


def settle_arithmetic(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Tell numpy's algebra which kernels to take where it guesses wrong; whether it had to be. Before numpy is loaded.

    OpenBLAS goes by the model of the processor: under a hypervisor that hides AVX it takes kernels that cannot run.
    """
    flags = cpu_flags()
    if architecture() != "x86_64" or not flags or "avx" in flags or "OPENBLAS_CORETYPE" in environment:
        return False
    environment["OPENBLAS_CORETYPE"] = "Nehalem" if "sse4_2" in flags else "Prescott"
    return True


def throttled_share(cgroup: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """In what share of the scheduler's periods a quota has stopped this process; 0 where there is none."""
    return max(map(_throttled, _groups(cgroup, own)))


def _throttled(group: Path) -> float:
    try:
        pairs = (line.split() for line in (group / "cpu.stat").read_text().splitlines())
        counts = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
        return counts["nr_throttled"] / counts["nr_periods"]
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return 0.0
