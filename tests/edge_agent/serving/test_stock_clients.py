import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scripts.benches import environment
from scripts.benches.failure import BenchError
from tests.edge_agent.inference.small_bundles import SIDE, png
from tests.edge_agent.serving.lines import Line

TIMEOUT_S = 120
TOKEN = "0123456789abcdef"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl; an administrator installs it")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line that listens on a port and on a socket, with a token for the port."""
    (tmp_path / "token").write_text(TOKEN)
    made = Line(tmp_path, path=tmp_path / "ask.sock", token_file=tmp_path / "token")
    yield made
    made.close()


@pytest.fixture
def open_line(tmp_path: Path) -> Iterator[Line]:
    """A line on loopback, without a token."""
    made = Line(tmp_path)
    yield made
    made.close()


def curl(*arguments: str | Path) -> tuple[str, str]:
    """Head and body of what curl gets."""
    command = ["curl", "--silent", "--include", "--max-time", "20", *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    *heads, body = done.stdout.decode().split("\r\n\r\n")
    return heads[-1], body


@needs_curl
def test_curl_gets_a_verdict_on_a_picture(line: Line, tmp_path: Path) -> None:
    """A file goes up over the socket, and over the port with the token; what is long is announced before it is sent."""
    noise = np.random.default_rng(1).integers(0, 255, (900, 900, 3), np.uint8)
    (tmp_path / "part.png").write_bytes(png(noise))
    posted = ("--data-binary", f"@{tmp_path / 'part.png'}")
    assert (tmp_path / "part.png").stat().st_size > 2**20  # from here on curl asks first: Expect: 100-continue

    head, body = curl("--unix-socket", tmp_path / "ask.sock", *posted, "http://gateway/v2/models/surface/verdict")
    url = f"http://127.0.0.1:{line.server.port}/v2/models/surface/verdict"
    said, again = curl("-H", f"Authorization: Bearer {TOKEN}", *posted, url)
    refused, _ = curl(*posted, url)

    assert head.startswith("HTTP/1.1 200 OK")
    assert said.startswith("HTTP/1.1 200 OK")
    assert refused.startswith("HTTP/1.1 401 ")
    assert json.loads(body)["verdict"] == json.loads(again)["verdict"] == "OK"


@needs_curl
def test_curl_cannot_send_chunks(open_line: Line, tmp_path: Path) -> None:
    """A body without a length is refused in words."""
    url = f"http://127.0.0.1:{open_line.server.port}/v2/models/surface/verdict"

    head, body = curl("-H", "Transfer-Encoding: chunked", "--data-binary", "abc", url)

    assert head.startswith("HTTP/1.1 411 ")
    assert "Content-Length" in json.loads(body)["error"]


@pytest.mark.slow
def test_a_stock_triton_client_works_unchanged(open_line: Line) -> None:
    """Every call that it makes, binary and JSON, one after the other and at once: the engine's own answers."""
    try:
        python = environment.python("triton")
    except BenchError as error:
        pytest.skip(f"{error}: {error.hint}")
    url = f"127.0.0.1:{open_line.server.port}"
    calls = Path(__file__).with_name("triton_calls.py")

    done = subprocess.run(
        [python, calls, url, "surface", str(SIDE)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    array = np.float32(found["array"]).reshape(1, 3, SIDE, SIDE)
    expected = open_line.models["surface"].engine.run({"image": array})
    assert len(found["scores"]) == 11
    for how, score in found["scores"].items():
        assert np.float32(score).tobytes() == expected["score"].tobytes(), how
        assert np.float32(found["maps"][how]).tobytes() == expected["map"].tobytes(), how
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, True])
    assert found["nobody_ready"] is False
    assert found["server"]["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
    assert found["model"]["inputs"][0]["shape"] == [1, 3, SIDE, SIDE]
    assert found["config"]["input"][0]["data_type"] == "TYPE_FP32"
    assert [each["name"] for each in found["index"]] == ["surface", "engine"]
    assert all("signed" in words for words in found["refused"])
    assert "shape" in found["wrong"]
    assert (found["id"], found["count"], found["models"]) == ("7", 11, 2)
