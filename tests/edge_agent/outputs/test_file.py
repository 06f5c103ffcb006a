import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.errors import OutputError
from edge_agent.judgement import Judgement
from edge_agent.outputs.file import FileOutput
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict


def judgement(n: int) -> Judgement:
    """The judgement of trigger `n`."""
    return Judgement(Trigger(1, n, 0, 0), "surface", Context("surface"), Verdict.OK, Reason.NONE, 0.5, 10)


def opened(path: Path) -> FileOutput:
    """An output to `path`."""
    output = FileOutput(settings.FileOutput(name="log", path=path))
    output.open()
    return output


def triggers(path: Path) -> list[int]:
    """The triggers of the lines in `path`."""
    return [json.loads(line)["trigger"] for line in path.read_text().splitlines()]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A disk that is full for files above `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_renamed_file_is_made_anew(tmp_path: Path) -> None:
    """Rotation by renaming loses no line and needs no word to the agent."""
    path, rotated = tmp_path / "v.jsonl", tmp_path / "v.jsonl.1"
    output = opened(path)
    output.send(judgement(1))

    path.rename(rotated)
    output.send(judgement(2))
    path.unlink()
    output.send(judgement(3))
    output.close()

    assert triggers(rotated) == [1]
    assert triggers(path) == [3]


def test_a_restart_goes_on_at_the_end(tmp_path: Path) -> None:
    """Nothing that is in the file is overwritten."""
    path = tmp_path / "v.jsonl"
    for n in (1, 2):
        output = opened(path)
        output.send(judgement(n))
        output.close()

    assert triggers(path) == [1, 2]


def test_a_full_disk_is_a_failed_outcome(tmp_path: Path) -> None:
    """No room for a line is told in the outcome, and the agent goes on."""
    output = opened(Path("/dev/full"))

    outcome = output.send(judgement(1))
    output.close()

    assert not outcome.ok
    assert "No space left" in outcome.detail


def test_a_line_is_whole_or_not_there(tmp_path: Path) -> None:
    """When the disk fills within a line nothing of it stays, and the next line stands alone."""
    path = tmp_path / "v.jsonl"
    output = opened(path)
    output.send(judgement(1))

    with no_file_longer_than(path.stat().st_size + 20):
        failed = output.send(judgement(2))
    output.send(judgement(3))
    output.close()

    assert not failed.ok
    assert triggers(path) == [1, 3]


def test_half_a_line_of_an_earlier_run_is_ended(tmp_path: Path) -> None:
    """What a kill left behind never swallows the first line of the next run."""
    path = tmp_path / "v.jsonl"
    path.write_text('{"verdict":"O')

    output = opened(path)
    output.send(judgement(1))
    output.close()

    assert json.loads(path.read_text().splitlines()[1])["trigger"] == 1


def test_a_file_that_cannot_be_written_is_refused_with_a_cure(tmp_path: Path) -> None:
    """A folder that is not there is an error when the output is opened."""
    with pytest.raises(OutputError, match="cannot write") as caught:
        opened(tmp_path / "nowhere" / "v.jsonl")

    assert caught.value.hint
