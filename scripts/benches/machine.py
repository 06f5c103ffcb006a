"""What a figure was measured on: processor, the instruction sets that decide a model's speed, versions."""

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
"""What chooses among a bundle's variants, as /proc/cpuinfo calls it (x86 `flags`, ARM `Features`)."""

LIBRARIES = ("onnxruntime", "numpy", "opencv-python-headless")


def describe() -> dict[str, object]:
    """The machine as it goes into a bench's JSON: cpu, arch, flags, cores, memory_mb, os, python and libraries."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    flags = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split())
    return {
        "cpu": _field(cpuinfo, "model name") or platform.processor() or "unknown",
        "arch": platform.machine(),
        "flags": [flag for flag in NOTABLE_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "os": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        **{name: version(name) for name in LIBRARIES},
    }


def _field(cpuinfo: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""
