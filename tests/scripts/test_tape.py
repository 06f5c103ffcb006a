from pathlib import Path

from scripts.day.tape import Tape

LINE = b'{"verdict":"%s","part":"P%d","epoch":1,"trigger":%d,"score":0.5,"latency_ms":5.0,"reason":"NONE"}'


def line(n: int, verdict: bytes = b"OK") -> bytes:
    """What the line is told of part `n`."""
    return LINE % (verdict, n, n)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    """Each line comes once, and the tape remembers what was said of each trigger."""
    path = tmp_path / "verdicts.jsonl"
    tape = Tape(path)
    path.write_bytes(line(1) + b"\n")
    first = tape.read()
    with path.open("ab") as file:
        file.write(line(2, b"NG") + b"\n")

    second = tape.read()

    assert ([told.trigger for told in first], [told.trigger for told in second]) == ([1], [2])
    assert tape.verdicts == {1: "OK", 2: "NG"}


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    """A line that is being written is read when it is whole."""
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(line(1)[:40])
    tape = Tape(path)
    before = tape.read()
    path.write_bytes(line(1) + b"\n")

    assert (before, len(tape.read())) == ([], 1)


def test_the_stump_a_kill_left_is_passed_over(tmp_path: Path) -> None:
    """Half a line that was ended by the next run hides nothing after it."""
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(line(1)[:40] + b"\n" + line(2) + b"\n")

    assert [told.trigger for told in Tape(path).read()] == [2]


def test_a_file_that_is_not_there_is_silent(tmp_path: Path) -> None:
    """Before the first verdict there is nothing to read."""
    assert Tape(tmp_path / "verdicts.jsonl").read() == []
