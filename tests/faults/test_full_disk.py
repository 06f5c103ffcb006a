import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISK = "mount -t tmpfs -o size=14m tmpfs $0 && exec $1 -m tests.faults.full_disk $0 $2"
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode != 0,
        reason="this system lets nobody mount a small disk of his own",
    ),
]


def on_a_small_disk(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    """What `full_disk.py` does on a disk of 14 MB at `folder`."""
    command = [*UNSHARE, "sh", "-c", DISK, str(folder), sys.executable, how]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_disk_that_others_filled_stops_no_start(tmp_path: Path, end: str) -> None:
    """However the run before ended: on a disk without one free byte a gateway starts, judges and records each part."""
    done = on_a_small_disk(tmp_path, end)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("left_kb", [0, 20, 500, 1000, 2500])
def test_a_first_start_without_room_says_so(tmp_path: Path, left_kb: int) -> None:
    """Where database or ring cannot be made: one line of cause, one of cure, exit 2, and no half of a file."""
    done = on_a_small_disk(tmp_path, str(left_kb))

    assert done.returncode == 0, done.stdout + done.stderr
