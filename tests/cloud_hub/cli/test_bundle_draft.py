import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from cloud_hub.cli.bundle import command
from cloud_hub.errors import FactoryError
from edge_protocol import bundle
from edge_protocol.bundle import MANIFEST
from tests.cloud_hub.factory.test_newborn import brightness, fill_in


def say(*words: object) -> Result:
    """What `cloud-hub bundle` answers; an error of ours is raised, as the program's end would tell it."""
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)
    if isinstance(result.exception, FactoryError):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A draft, made by the command."""
    (tmp_path / "foreign.onnx").write_bytes(brightness())
    assert say("new", tmp_path / "foreign.onnx", "--out", tmp_path / "mine").exit_code == 0
    return tmp_path / "mine"


def test_a_foreign_model_becomes_a_bundle_by_three_commands(folder: Path, tmp_path: Path) -> None:
    """New, golden, check: exit code 1 while something is open, and a bundle at the end."""
    cv2.imwrite(str(tmp_path / "light.png"), np.full((16, 16, 3), 250, np.uint8))

    first = say("check", folder)
    fill_in(folder)
    golden = say("golden", folder, tmp_path / "light.png", "--verdict", "OK")
    last = say("check", folder, "--finish")

    assert (first.exit_code, golden.exit_code, last.exit_code) == (1, 0, 0)
    assert "input.mean" in first.output
    assert bundle.load(folder)[1][:12] in last.output


def test_each_field_is_told_with_where_it_comes_from(tmp_path: Path) -> None:
    """Read, guessed, or to fill in; programs get the same with the manifest."""
    (tmp_path / "foreign.onnx").write_bytes(brightness())

    told = say("new", tmp_path / "foreign.onnx", "--out", tmp_path / "one", "--name", "light").output
    answer: dict[str, Any] = json.loads(
        say("new", tmp_path / "foreign.onnx", "--out", tmp_path / "two", "--name", "light", "--json").output
    )

    assert told.index("read:") < told.index("guessed:") < told.index("fill in:")
    assert answer["manifest"] == json.loads((tmp_path / "one" / MANIFEST).read_text())
    assert {note["how"] for note in answer["notes"]} == {"read", "guessed", "fill in"}


def test_a_folder_without_a_draft_says_how_to_make_one(tmp_path: Path) -> None:
    """One cause and one cure."""
    with pytest.raises(FactoryError) as caught:
        say("check", tmp_path)

    assert "bundle new" in caught.value.hint
