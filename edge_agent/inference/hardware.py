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


def cpu_quota(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors this process may keep busy: the scheduler's set, limited by the cgroup's quota."""
    available = float(len(os.sched_getaffinity(0)))
    for read in (_quota_v2, _quota_v1):
        try:
            return min(available, read(cgroup))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return available


def _quota_v2(cgroup: Path) -> float:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return int(quota) / int(period)


def _quota_v1(cgroup: Path) -> float:
    quota = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
    period = int((cgroup / "cpu/cpu.cfs_period_us").read_text())
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


def throttled_share(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """In what share of the scheduler's periods the quota has stopped this process; 0 where there is none."""
    for name in ("cpu.stat", "cpu/cpu.stat"):
        try:
            pairs = (line.split() for line in (cgroup / name).read_text().splitlines())
            counts = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
            return counts["nr_throttled"] / counts["nr_periods"]
        except (OSError, ValueError, KeyError, ZeroDivisionError):
            continue
    return 0.0
