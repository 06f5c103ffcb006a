"""How quantities are written on a page: counts, shares, durations, moments. Text out, never markup."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

THIN_SPACE = "\u202f"
"""Between groups of thousands: neither comma nor point, which mean opposite things on two sides of a border."""


def count(value: int) -> str:
    """`12 345`."""
    return f"{value:,}".replace(",", THIN_SPACE)


def rate(value: float) -> str:
    """A rate with the digits that carry meaning: `0.4`, `12`, `1 204`."""
    return f"{value:.1f}" if 0 < value < 10 else count(round(value))


def share(value: float) -> str:
    """A share as a percentage. A share that is not nothing is never written as `0 %`, nor one below all as `100 %`."""
    percent = value * 100
    if 0 < percent < 0.01:
        return f"<{THIN_SPACE}0.01{THIN_SPACE}%"
    digits = 0 if percent in (0, 100) else 2 if percent < 1 or percent > 99 else 1
    text = f"{percent:.{digits}f}"
    if percent < 100 and float(text) == 100:
        text = "99.99"
    return f"{text}{THIN_SPACE}%"


def size(value: int) -> str:
    """Bytes in the unit that says something: `812 B`, `14.2 kB`, `3.1 MB`."""
    amount, unit = float(value), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f}{THIN_SPACE}{unit}" if unit == "B" or amount >= 100 else f"{amount:.1f}{THIN_SPACE}{unit}"


def milliseconds(value: float) -> str:
    """`4.1`, `12`; nothing measured is a dash."""
    if value <= 0:
        return "–"
    return f"{value:.1f}" if value < 100 else count(round(value))


def p_value(value: float) -> str:
    """A p-value as it is quoted: `0.42`, `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def iso(at_us: int) -> str:
    """UTC in ISO 8601, for `<time datetime>`."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at_us: int, timezone: str = "UTC", *, with_date: bool = False) -> str:
    """A wall-clock time at the place, to the second."""
    return datetime.fromtimestamp(at_us / 1e6, zone(timezone)).strftime(
        "%Y-%m-%d %H:%M:%S" if with_date else "%H:%M:%S"
    )


def zone(name: str) -> ZoneInfo:
    """The named zone, or UTC where the name is not known on this machine."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def ago(at_us: int, now_us: int) -> str:
    """How long ago, in the largest unit that says something."""
    seconds = max(0, now_us - at_us) // 1_000_000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
