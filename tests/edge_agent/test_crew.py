import os
import queue
import threading
from pathlib import Path

from edge_agent.crew import Crew
from tests.gateways import Gateway

SECOND = """
[[pipelines]]
name = "second"
bundle = "small-window"
source = "noise"
trigger = "belt"
priority = {priority}
"""


def niceness(thread: threading.Thread) -> int:
    """How far a thread gives way."""
    assert thread.native_id is not None
    return os.getpriority(os.PRIO_PROCESS, thread.native_id)


def judges() -> dict[str, int]:
    """The niceness of every thread that judges, by its name."""
    return {each.name: niceness(each) for each in threading.enumerate() if each.name.startswith("judge-")}


def test_a_thread_gives_way_alone() -> None:
    """A thread that yields does so for itself: neither its process nor the next thread is slower for it."""
    crew, said = Crew(), queue.SimpleQueue[int]()
    before = os.getpriority(os.PRIO_PROCESS, 0)

    for nice in (5, 0):
        crew.start("all", f"nice-{nice}", lambda: said.put(niceness(threading.current_thread())), nice=nice)
        crew.join("all")

    assert [said.get(timeout=10), said.get(timeout=10)] == [min(before + 5, 19), before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    assert crew.failures == []


def test_what_matters_less_gives_way_to_what_matters_more(tmp_path: Path) -> None:
    """Of two pipelines the one of higher priority gives way to nobody, the other by the difference."""
    gateway = Gateway(tmp_path, more=SECOND.format(priority=2))

    with gateway.inside():
        found = judges()

    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert found == {"judge-engine": own, "judge-second": min(own + 3, 19)}
