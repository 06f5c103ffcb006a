"""The shelf: a byte budget that holds, the oldest first, and nothing half-kept."""

import errno
from pathlib import Path

import pytest

from edge_agent.diagnostics.exhibit import Exhibit, read_exhibit
from edge_agent.diagnostics.shelf import Shelf
from edge_protocol.messages import Explanation

BLOCK = 4096


def exhibit(n: int, until_us: int = 0, at_us: int = 1) -> Exhibit:
    """An exhibit of trigger `n`."""
    return Exhibit(
        at_us=at_us,
        verdict="NG",
        reason="SCORE_REJECT",
        bundle="b",
        version="1.0.0",
        digest="ab" * 32,
        variant="fp32",
        accept=0.1,
        reject=0.2,
        until_us=until_us,
        explanation=Explanation(epoch=1, trigger=n, pipeline="p", score=0.5),
    )


def on_disk(folder: Path) -> int:
    """What a folder takes of the disk."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.iterdir())


def test_the_budget_holds_and_the_oldest_go_first(tmp_path: Path) -> None:
    """However many come, what lies there stays within the budget and is the newest."""
    shelf = Shelf(tmp_path, 20 * BLOCK)

    for n in range(50):
        shelf.put(exhibit(n), b"x" * (BLOCK * (1 + n % 3)))
        assert on_disk(tmp_path) <= 20 * BLOCK
        assert shelf.taken_bytes == on_disk(tmp_path)

    kept = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("*.json"))
    assert kept == list(range(kept[0], 50))


def test_so_many_are_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the budget, their number is bounded, in this run and the next: each takes memory."""
    monkeypatch.setattr("edge_agent.diagnostics.shelf.MAX_KEPT", 3)
    shelf = Shelf(tmp_path, 2**30)
    for n in range(5):
        shelf.put(exhibit(n))
    kept = sorted(path.name for path in tmp_path.iterdir())

    monkeypatch.setattr("edge_agent.diagnostics.shelf.MAX_KEPT", 2)
    Shelf(tmp_path, 2**30)

    assert kept == ["1-2-p.json", "1-3-p.json", "1-4-p.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept[1:]


def test_a_new_run_takes_over_what_lies_there(tmp_path: Path) -> None:
    """After a restart the budget counts what the run before has kept; halves are swept out."""
    first = Shelf(tmp_path, 40 * BLOCK)
    for n in range(5):
        first.put(exhibit(n), b"x" * BLOCK)
    (tmp_path / "9-9-lost.png").write_bytes(b"a picture without its numbers")
    (tmp_path / "1-2-p.json").write_bytes(b"{")

    second = Shelf(tmp_path, 6 * BLOCK)

    assert second.taken_bytes == on_disk(tmp_path) <= 6 * BLOCK
    assert not (tmp_path / "9-9-lost.png").exists()
    assert read_exhibit(tmp_path / "1-4-p.json") is not None


def test_what_is_past_its_date_goes(tmp_path: Path) -> None:
    """A bundle's retention is kept, however much room there is, after a restart too."""
    Shelf(tmp_path, 2**20).put(exhibit(1, until_us=100), b"x")
    shelf = Shelf(tmp_path, 2**20)
    shelf.put(exhibit(2, until_us=300), b"x")

    shelf.expire(200)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-2-p.json", "1-2-p.png"]


def test_a_picture_above_the_budget_is_left_out(tmp_path: Path) -> None:
    """The numbers are kept and say why there is no picture."""
    shelf = Shelf(tmp_path, 3 * BLOCK)

    shelf.put(exhibit(1), b"x" * (4 * BLOCK))

    kept = read_exhibit(tmp_path / "1-1-p.json")
    assert kept is not None
    assert (kept.picture, "budget" in kept.no_picture) == ("", True)


def test_a_full_disk_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers cannot be written, the picture does not stay behind."""
    shelf = Shelf(tmp_path, 2**20)

    def full(path: Path, data: bytes, **_: object) -> None:
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("edge_agent.durable.write_file", full)
    with pytest.raises(OSError, match="No space"):
        shelf.put(exhibit(1), b"x")

    assert list(tmp_path.iterdir()) == []
    assert shelf.taken_bytes == 0
