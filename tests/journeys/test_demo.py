import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.day import processes

ROOT = Path(__file__).parents[2]
GIVEN_UP_S = 1800
"""When a day that does not end is given up, the building of models included. How long one takes is its own to say."""

PATIENCE_S = 60
GATEWAYS = {"press-1": "surface-anomaly", "press-2": "surface-anomaly", "pump-1": "engine-fault"}
YARD = "yard-1"
"""Joins where its video and its detector are on this machine."""

pytestmark = pytest.mark.slow


def play(data: Path, *options: str) -> subprocess.Popen[str]:
    """A day in a folder of the test's own, with the models of this checkout."""
    command = [sys.executable, "-m", "scripts.day", "--data", str(data), *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, dict[str, Any]]:
    """A whole day: exit code, what was told, and its summary."""
    folder = tmp_path_factory.mktemp("demo")
    day = play(folder / "data", "--out", str(folder / "out"))
    told, _ = day.communicate(timeout=GIVEN_UP_S)
    assert (folder / "out" / "summary.json").exists(), told
    return day.returncode, told, json.loads((folder / "out" / "summary.json").read_text())


def test_a_day_holds_what_it_promises(played: tuple[int, str, dict[str, Any]]) -> None:
    """A day ends by itself, every proof of it holds, and it says how long it took."""
    code, told, summary = played

    assert code == 0, told
    assert "✗" not in told
    assert summary["duration_s"] > 0


def test_each_trigger_has_one_verdict(played: tuple[int, str, dict[str, Any]]) -> None:
    """Through a cut network and a kill −9, the verdicts of each pipeline add up to its triggers."""
    _, _, summary = played

    pipelines = {gateway["name"]: gateway["pipelines"][0] for gateway in summary["gateways"]}
    assert {name: each["model"] for name, each in pipelines.items() if name != YARD} == GATEWAYS
    for each in pipelines.values():
        assert each["triggers"] > 0
        assert sum(each["verdicts"].values()) == each["triggers"]
        assert 0 < each["p50_ms"] <= each["p99_ms"]


def test_the_account_is_exact(played: tuple[int, str, dict[str, Any]]) -> None:
    """After the gateways stopped in order the hub has every record, once."""
    _, _, summary = played

    records = summary["records"]
    assert records["produced"] == records["archived"] + records["buffered"] + records["shed"]
    assert (records["buffered"], records["shed"], records["duplicates"]) == (0, 0, 0)


def test_drift_shows_where_the_light_fell(played: tuple[int, str, dict[str, Any]]) -> None:
    """press-2 drifts, the brightness above all; nothing is found on the others."""
    _, _, summary = played

    drifting = {(each["gateway"], each["signal"]) for each in summary["drift"] if each["finding"] == "drift"}
    assert ("press-2", "luma_mean") in drifting
    assert {gateway for gateway, _ in drifting} == {"press-2"}


def test_every_release_has_the_end_it_deserves(played: tuple[int, str, dict[str, Any]]) -> None:
    """The good one is updated on both presses; the others are refused, each under its own name, or never offered."""
    _, _, summary = played

    ends = [(each["version"], each["gateway"], each["outcome"]) for each in summary["updates"]]
    names = [each["reason"].partition(":")[0] for each in summary["updates"] if each["outcome"] == "refused"]
    assert ends[:4] == [
        ("1.1.0", "press-1", "updated"),
        ("1.1.0", "press-2", "updated"),
        ("1.2.0", "press-1", "refused"),
        ("1.2.0", "press-2", "waiting"),
    ]
    assert names == ["SelfTestFailed", "Tampered", "NotTrusted", "Stale", "BelowFloor"]


def test_defects_are_caught(played: tuple[int, str, dict[str, Any]]) -> None:
    """Of what was inspected most defects are caught, and few good parts are rejected where the light did not fall."""
    _, _, summary = played

    for name in ("press-1/surface", "pump-1/engine"):
        found = summary["quality"][name]
        assert found["defects"] == sum(
            found[each] for each in ("caught", "escaped", "defects_in_review", "defects_uninspected")
        )
        inspected = found["defects"] - found["defects_uninspected"]
        assert found["caught"] + found["defects_in_review"] > 0.6 * inspected > 0
        assert found["overkill"] < 0.1 * (found["parts"] - found["defects"])


def test_somebody_at_the_tape_is_seen(played: tuple[int, str, dict[str, Any]]) -> None:
    """The yard's gateway rejects frames with somebody in the zone, and nobody claims to know how well."""
    _, told, summary = played
    yards = [each for gateway in summary["gateways"] if gateway["name"] == YARD for each in gateway["pipelines"]]
    if not yards:
        pytest.skip("the video of the yard, or what person-zone is made of, is not on this machine")

    assert yards[0]["model"] == "person-zone"
    assert yards[0]["verdicts"]["NG"] > 0
    assert "breaks the rule of taped area" in " ".join(told.split())
    assert not any(name.startswith(YARD) for name in summary["quality"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_process(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever stops the day in the middle leaves nothing running, and is told where the data lie."""
    day = play(tmp_path / "data")
    running = _wait_for_gateways(tmp_path / "data", day)

    day.send_signal(number)
    told, _ = day.communicate(timeout=PATIENCE_S)

    assert day.returncode == 130, told
    assert str(tmp_path / "data") in told
    assert not any(map(processes.is_alive, running.children.values()))


def _wait_for_gateways(data: Path, day: subprocess.Popen[str]) -> processes.Running:
    deadline = time.monotonic() + GIVEN_UP_S
    while time.monotonic() < deadline and day.poll() is None:
        running = processes.read(data)
        if running is not None and running.children.keys() >= GATEWAYS.keys():
            return running
        time.sleep(0.2)
    day.terminate()
    told, _ = day.communicate(timeout=PATIENCE_S)
    pytest.fail(f"the gateways did not start: {told}")
