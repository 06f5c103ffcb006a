import http.client
import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.errors import ConfigError
from edge_agent.inference import selftest
from edge_agent.monitoring import heartbeat
from edge_agent.serving.metrics import STAGES
from tests.edge_agent.inference.small_bundles import LENGTH, SIDE, npy, png
from tests.edge_agent.updates.releases import good
from tests.gateways import FOLDER_TOML, Gateway, until, window

DARK = png(np.full((80, 80, 3), 20, np.uint8))


def ask(gateway: Gateway, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and answer of the running agent."""
    address = json.loads((gateway.data / "serving.json").read_bytes())
    with closing(http.client.HTTPConnection(address["host"], address["port"], timeout=30)) as connection:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text


def question() -> bytes:
    """Tensors for the small image model."""
    values = np.zeros(3 * SIDE * SIDE).tolist()
    given = {"name": "image", "shape": [1, 3, SIDE, SIDE], "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [given]}).encode()


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A gateway that looks at a folder in which there is nothing."""
    return Gateway(tmp_path, toml=FOLDER_TOML, pipeline="surface", bundle="small-image")


def test_a_question_is_not_a_part(gateway: Gateway) -> None:
    """Tensors and verdicts for neighbours take no trigger, leave no record, tell the line nothing."""
    with gateway.inside():
        tensors = ask(gateway, "/v2/models/surface/infer", question())
        verdict = ask(gateway, "/v2/models/surface/verdict", DARK)
        state = ask(gateway, "/status")[1]["state"]

    assert tensors[0] == 200
    assert (verdict[0], verdict[1]["verdict"]) == (200, "NG")
    assert gateway.triggers() == 0
    assert gateway.verdicts() == []
    assert gateway.journal() == []
    assert state["pipelines"][0]["triggers"] == 0


@pytest.mark.parametrize(
    ("content", "reason", "limit"),
    [
        (png(np.zeros((80, 80, 3), np.uint8)), "BLACK", "black_below"),
        (png(np.full((80, 80, 3), 255, np.uint8)), "GLARE", "glare_above"),
        (png(np.full((80, 80, 3), 128, np.uint8)), "BLUR", "blur_below"),
        (b"\xff\xd8\xff no picture", "UNREADABLE", ""),
    ],
)
def test_a_neighbours_input_is_guarded_as_the_lines(gateway: Gateway, content: bytes, reason: str, limit: str) -> None:
    """What the pipeline's guard would refuse has its reason and its limit, no prediction, and leaves no fault."""
    guard = "[pipelines.guard]\nblur_below = 0.001\n\n[[outputs]]"
    gateway.toml = gateway.toml.replace("[[outputs]]", guard, 1)
    gateway.write()

    with gateway.inside() as agent:
        status, told = ask(gateway, "/v2/models/surface/verdict", content)
        faults = agent._faults.active()

    assert (status, told["verdict"], told["reason"], faults) == (200, "UNINSPECTED", reason, [])
    assert limit in told["detail"]
    assert "score" not in told


def test_questions_do_not_follow_each_other(gateway: Gateway) -> None:
    """The same picture as often as a neighbour likes is neither frozen nor a duplicate, for it and for the line."""
    with gateway.inside():
        told = [ask(gateway, "/v2/models/surface/verdict", DARK)[1]["verdict"] for _ in range(8)]
        (gateway.folder / "in/part.png").write_bytes(DARK)
        until("the part's verdict", gateway.journal)

    assert told == ["NG"] * 8
    assert [line["reason"] for line in gateway.journal()] == ["SCORE_REJECT"]


@pytest.mark.parametrize(("level", "reason"), [(0.0, "DEAD"), (np.nan, "NOT_FINITE")])
def test_a_neighbours_window_is_guarded_too(tmp_path: Path, level: float, reason: str) -> None:
    """A dead sensor's window, or one that is no numbers, has no prediction either."""
    gateway = Gateway(tmp_path)

    with gateway.inside():
        told = ask(gateway, "/v2/models/engine/verdict", npy(np.full(LENGTH, level)))[1]

    assert (told["verdict"], told["reason"]) == ("UNINSPECTED", reason)


def test_the_line_judges_as_before_while_neighbours_ask(gateway: Gateway) -> None:
    """Each part has its own verdict and score, whatever is asked meanwhile."""
    parts = {f"P{level:03d}": level for level in range(0, 256, 16)}
    done = threading.Event()

    def bother() -> None:
        while not done.is_set():
            ask(gateway, "/v2/models/surface/verdict", DARK)
            ask(gateway, "/v2/models/surface/infer", question())

    with gateway.inside():
        neighbour = threading.Thread(target=bother)
        neighbour.start()
        for name, level in parts.items():
            folder = gateway.folder / "in"
            # A row brighter than the rest: flat pictures are for the guard.
            picture = np.full((SIDE, SIDE, 3), level, np.uint8)
            picture[::2] ^= 8
            (folder / f".{name}.png").write_bytes(png(picture))
            (folder / f".{name}.png").rename(folder / f"{name}.png")
        until("all verdicts", lambda: len(gateway.journal()) == len(parts))
        done.set()
        neighbour.join(30)

    for told in gateway.journal():
        if told["verdict"] != "UNINSPECTED":
            middle = (parts[told["part"]] + (parts[told["part"]] ^ 8)) / 2
            assert told["score"] == pytest.approx(abs(middle / 255 - 0.5), abs=0.02)
    assert {told["verdict"] for told in gateway.journal()} > {"OK"}


def test_every_stage_of_a_part_is_seen(tmp_path: Path) -> None:
    """From the grab to the record, each stage of each part is in its histogram."""
    gateway = Gateway(tmp_path, more="\n[store]\ncommit_s = 0.05\n")

    with gateway.inside():
        until("some verdicts", lambda: len(gateway.journal()) > 10)
        until("their commit", lambda: counts(ask(gateway, "/metrics")[1]).get("record", 0) > 10)
        found = counts(ask(gateway, "/metrics")[1])

    assert found.keys() == set(STAGES)
    assert all(count > 10 for count in found.values())


def counts(text: bytes) -> dict[str, float]:
    """How many samples each stage of the pipeline has seen."""
    families = text_string_to_metric_families(text.decode())
    stages = next(each for each in families if each.name == "lineside_stage_seconds")
    return {s.labels["stage"]: s.value for s in stages.samples if s.name.endswith("_count")}


def test_a_quarantined_engine_answers_no_neighbour(gateway: Gateway) -> None:
    """The gateway is alive and not ready, and its model gives neither tensors nor a verdict."""
    with gateway.inside() as agent:
        before = ask(gateway, "/v2/health/ready")[0]
        pipeline = agent._pipelines["surface"]
        pipeline.quarantine(pipeline.model)
        after = [ask(gateway, f"/v2/models/surface/{verb}", question())[0] for verb in ("infer", "verdict")]
        ready = ask(gateway, "/v2/models/surface/ready")

    assert before == 200
    assert after == [503, 503]
    assert ready[0] == 503
    assert "goldens" in ready[1]["reasons"][0]


def put_golden(gateway: Gateway) -> None:
    """Put a bundle with a golden in the place of the one without."""
    made = good("1.0.0")
    for name, content in {"manifest.json": made.manifest, **made.files}.items():
        (gateway.data / "bundles/small-window" / name).write_bytes(content)


def test_ready_means_that_the_goldens_have_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway whose model answers its goldens otherwise here is alive, and never ready for a question."""
    gateway = Gateway(tmp_path)
    put_golden(gateway)
    monkeypatch.setattr(selftest, "PROBES", 7)  # What was written down is then not what is found.

    with gateway.inside():
        live, ready = ask(gateway, "/v2/health/live")[0], ask(gateway, "/v2/health/ready")
    monkeypatch.undo()
    with gateway.inside():
        passed = ask(gateway, "/v2/health/ready")[0]

    assert (live, ready[0], passed) == (200, 503, 200)
    assert "quarantined" in ready[1]["reasons"][0]


def test_a_model_is_as_ready_as_its_gateways_health_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While goldens that passed before are still awaited, health, model and index say no; who asks anyway is told."""
    gateway = Gateway(tmp_path)
    put_golden(gateway)
    with gateway.inside():
        pass
    monkeypatch.setattr(heartbeat, "FIRST_US", 2**62)

    with gateway.inside():
        health, model = ask(gateway, "/v2/health/ready"), ask(gateway, "/v2/models/engine/ready")
        (row,) = ask(gateway, "/v2/repository/index", b"")[1]
        verdict = ask(gateway, "/v2/models/engine/verdict", npy(window(1)))[0]
    monkeypatch.setattr(heartbeat, "FIRST_US", 0)
    with gateway.inside():
        until("the goldens", lambda: ask(gateway, "/v2/models/engine/ready")[0] == 200)
        (passed,) = ask(gateway, "/v2/repository/index", b"")[1]
        after = ask(gateway, "/v2/health/ready")[0]

    assert (health[0], health[1]["reasons"]) == (503, ["engine: it is being asked its goldens"])
    assert (model[0], model[1]["reasons"]) == (503, ["it is being asked its goldens"])
    assert (row["state"], row["reason"]) == ("UNAVAILABLE", "it is being asked its goldens")
    assert (verdict, after, passed["state"]) == (200, 200, "READY")


def test_an_open_door_without_a_token_is_no_start(tmp_path: Path) -> None:
    """The agent does not begin, and its data is untouched."""
    gateway = Gateway(tmp_path, more='\n[serving]\nhost = "0.0.0.0"\n')

    with pytest.raises(ConfigError, match="no token"), gateway.inside():
        pass

    assert not (gateway.data / "lineside.db").exists()
