"""`edge-agent explain` on a gateway that really judged: what it tells of an NG, of a window, and of what is gone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent import config
from edge_agent.cli import place
from edge_agent.diagnostics.chart import WIDTH
from edge_agent.diagnostics.exhibit import FOLDER
from edge_protocol.messages import Explanation, decode_record
from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.inference.small_bundles import png, write_image_bundle
from tests.gateways import FOLDER_TOML, Gateway, until


def surface(folder: Path) -> Gateway:
    """A gateway that has judged one picture that is nearly black."""
    gateway = Gateway(folder, toml=FOLDER_TOML, pipeline="surface", bundle="small-image")
    write_image_bundle(gateway.data / "bundles/small-image", capture="ng")
    with gateway.inside():
        (folder / "in/part.png").write_bytes(png(np.full((32, 32, 3), 20, np.uint8)))
        until("its exhibit", lambda: list((gateway.data / FOLDER).glob("*.json")))
        until("its verdict", gateway.verdicts)
    return gateway


def test_an_ng_is_told_and_its_picture_written(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, score against thresholds, model and the picture, in words, as JSON and as a file."""
    gateway = surface(tmp_path)
    monkeypatch.chdir(tmp_path)

    told = say("explain", 1, "--config", gateway.config, "--out", tmp_path / "why.png")
    as_json = say("explain", 1, "--config", gateway.config, "--json")

    assert told.code == 0, told.err
    assert "surface: NG of part part" in told.out
    assert "NG from 0.4" in told.out
    assert cv2.imread(str(tmp_path / "why.png")).shape == (32, 32, 3)
    found = as_json.json[0]
    assert (found["verdict"], found["reject"], Path(found["picture"]).suffix) == ("NG", 0.4, ".png")


def test_a_window_is_told_with_its_reasons(tmp_path: Path, say: Say) -> None:
    """Of an OK window too: what of it stands out, and where it stands among the good ones."""
    gateway = Gateway(tmp_path, rate_hz=50)
    with gateway.inside():
        until("some windows", lambda: len(gateway.verdicts()) > 5)
    number = gateway.verdicts()[3][0]

    told = say("explain", number, "--config", gateway.config, "--json")

    assert told.code == 0, told.err
    assert len(told.json[0]["explanation"]["reasons"]) == 5
    in_words = say("explain", number, "--config", gateway.config, "--out", tmp_path / "why.png")
    assert in_words.out.count(" is ") >= 5
    assert cv2.imread(str(tmp_path / "why.png")).shape[1] == WIDTH


def test_what_is_gone_is_said_with_its_cause(tmp_path: Path, say: Say) -> None:
    """An exhibit that made room for others, a number that is none and one that nobody gave: cause and cure each."""
    gateway = surface(tmp_path)
    for path in (gateway.data / FOLDER).iterdir():
        path.unlink()

    gone = say("explain", 1, "--config", gateway.config)
    no_picture = say("explain", 1, "--config", gateway.config, "--out", tmp_path / "why.png")
    unknown = say("explain", 99, "--config", gateway.config)
    no_number = say("explain", "seven", "--config", gateway.config)
    far = say("explain", "9" * 25, "--config", gateway.config)

    assert (gone.code, "exhibits_mb" in gone.out) == (0, True)
    assert (no_picture.code, "no picture" in no_picture.err) == (2, True)
    assert not (tmp_path / "why.png").exists()
    assert (unknown.code, "edge-agent verdicts" in unknown.err) == (2, True)
    assert (far.code, "no verdict" in far.err) == (2, True)
    assert (no_number.code, "4711" in no_number.err) == (2, True)


def test_the_hub_is_told_why(tmp_path: Path) -> None:
    """An NG's explanation waits in the outbox as a record of its own."""
    gateway = surface(tmp_path)

    rows = place.select(config.load(gateway.config), "SELECT body FROM captures")

    records = [decode_record(row["body"]) for row in rows]
    assert [(type(each), each.trigger) for each in records] == [(Explanation, 1)]
