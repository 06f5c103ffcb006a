import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_agent.updates import objects
from edge_agent.updates.objects import Objects
from edge_protocol.updates import Refusal, UpdateRefused

FILE = bytes(range(256)) * 400
SHA = hashlib.sha256(FILE).hexdigest()
SIZE = len(FILE)
PIECE = 30_000


def write_some(store: Objects, content: bytes, upto: int) -> None:
    """The first bytes, in pieces."""
    for at in range(store.offset(SHA, SIZE), upto, PIECE):
        assert store.write(SHA, SIZE, at, content[at : min(at + PIECE, upto)])


def test_a_file_is_there_when_all_of_it_came_and_is_what_it_should_be(tmp_path: Path) -> None:
    """Before the check nothing lies under its name; after it the bytes do, and no draft."""
    store = Objects(tmp_path)

    write_some(store, FILE, SIZE)
    before = store.has(SHA)
    done = store.finish(SHA)

    assert (before, done, store.has(SHA)) == (False, True, True)
    assert store.read(SHA) == FILE
    assert [path.name for path in tmp_path.iterdir()] == [SHA]


def test_what_comes_twice_or_leaves_a_hole_changes_nothing(tmp_path: Path) -> None:
    """Pieces out of order, again, beyond the end: refused; one that overlaps adds only what is new."""
    store = Objects(tmp_path)
    write_some(store, FILE, PIECE)

    said = [
        store.write(SHA, SIZE, 0, FILE[:PIECE]),
        store.write(SHA, SIZE, 2 * PIECE, FILE[2 * PIECE : 3 * PIECE]),
        store.write(SHA, SIZE, PIECE, FILE + b"more"),
        store.write(SHA, SIZE, PIECE - 10, FILE[PIECE - 10 : 2 * PIECE]),
    ]

    assert said == [False, False, False, True]
    assert store.offset(SHA, SIZE) == 2 * PIECE


def test_a_begun_file_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The next start asks for the rest only."""
    write_some(Objects(tmp_path), FILE, 2 * PIECE)

    store = Objects(tmp_path)
    offset = store.offset(SHA, SIZE)
    write_some(store, FILE, SIZE)

    assert offset == 2 * PIECE
    assert store.finish(SHA)


def test_a_wrong_file_is_tampered_but_one_that_a_cut_may_have_eaten_is_fetched_again(tmp_path: Path) -> None:
    """Begun before a restart: once more from the start. Begun by this start, or wrong again: Tampered."""
    wrong = b"x" + FILE[1:]
    write_some(Objects(tmp_path), wrong, 2 * PIECE)
    store = Objects(tmp_path)
    write_some(store, wrong, SIZE)

    resumed, offset = store.finish(SHA), store.offset(SHA, SIZE)
    write_some(store, wrong, SIZE)
    with pytest.raises(UpdateRefused) as caught:
        store.finish(SHA)

    assert (resumed, offset) == (False, 0)
    assert caught.value.refusal is Refusal.TAMPERED
    assert not store.has(SHA)


class Disk(NamedTuple):
    """What the system says of a disk."""

    total: int
    used: int
    free: int


def test_room_is_taken_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed is held at once and handed over piece by piece; a disk without it says how much is missing."""
    store = Objects(tmp_path)
    store.reserve({SHA: SIZE})
    held = (tmp_path / ".reserve").stat().st_size
    write_some(store, FILE, PIECE)
    left = (tmp_path / ".reserve").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Disk(100, 100, objects.KEEP_FREE_BYTES))

    with pytest.raises(UpdateRefused) as caught:
        store.reserve({SHA: 5 * 2**20})

    assert (held, left) == (SIZE, SIZE - PIECE)
    assert (caught.value.refusal, caught.value.retry) == (Refusal.OUT_OF_SPACE, True)
    assert "5 MB of disk space are missing" in caught.value.detail
    assert not (tmp_path / ".reserve").exists()


def test_a_file_that_is_on_the_disk_already_is_taken_if_it_is_the_one(tmp_path: Path) -> None:
    """The placed file is copied, so that writing into it later harms nobody; another one of its length is not taken."""
    store = Objects(tmp_path / "objects")
    placed, other = tmp_path / "a", tmp_path / "b"
    placed.write_bytes(FILE)
    other.write_bytes(FILE[::-1])

    refused, taken = store.adopt(other, SHA, SIZE), store.adopt(placed, SHA, SIZE)
    placed.write_bytes(b"")

    assert (refused, taken) == (False, True)
    assert store.read(SHA) == FILE
    assert not store.adopt(tmp_path / "nowhere", "0" * 64, 3)


def test_what_the_disk_has_changed_is_noticed_and_goes(tmp_path: Path) -> None:
    """A check reads every byte; what is damaged is deleted, and can be fetched anew."""
    store = Objects(tmp_path)
    write_some(store, FILE, SIZE)
    store.finish(SHA)
    whole = store.check(SHA)
    store.path(SHA).write_bytes(FILE[:-1])

    assert (whole, store.check(SHA), store.has(SHA)) == (True, False, False)


def test_what_nobody_needs_is_deleted(tmp_path: Path) -> None:
    """Whole or begun: only what is named stays."""
    store = Objects(tmp_path)
    for name in ("a" * 64, "b" * 64, "c" * 64 + ".part", "d" * 64 + ".part"):
        (tmp_path / name).write_bytes(b"")

    store.collect({"a" * 64, "d" * 64})

    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "d"]
