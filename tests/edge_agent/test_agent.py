import http.client
import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import Clock, FixedClock, system_mono_us, system_wall_us
from edge_agent.errors import RunError
from edge_agent.outputs.file import FileOutput
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.codes import ClockState
from tests.edge_agent.inference.small_bundles import LENGTH, npy, png
from tests.gateways import FOLDER_TOML, Gateway, until

SAFE_OUTPUT = """
[[outputs]]
kind = "file"
name = "safe"
path = "safe.jsonl"
after_commit = true
"""


def ask(gateway: Gateway, path: str) -> tuple[int, bytes]:
    """What the running agent answers over HTTP."""
    address = json.loads((gateway.data / "serving.json").read_bytes())
    connection = http.client.HTTPConnection(address["host"], address["port"], timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_stop_leaves_nothing_open(tmp_path: Path) -> None:
    """Asked to stop at full speed, each trigger has one verdict on record and the line has heard each, in order."""
    gateway = Gateway(tmp_path, rate_hz=400)
    with gateway.inside():
        until("some parts", lambda: gateway.triggers() > 150)

    recorded = gateway.verdicts()
    numbers = list(range(1, gateway.triggers() + 1))
    assert [n for n, _, _ in recorded] == numbers
    assert [line["trigger"] for line in gateway.journal()] == numbers
    assert [line["verdict"] for line in gateway.journal()] == [verdict for _, verdict, _ in recorded]


def test_outputs_that_wait_for_the_record_hear_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be told only when it is on disk is told up to the last verdict, even if the stop makes the commit."""
    monkeypatch.setattr(Recorder, "step", lambda _recorder: False)
    gateway = Gateway(tmp_path, rate_hz=400, more=SAFE_OUTPUT)
    gateway.toml = gateway.toml.replace('["journal"]', '["journal", "safe"]')
    gateway.write()

    with gateway.inside():
        until("some parts", lambda: gateway.triggers() > 50)

    told = [json.loads(line)["trigger"] for line in (tmp_path / "safe.jsonl").read_text().splitlines()]
    assert told == [n for n, _, _ in gateway.verdicts()]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [("every", "OVERLOAD"), pytest.param("latest", "SKIPPED", marks=pytest.mark.slow)],
)
def test_an_overloaded_gateway_answers_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, reason: str
) -> None:
    """
    At a rate that no model follows, the parts that passed while the line was held up, or that gave way to later ones,
    are UNINSPECTED by name, and the sum is exact.
    """
    gateway = Gateway(tmp_path, rate_hz=1000, pipeline="surface", bundle="small-image")
    gateway.toml = gateway.toml.replace('trigger = "belt"', f'trigger = "belt"\npolicy = "{policy}"')
    gateway.write()
    with gateway.inside() as agent:
        pipeline = agent._pipelines["engine"]
        monkeypatch.setattr(pipeline.model, "advance", slowly(pipeline.model.advance))
        until("some parts", lambda: gateway.triggers() > 500)

    recorded = gateway.verdicts()
    reasons = Counter(why for _, _, why in recorded)
    assert [n for n, _, _ in recorded] == list(range(1, gateway.triggers() + 1))
    assert reasons[reason] > 20
    assert {verdict for _, verdict, why in recorded if why == reason} == {"UNINSPECTED"}


def slowly(advance: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A model that takes 20 ms longer."""

    def slow(tensor: Any) -> Any:
        threading.Event().wait(0.02)
        return advance(tensor)

    return slow


def test_a_part_of_the_agent_that_ends_ends_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody expected stops the agent in order, exit code 1; each trigger still has its verdict on record."""

    def fail(_output: FileOutput, _judgement: object) -> None:
        message = "nobody expected this"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(FileOutput, "send", fail)
    gateway = Gateway(tmp_path, rate_hz=200)

    with pytest.raises(RunError, match="nobody expected this") as caught, gateway.inside() as agent:
        until("the end", lambda: agent._crew.failures)

    assert caught.value.exit_code == 1
    assert [n for n, _, _ in gateway.verdicts()] == list(range(1, gateway.triggers() + 1))
    assert "nobody expected this" in gateway.events("stopped")[0]["reason"]


def test_a_running_agent_answers_its_neighbours(tmp_path: Path) -> None:
    """Health, metrics and status over loopback tell of the verdicts that were given, and end with the agent."""
    gateway = Gateway(tmp_path)

    with gateway.inside():
        until("all verdicts", lambda: {line["verdict"] for line in gateway.journal()} >= {"OK", "NG", "REVIEW"})
        until("readiness", lambda: ask(gateway, "/health/ready")[0] == 200)
        metrics = ask(gateway, "/metrics")[1].decode()
        status = json.loads(ask(gateway, "/status")[1])

    assert 'lineside_verdicts_total{pipeline="engine",verdict="OK"}' in metrics
    assert 'lineside_outcomes_total{ok="true",output="journal"}' in metrics
    assert 'lineside_stage_seconds_count{pipeline="engine",stage="grab"}' in metrics
    assert status["state"]["pipelines"][0]["model"] == "small-window"
    with pytest.raises(ConnectionError):
        ask(gateway, "/health/live")


def test_systemd_hears_of_start_life_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY when parts are judged, WATCHDOG while all is well, STOPPING at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(str(tmp_path / "notify"))
        ears.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        with Gateway(tmp_path / "press-1").inside():
            first, second = ears.recv(1000), ears.recv(1000)
        said = [first, second]
        while b"STOPPING=1" not in said:
            said.append(ears.recv(1000))

    assert said[0] == b"READY=1"
    assert set(said[1:-1]) == {b"WATCHDOG=1"}


def images(gateway: Gateway) -> dict[str, bytes]:
    """Four files as a camera, a torn cable and a human hand may leave them."""
    rng = np.random.default_rng(0)
    good = png(rng.integers(100, 150, (32, 32, 3), np.uint8))
    return {
        "a-good.png": good,
        "b-torn.png": good[: len(good) // 2],
        "c-words.png": b"hello",
        "d-black.png": png(np.zeros((32, 32, 3), np.uint8)),
    }


def put(gateway: Gateway, files: dict[str, bytes]) -> None:
    """Put files into its folder, each whole."""
    for name, content in files.items():
        (gateway.folder / name).write_bytes(content)
        (gateway.folder / name).rename(gateway.folder / "in" / name)


def test_a_file_that_cannot_be_read_is_kept_apart(tmp_path: Path) -> None:
    """Unreadable and black pictures are UNINSPECTED with the reason and go to failed/, the good one to processed/."""
    gateway = Gateway(tmp_path, toml=FOLDER_TOML, pipeline="surface", bundle="small-image")
    put(gateway, images(gateway))

    with gateway.inside():
        until("four verdicts", lambda: len(gateway.journal()) == 4)
        until("four moves", lambda: not [path for path in (tmp_path / "in").iterdir() if path.is_file()])

    assert {line["part"]: (line["verdict"], line["reason"]) for line in gateway.journal()} == {
        "a-good": ("OK", "NONE"),
        "b-torn": ("UNINSPECTED", "UNREADABLE"),
        "c-words": ("UNINSPECTED", "UNREADABLE"),
        "d-black": ("UNINSPECTED", "BLACK"),
    }
    moved = {path.name: path.parent.name for path in (tmp_path / "in").rglob("*.png")}
    assert moved == {
        "a-good.png": "processed",
        "b-torn.png": "failed",
        "c-words.png": "failed",
        "d-black.png": "failed",
    }


def test_a_bad_window_is_uninspected(tmp_path: Path) -> None:
    """NaN, another length and no numbers at all: UNINSPECTED with the reason, and the line goes on."""
    gateway = Gateway(tmp_path, toml=FOLDER_TOML)
    rng = np.random.default_rng(0)
    holes = rng.normal(size=LENGTH)
    holes[7] = np.nan
    good = npy(np.sin(np.arange(LENGTH) / 3))
    short = npy(rng.normal(size=9))
    put(gateway, {"a-nan.npy": npy(holes), "b-short.npy": short, "c-junk.npy": b"\x93NUMPY", "d-good.npy": good})

    with gateway.inside():
        until("four verdicts", lambda: len(gateway.journal()) == 4)

    assert [(line["verdict"], line["reason"]) for line in gateway.journal()] == [
        ("UNINSPECTED", "NOT_FINITE"),
        ("UNINSPECTED", "WRONG_SHAPE"),
        ("UNINSPECTED", "UNREADABLE"),
        ("OK", "NONE"),
    ]
    faults = {event["reason"] for event in gateway.events("fault") if event["active"]}
    assert faults == {"not-finite", "wrong-shape", "unreadable"}


def judge_some(gateway: Gateway, clock: Clock) -> None:
    """A run under this clock."""
    taken = gateway.triggers()
    with gateway.inside(clock):
        until("some parts", lambda: gateway.triggers() > taken + 10)


LONG_AGO_US = 1_500_000_000_000_000
"""In July 2017."""


def clock_of(offset_us: int) -> Clock:
    """The machine's clock, set wrong by so much."""
    return Clock(wall=lambda: system_wall_us() + offset_us, mono=system_mono_us)


def test_a_clock_before_2020_stops_nothing(tmp_path: Path) -> None:
    """The gateway runs, marks what it records as BEHIND, keeps its floor, and is OK again when the clock is."""
    gateway = Gateway(tmp_path, rate_hz=100)
    wrong_us = LONG_AGO_US - system_wall_us()
    clocks = [clock_of(0), clock_of(wrong_us), clock_of(0)]
    seen = []

    for clock in clocks:
        judge_some(gateway, clock)
        seen.append(clock.floor_us)

    rows = gateway.query("SELECT clock, at FROM verdict ORDER BY trigger")
    phases = {state: next(group)["at"][:4] for state, group in groupby(rows, lambda row: row["clock"])}
    assert [state for state, _ in groupby(row["clock"] for row in rows)] == ["ok", "behind", "ok"]
    assert phases["behind"] == "2017"
    assert seen == sorted(seen)
    assert [event["clock"] for event in gateway.events("started") if "clock" in event] == ["behind"]
    assert [n for n, _, _ in gateway.verdicts()] == list(range(1, gateway.triggers() + 1))


def test_batches_say_that_the_clock_was_behind(tmp_path: Path) -> None:
    """What is sent of that time carries its clock's state, so that nobody orders by it."""
    gateway = Gateway(tmp_path, rate_hz=100)
    with gateway.inside(clock_of(LONG_AGO_US - system_wall_us())):
        until("some parts", lambda: gateway.triggers() > 10)

    store = Store.open(gateway.data / "lineside.db", quota_bytes=2**26, clock=FixedClock())
    batch = Outbox(store, "press-1").next_batch()
    store.close()

    assert batch is not None
    assert batch.time.clock is ClockState.BEHIND


def test_nothing_is_open_twice(tmp_path: Path) -> None:
    """A second agent on the same data is refused with the number of the first, which goes on."""
    gateway = Gateway(tmp_path)

    with gateway.inside():
        said = gateway.ask("run")
        until("life", lambda: len(gateway.journal()) > 5)

    assert said.returncode == 2
    assert said.stderr.splitlines()[0].startswith("error: another agent, process ")
    assert said.stderr.splitlines()[1].startswith("  try: ")


HEAVY = (
    "alembic", "fastapi", "iotcore", "onnx", "pandas", "scipy", "skimage", "sklearn", "sqlalchemy", "sqlite3",
    "sqlite_utils", "torch", "uvicorn",
)  # fmt: skip
LIFE = """
import sys, threading
from edge_agent.cli import run, main
from edge_agent import config
from edge_agent.agent import Agent
stop = threading.Event()
agent = Agent(config.load(__import__("pathlib").Path(sys.argv[1])))
threading.Timer(1.0, stop.set).start()
agent.run(stop)
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_gateway_is_light(tmp_path: Path) -> None:
    """An agent that has judged, recorded and sent carries nothing of the hub or of training, and one SQLite."""
    gateway = Gateway(tmp_path, more='\n[hub]\nbroker = "mqtt://127.0.0.1:1"\n')
    gateway.enrol()

    done = subprocess.run(
        [sys.executable, "-c", LIFE, str(gateway.config)], capture_output=True, text=True, check=False
    )

    loaded = set(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert {"apsw", "onnxruntime", "paho", "cv2"} <= loaded
    assert loaded & set(HEAVY) == set()
    assert gateway.verdicts()
