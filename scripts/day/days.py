"""Where days lie: each in a new folder of the demonstration's own data folder, which carries a mark.

What does not carry the mark is not ours: it is neither used nor removed.
"""

import shutil
from datetime import datetime
from pathlib import Path

from scripts.day.children import DayError

KEPT = 5
"""Days, of some hundred megabytes each."""

MARK = "made-by-scripts-demo"
_TEXT = "scripts/demo keeps its days here. `scripts/demo --fresh` removes this folder and all that is in it.\n"


def prepare(data: Path) -> None:
    """Make the data folder, or make sure that it is one.

    Raises:
        DayError: something else is there, or it cannot be written.
    """
    _refuse_foreign(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / MARK).write_text(_TEXT)
    except OSError as error:
        message = f"{data} cannot be written: {error.strerror}"
        raise DayError(message, "name another folder with --data") from error


def remove(data: Path) -> None:
    """Remove the data folder with all its days.

    Raises:
        DayError: it is not one of ours, or cannot be removed.
    """
    _refuse_foreign(data)
    try:
        if data.exists():
            shutil.rmtree(data)
    except OSError as error:
        message = f"{data} cannot be removed: {error.strerror}"
        raise DayError(message, "remove it by hand, or name another folder with --data") from error


def begin(data: Path, now: datetime) -> Path:
    """The new folder of a day that begins `now`; of the days before it, the last few are kept.

    Raises:
        DayError: there is no room for one more day in this second.
    """
    for old in sorted(data.glob("day-*"))[: -(KEPT - 1)]:
        shutil.rmtree(old, ignore_errors=True)
    name = now.strftime("day-%Y%m%d-%H%M%S")
    for i in range(100):
        day = data / (f"{name}-{i}" if i else name)
        try:
            day.mkdir()
        except FileExistsError:
            continue
        return day
    message = f"{data} has no room for a day called {name}"
    raise DayError(message, "start over with --fresh")


def _refuse_foreign(data: Path) -> None:
    is_ours = (data / MARK).is_file() and not data.is_symlink()
    is_free = not data.exists() or (data.is_dir() and not data.is_symlink() and not any(data.iterdir()))
    if not is_ours and not is_free:
        message = f"{data} is not a folder of the demonstration: it is left as it is"
        raise DayError(message, "name an empty or a new folder with --data")
