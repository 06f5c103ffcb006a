import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.day import processes
from scripts.day.children import Children, DayError
from scripts.day.interrupts import Interrupts
from scripts.day.processes import Process, Running

PATIENCE_S = 20
SLEEPER = ["python", "-c", "import time; print('awake', flush=True); time.sleep(600)"]
STUBBORN = [
    "python",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('awake', flush=True); time.sleep(600)",
]


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Children that end with the test."""
    children = Children(tmp_path / "logs", Interrupts())
    yield children
    children.stop_all()


def wait_for(children: Children, log: Path) -> None:
    """Wait until the child has set itself up."""
    children.until("its first word", lambda: (log.exists() and "awake" in log.read_text()) or None, PATIENCE_S)


def test_a_child_that_ends_by_itself_is_told_with_its_last_words(children: Children, tmp_path: Path) -> None:
    """A crash shows what the process said and where all of it stands."""
    children.start("press-1", ["python", "-c", "import sys; sys.exit('the disk is full')"])

    with pytest.raises(DayError) as caught:
        children.until("something that never comes", lambda: None, PATIENCE_S)

    assert "press-1" in str(caught.value)
    assert "the disk is full" in str(caught.value)
    assert str(tmp_path / "logs" / "press-1.log") in caught.value.hint


def test_what_never_comes_is_not_waited_for_forever(children: Children) -> None:
    """Patience ends with a message that names what was waited for."""
    with pytest.raises(DayError, match="the alarm"):
        children.until("the alarm", lambda: None, 0)


def test_children_end_when_asked(children: Children, tmp_path: Path) -> None:
    """Those that obey are not killed, and the answer is how they ended."""
    children.start("hub", SLEEPER)
    wait_for(children, tmp_path / "logs" / "hub.log")

    codes = children.stop("hub", "nobody")

    assert codes == {"hub": -signal.SIGTERM}
    children.check()


def test_a_child_that_does_not_obey_is_killed(children: Children, tmp_path: Path) -> None:
    """Nothing outlives the day by being deaf."""
    children.start("hub", STUBBORN)
    wait_for(children, tmp_path / "logs" / "hub.log")

    assert children.stop("hub", timeout_s=0.2) == {"hub": -signal.SIGKILL}


def test_what_runs_is_told_the_last_first(tmp_path: Path) -> None:
    """Whoever ends them later ends them in the order in which the day would."""
    told: list[list[str]] = []
    children = Children(tmp_path / "logs", Interrupts(), lambda running: told.append(list(running)))

    children.start("hub", SLEEPER)
    children.start("press-1", SLEEPER)
    children.kill("hub")
    children.stop_all()

    assert told == [["hub"], ["press-1", "hub"], ["press-1"], []]


def test_an_interrupt_while_a_child_starts_loses_no_child(tmp_path: Path) -> None:
    """The signal is heard, but only when the child is known and can be ended."""
    interrupts = Interrupts()

    def interrupt(_running: object) -> None:
        if _running:
            interrupts.arrive()

    children = Children(tmp_path / "logs", interrupts, interrupt)

    with pytest.raises(KeyboardInterrupt):
        children.start("hub", SLEEPER)

    assert children.stop("hub").keys() == {"hub"}


def test_a_number_given_again_is_somebody_else(tmp_path: Path) -> None:
    """A process is never ended by its number alone."""
    myself = processes.of(os.getpid())
    assert myself is not None
    namesake = Process(myself.pid, myself.started - 1)

    processes.end({"press-1": namesake})

    assert processes.is_alive(myself)


def test_what_was_left_running_can_be_ended_by_another(tmp_path: Path) -> None:
    """What was written down is found again, and only what still lives."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    here = processes.of(sleeper.pid)
    assert here is not None
    gone = Process(1, 1)
    processes.write(tmp_path, Running("day", gone, {"press-1": gone, "hub": here}))

    found = processes.read(tmp_path)
    assert found is not None
    assert list(found.children) == ["hub"]
    processes.end(found.children)

    assert sleeper.wait(PATIENCE_S) == -signal.SIGTERM
    assert processes.read(tmp_path) is None
