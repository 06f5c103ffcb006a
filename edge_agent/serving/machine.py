"""What the machine says of itself when asked: memory, throttled time, temperature, clock. What it lacks is left out.

Reads /proc, /sys and the process's control group; each look is a few small files.
"""

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GROUPS = Path("/sys/fs/cgroup")
_ZONES = Path("/sys/class/thermal")
_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES


def throttled(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> tuple[int, float] | None:
    """How often the kernel held this process's group back for its quota of processor time, and for how many seconds."""
    for path in _stat_files(groups, own):
        fields = dict(line.split(maxsplit=1) for line in (_read(path) or "").splitlines() if " " in line)
        if "nr_throttled" in fields:
            # Version 2 counts microseconds, version 1 nanoseconds.
            seconds = int(fields.get("throttled_usec", 0)) / 1e6 or int(fields.get("throttled_time", 0)) / 1e9
            return int(fields["nr_throttled"]), seconds
    return None


def temperatures(zones: Path = _ZONES) -> dict[str, float]:
    """Degrees Celsius by the name of the sensor."""
    found = {}
    for zone in sorted(zones.glob("thermal_zone*")):
        value, name = _read(zone / "temp"), _read(zone / "type")
        if value and value.lstrip("-").isdigit():
            found[f"{zone.name}-{name or 'unknown'}"] = int(value) / 1000
    return found


def frequency_hz(path: Path = _FREQUENCY) -> float | None:
    """The first processor's clock now."""
    value = _read(path)
    return float(value) * 1000 if value and value.isdigit() else None


def _stat_files(groups: Path, own: Path) -> list[Path]:
    """Where the statistics of our group may be: its own folder where it is seen, else that of a container's root."""
    found = []
    for line in (_read(own) or "").splitlines():
        _, controllers, folder = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            found += [groups / controllers / folder.lstrip("/"), groups / controllers]
    return [folder / "cpu.stat" for folder in found]


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return None
