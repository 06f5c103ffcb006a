"""README.md is a program: its files are written, its commands run one after the other, as a newcomer would."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.edge_agent.inference.small_bundles import png, write_image_bundle, write_window_bundle
from tests.gateways import BIN, Running, run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FENCED = re.compile(r"^```(?P<language>\w+) ?(?P<file>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"(?:\./)?((?:scripts|\.ci)/\w+)(.*)")
STAYS = {"cloud-hub serve": "Ctrl-C ends it", "edge-agent run": "is ready"}
"""What goes on until it is told to stop, and what it says when others may use it."""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a language: the file each is meant to be, if it is one, and its text."""
    for found in FENCED.finditer(README):
        if found["language"] == language:
            yield found["file"], found["text"]


def examples() -> list[str]:
    """Every command of the shell blocks, in order; a backslash at the end of a line joins it to the next."""
    lines = "".join(text for _, text in blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def calls_of_scripts() -> list[tuple[str, list[str]]]:
    """Every program of the developer's that README.md calls, in a block or in a sentence, and its options."""
    quoted = re.findall(r"`([^`\n]+)`", README)
    found = [match for text in [*examples(), *quoted] if (match := SCRIPT.match(text))]
    return [(match[1], re.findall(r"--[a-z]+", match[2])) for match in found]


def newcomer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what `scripts/build_models` makes, small, a picture, and both programs on the path."""
    write_image_bundle(folder / ".lineside/bundles/surface-anomaly", name="surface-anomaly")
    write_window_bundle(folder / ".lineside/bundles/engine-fault", name="engine-fault")
    (folder / "part.png").write_bytes(png(np.full((32, 32, 3), 128, np.uint8)))
    for language in ("toml", "json"):
        for name, text in blocks(language):
            if name:
                (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")


def told(done: subprocess.CompletedProcess[str]) -> str:
    """A command that has ended, for whoever must repair README.md."""
    return f"{done.args[-1]}\nended with {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_every_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of README.md, one after the other in one folder, each do what they are there for: exit code 0."""
    newcomer(tmp_path, monkeypatch)
    lines = [line for line in examples() if not SCRIPT.match(line)]
    staying: list[Running] = []

    with ExitStack() as at_the_end:
        for line in lines:
            words = shlex.split(line, comments=True)
            ready = STAYS.get(" ".join(words[:2]))
            if ready:
                staying.append(Running(*words))
                at_the_end.callback(staying[-1].kill)
                staying[-1].await_line(ready)
            else:
                done = run(["bash", "-euo", "pipefail", "-c", line])
                assert done.returncode == 0, told(done)
        codes = [program.stop() for program in reversed(staying)]

    assert codes == [0] * len(STAYS)


@pytest.mark.parametrize(("script", "options"), calls_of_scripts())
def test_every_script_is_there_with_the_options_it_is_shown_with(script: str, options: list[str]) -> None:
    """What README.md calls in `scripts/` can be called, and the program describes each option itself."""
    path = ROOT / script

    head = [line for line in path.read_text().splitlines() if line.startswith("#")]

    assert os.access(path, os.X_OK)
    assert [option for option in options if option not in "\n".join(head)] == []
