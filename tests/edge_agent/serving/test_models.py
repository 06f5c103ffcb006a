import gc
import json
import socket
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inference.model import Model
from edge_protocol.bundle import OperatingPoint
from tests.edge_agent.inference.small_bundles import (
    LENGTH,
    SIDE,
    npy,
    png,
    write_image_bundle,
)
from tests.edge_agent.serving.lines import Line
from tests.gateways import until


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line with a camera's model and a sensor's."""
    made = Line(tmp_path)
    yield made
    made.close()


def question(array: np.ndarray, name: str = "image", **more: Any) -> dict[str, Any]:
    """A request with one tensor as JSON."""
    given = {"name": name, "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
    return {"inputs": [given], **more}


def test_a_model_says_what_it_takes_and_gives(line: Line) -> None:
    """Names, datatypes and fixed shapes, by pipeline or by bundle, with or without the version."""
    status, told = line.ask("/v2/models/surface")

    assert status == 200
    assert told["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE]}]
    assert {each["name"] for each in told["outputs"]} == {"map", "score"}
    assert told["versions"] == ["1.0.0"]
    for name in ("surface/versions/1.0.0", "small-image", "small-image/versions/1.0.0"):
        assert line.ask(f"/v2/models/{name}")[1]["inputs"] == told["inputs"]
    config = line.ask("/v2/models/surface/config")[1]
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 3, SIDE, SIDE]}]


@pytest.mark.parametrize("path", ["none", "surface/versions/2.0.0", "surface/versions/latest", "%73urface"])
def test_what_does_not_run_is_not_found(line: Line, path: str) -> None:
    """Another name or version is 404 and says what there is."""
    status, told = line.ask(f"/v2/models/{path}")

    assert status == 404
    assert "surface" in told["hint"] or "1.0.0" in told["hint"]


def test_a_bundle_that_runs_in_two_releases_must_be_named_more_closely(line: Line) -> None:
    """Two pipelines with the same release are one answer, with two releases none."""
    line.models["other"] = line.models["surface"]
    same = line.ask("/v2/models/small-image")[0]
    line.models["other"] = Model.load(write_image_bundle(line.folder / "newer", version="1.1.0"))

    different, told = line.ask("/v2/models/small-image")

    assert (same, different) == (200, 409)
    assert "surface, other" in told["hint"]
    assert line.ask("/v2/models/small-image/versions/1.1.0")[1]["parameters"]["pipeline"] == "other"


def test_tensors_go_in_and_come_out(line: Line) -> None:
    """The engine's own outputs, in JSON and in binary the same."""
    array = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)
    expected = line.models["surface"].engine.run({"image": array})

    status, told = line.ask("/v2/models/surface/infer", question(array, id="7"))
    asked = {"inputs": [{**question(array)["inputs"][0], "parameters": {"binary_data_size": array.nbytes}}]}
    del asked["inputs"][0]["data"]
    header = json.dumps({**asked, "parameters": {"binary_data_output": True}}).encode()
    line.connection.request(
        "POST",
        "/v2/models/surface/infer",
        header + array.tobytes(),
        {"Inference-Header-Content-Length": str(len(header))},
    )
    answer = line.connection.getresponse()
    length, body = int(answer.headers["Inference-Header-Content-Length"]), answer.read()
    found = {}
    at = length
    for each in json.loads(body[:length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        found[each["name"]] = np.frombuffer(body[at : at + size], np.float32).reshape(each["shape"])
        at += size

    assert status == 200
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "surface", "1.0.0")
    for each in told["outputs"]:
        np.testing.assert_allclose(np.float32(each["data"]).reshape(each["shape"]), expected[each["name"]])
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in expected.items()}


def test_a_bad_question_leaves_the_connection_and_the_model_as_they_were(line: Line) -> None:
    """A refusal is JSON with `error`, and the next question on the same connection is answered."""
    bad = line.ask("/v2/models/surface/infer", question(np.zeros((1, 3, 4, 4), np.float32)))
    good = line.ask("/v2/models/surface/infer", question(np.zeros((1, 3, SIDE, SIDE), np.float32)))

    assert bad[0] == 400
    assert "shape" in bad[1]["error"]
    assert good[0] == 200


def test_a_picture_gets_its_verdict(line: Line) -> None:
    """Encoded bytes go the one production path: what `judge` says, as JSON; the engine's as .npy."""
    dark = np.full((80, 80, 3), 10, np.uint8)
    window = np.random.default_rng(3).standard_normal(LENGTH)

    status, told = line.ask("/v2/models/surface/verdict", png(dark))
    heard = line.ask("/v2/models/engine/verdict", npy(window))[1]

    assert (status, told["verdict"], told["model"], told["version"]) == (200, "NG", "surface", "1.0.0")
    assert told["score"] == pytest.approx(0.5 - 10 / 255, abs=0.01)
    assert told["regions"]
    assert "luma_mean" in told["signals"]
    assert heard["label"] in ("good", "fault")


def test_what_cannot_be_inspected_says_so(line: Line) -> None:
    """Bytes that are no picture are UNINSPECTED with the reason and the cure, never OK."""
    status, told = line.ask("/v2/models/surface/verdict", b"\xff\xd8\xff no picture")

    assert status == 200
    assert (told["verdict"], told["reason"]) == ("UNINSPECTED", "UNREADABLE")
    assert told["detail"]


def test_a_neighbours_picture_is_not_larger_than_it_may_be(line: Line) -> None:
    """Its size stands in its first bytes: nothing is decoded, and the line's memory is not needed."""
    large = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 5000, 5000, 8, 2, 0, 0, 0)

    status, told = line.ask("/v2/models/surface/verdict", large)

    assert status == 413
    assert "5000 × 5000" in told["error"]


def test_a_window_is_no_longer_than_its_contract(line: Line) -> None:
    """A file of many more values is refused by its length."""
    assert line.ask("/v2/models/engine/verdict", npy(np.zeros(100_000)))[0] == 413


def test_a_question_leaves_no_trace_in_the_lines_model(line: Line) -> None:
    """The line's own tensors, operating point and contexts are not touched: the neighbour has a twin."""
    model = line.models["surface"]
    before = (model._tensor.tobytes(), dict(model._contexts), model.operating_point)

    line.ask("/v2/models/surface/verdict", png(np.full((80, 80, 3), 10, np.uint8)))

    assert (model._tensor.tobytes(), dict(model._contexts), model.operating_point) == before


def test_the_verdict_is_that_of_the_point_in_force(line: Line) -> None:
    """A new operating point, or a new model, is asked from the next question on."""
    dark = png(np.full((80, 80, 3), 10, np.uint8))
    first = line.ask("/v2/models/surface/verdict", dark)[1]
    line.models["surface"].operating_point = OperatingPoint(accept=0.9, reject=0.95)

    second = line.ask("/v2/models/surface/verdict", dark)[1]
    line.models["surface"] = Model.load(write_image_bundle(line.folder / "newer", version="1.1.0"))
    third = line.ask("/v2/models/surface/verdict", dark)[1]

    assert [each["verdict"] for each in (first, second, third)] == ["NG", "OK", "NG"]
    assert [each["version"] for each in (first, second, third)] == ["1.0.0", "1.0.0", "1.1.0"]


def test_a_model_that_was_swapped_leaves_the_memory(line: Line) -> None:
    """What neighbours have asked keeps neither the old model nor its engine."""
    line.ask("/v2/models/surface/verdict", png(np.full((80, 80, 3), 10, np.uint8)))
    line.ask("/v2/models/surface/infer", question(np.zeros((1, 3, SIDE, SIDE), np.float32)))
    old = weakref.ref(line.models["surface"].engine)

    line.models["surface"] = Model.load(write_image_bundle(line.folder / "newer", version="1.1.0"))

    assert until("its end", lambda: gc.collect() >= 0 and old() is None)
    assert line.ask("/v2/models/surface/stats")[1]["model_stats"][0]["inference_count"] == 2


def test_a_doubted_model_answers_nothing(line: Line) -> None:
    """While its goldens differ a model gives no tensors and no verdict, and says that it is not ready."""
    line.doubted["surface"] = ["it answers its goldens differently"]

    ready = line.ask("/v2/models/surface/ready")
    refused = [line.ask(f"/v2/models/surface/{verb}", b"{}")[0] for verb in ("infer", "verdict")]
    index = line.ask("/v2/repository/index", {})[1]

    assert (ready[0], ready[1]["reasons"]) == (503, line.doubted["surface"])
    assert refused == [503, 503]
    assert [(each["name"], each["state"]) for each in index] == [("surface", "UNAVAILABLE"), ("engine", "READY")]
    assert line.ask("/v2/models/engine/ready")[0] == 200


def test_neighbours_wait_for_each_other_and_not_for_ever(line: Line) -> None:
    """One question at a time; who gets no turn is told to come back."""
    asked = question(np.zeros((1, 3, SIDE, SIDE), np.float32))

    with line.turnstile.turn():
        busy = line.ask("/v2/models/surface/infer", asked)
    free = line.ask("/v2/models/surface/infer", asked)

    assert (busy[0], free[0]) == (503, 200)
    assert "neighbours" in busy[1]["error"]


def test_models_come_only_from_the_hub(line: Line) -> None:
    """Load and unload are refused in words, and the extension is not published."""
    for verb in ("load", "unload"):
        status, told = line.ask(f"/v2/repository/models/surface/{verb}", {})
        assert status == 400
        assert "signed" in told["error"]

    assert line.ask("/v2")[1]["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]


def test_questions_are_counted(line: Line) -> None:
    """What was asked, what failed and where the time went can be asked."""
    line.ask("/v2/models/surface/infer", question(np.zeros((1, 3, SIDE, SIDE), np.float32)))
    line.ask("/v2/models/surface/infer", {"inputs": []})

    told = line.ask("/v2/models/surface/stats")[1]["model_stats"][0]
    everything = line.ask("/v2/models/stats")[1]["model_stats"]

    stats = told["inference_stats"]
    assert (told["inference_count"], stats["success"]["count"], stats["fail"]["count"]) == (1, 1, 1)
    assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0
    assert [each["name"] for each in everything] == ["surface", "engine"]
    assert line.asked == [("surface", "infer")] * 2


def test_the_metrics_name_what_runs(line: Line) -> None:
    """Model, version, variant and provider of each pipeline are labels."""
    text = line.ask("/metrics")[1].decode()

    row = next(row for row in text.splitlines() if row.startswith("lineside_model_info{") and "surface" in row)
    for label in ('model="small-image"', 'version="1.0.0"', 'variant="fp32"', 'provider="CPUExecutionProvider"'):
        assert label in row


def test_a_body_longer_than_any_question_is_refused_by_its_length(line: Line) -> None:
    """A window of a few numbers leaves no room for megabytes."""
    with socket.create_connection(("127.0.0.1", line.server.port), timeout=10) as sock:
        sock.sendall(b"POST /v2/models/engine/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        answer = sock.recv(1000)

    assert answer.startswith(b"HTTP/1.1 413 ")


def damaged(request: bytes, rng: np.random.Generator) -> bytes:
    """A request in which a few bytes are others, too many or missing."""
    content = bytearray(request)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(0, min(len(content), 600))), rng.integers(0, 3)
        if kind == 0:
            content[at] = rng.integers(0, 256)
        elif kind == 1:
            content[at:at] = rng.bytes(int(rng.integers(1, 5)))
        else:
            del content[at : at + int(rng.integers(1, 9))]
    return bytes(content)


def test_no_bytes_do_more_than_be_refused(line: Line) -> None:
    """Whatever a neighbour sends is answered or refused, never an error of ours, and the next one is answered."""
    rng = np.random.default_rng(7)
    array = np.zeros((1, 3, SIDE, SIDE), np.float32)
    asked = {"name": "image", "shape": array.shape, "datatype": "FP32", "parameters": {"binary_data_size": 12288}}
    header = json.dumps({"inputs": [asked], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST /v2/models/surface/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(header) + array.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n\r\n"
    )
    whole = head.encode() + header + array.tobytes()

    statuses = [first_status(line, whole), *(first_status(line, damaged(whole, rng)) for _ in range(150))]

    assert statuses[0] == 200
    assert len(set(statuses)) > 4
    assert not {status for status in statuses if status >= 500}
    assert line.ask("/v2/models/surface/infer", question(array))[0] == 200


def first_status(line: Line, raw: bytes) -> int:
    """The first status that comes back for some bytes; 0 when the connection just ends."""
    with socket.create_connection(("127.0.0.1", line.server.port), timeout=10) as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
