"""The ring of windows: the newest are found, by whoever reads, and a torn slot is not read."""

from pathlib import Path

import msgspec

from edge_agent.diagnostics.windows import ROOM_BYTES, SLOT_BYTES, WindowRing, find
from edge_protocol.messages import MAX_EXPLAINED, ExplainedFeature
from tests.edge_agent.diagnostics.test_shelf import exhibit


def test_the_newest_are_found(tmp_path: Path) -> None:
    """Of many windows the last `slots` are there, and no other; the file does not grow."""
    path = tmp_path / "ring"
    ring = WindowRing(path, 8)
    for n in range(1, 31):
        ring.put(exhibit(n))
    ring.close()

    there = [n for n in range(1, 31) if find(path, 1, n)]

    assert there == list(range(23, 31))
    assert path.stat().st_size == 8 * SLOT_BYTES


def test_a_new_run_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """After a restart, with fewer slots too, the oldest is written over and not the newest."""
    path = tmp_path / "ring"
    for n in (1, 2, 3, 4, 5):
        ring = WindowRing(path, 4)
        ring.put(exhibit(n))
        ring.close()

    assert [n for n in range(1, 6) if find(path, None, n)] == [2, 3, 4, 5]
    smaller = WindowRing(path, 3)
    smaller.put(exhibit(6))
    smaller.close()

    assert path.stat().st_size <= 4 * SLOT_BYTES
    assert find(path, None, 6)
    assert not find(path, None, 1)


def test_a_torn_slot_is_not_read(tmp_path: Path) -> None:
    """A slot that a power cut tore is as if it were not there; the others are read."""
    path = tmp_path / "ring"
    ring = WindowRing(path, 4)
    for n in (1, 2, 3):
        ring.put(exhibit(n))
    ring.close()
    content = bytearray(path.read_bytes())
    content[content.index(b"abab", SLOT_BYTES)] = ord("c")  # still an exhibit, and not the one that was kept
    path.write_bytes(content[: 2 * SLOT_BYTES + 100])

    assert [n for n in (1, 2, 3) if find(path, 1, n)] == [1]


def test_an_exhibit_that_is_too_long_loses_its_last_reasons(tmp_path: Path) -> None:
    """What a slot does not hold is kept with fewer reasons, the first ones."""
    reasons = tuple(ExplainedFeature(name=f"feature {n} " + "x" * 60, value=1.0 * n) for n in range(MAX_EXPLAINED))
    long = exhibit(1)
    long = msgspec.structs.replace(long, explanation=msgspec.structs.replace(long.explanation, reasons=reasons))
    ring = WindowRing(tmp_path / "ring", 2)

    ring.put(long)
    ring.close()

    kept = find(tmp_path / "ring", 1, 1)[0].explanation.reasons
    assert 0 < len(kept) < MAX_EXPLAINED
    assert kept == reasons[: len(kept)]
    assert len(msgspec.msgpack.encode(find(tmp_path / "ring", 1, 1)[0])) <= ROOM_BYTES


def test_where_no_ring_is_nothing_is_found(tmp_path: Path) -> None:
    """A gateway without windows has no ring."""
    assert find(tmp_path / "ring", None, 1) == []
