import hashlib
from pathlib import Path

import pytest

from edge_agent.updates.updates import NOTES, TAKES, TAKES_US
from edge_protocol.metadata import MODELS, carry, pack
from edge_protocol.updates import Refusal, UpdateRefused
from tests.edge_agent.updates.line import line_of


def test_the_same_message_twice_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that was taken is not even opened again; one that changed is."""
    with line_of(tmp_path) as line:
        taken: list[str] = []
        monkeypatch.setattr(line.director, "take", lambda repository, _files: taken.append(repository))
        payload = carry(pack({"timestamp.json": b"{}"}))
        for message in (payload, payload, carry(pack({"timestamp.json": b"[]"}))):
            line.updates.on_message(MODELS, message)
            line.step()

        assert taken == [MODELS, MODELS]


def test_a_refused_set_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged, garbled, replayed: a note with the refusal's name and the repository, not one for each repetition."""

    def refuse(_repository: str, _files: object) -> None:
        raise UpdateRefused(Refusal.NOT_TRUSTED, "timestamp was signed by 0/1 keys")

    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", refuse)
        for content in (b"{}", b"{}"):
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": content})))
            line.step()
        line.updates.on_message(MODELS, b"garbage")
        line.step()

        assert [(each.pipeline, each.step, each.refusal) for each in line.told] == [("", "refused", "NotTrusted")] * 2
        assert line.told[0].detail == "models: timestamp was signed by 0/1 keys"


def test_a_refused_set_that_is_played_again_later_is_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged, good, forged: two notes. A thief who sends a thousand fills no disk."""

    def refuse_braces(_repository: str, files: dict[str, bytes]) -> None:
        if files["timestamp.json"].startswith(b"{"):
            raise UpdateRefused(Refusal.NOT_TRUSTED, "timestamp was signed by 0/1 keys")

    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", refuse_braces)
        for content in (b"{}", b"[]", b"{}", *(b"{%d}" % n for n in range(100))):
            line.clock.advance(300_000)
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": content})))
            line.step()
            if content == b"[]":
                before = len(line.told)
            elif len(line.told) == 2:
                assert before == 1

        assert len(line.told) == NOTES


def test_a_set_that_is_too_large_for_a_message_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its digest, as an object; then it is taken like any other, and the object goes."""
    import random

    body = pack({"timestamp.json": random.Random(1).randbytes(300_000)})  # noqa: S311 (bytes that do not compress)
    with line_of(tmp_path) as line:
        taken: list[int] = []
        monkeypatch.setattr(
            line.director, "take", lambda _repository, files: taken.append(len(files["timestamp.json"]))
        )
        line.objects[hashlib.sha256(body).hexdigest()] = body
        line.updates.on_message(MODELS, carry(body))
        line.run(lambda _line: taken == [300_000])
        line.step()

        assert list((tmp_path / "objects").iterdir()) == []


def test_a_flood_of_sets_does_not_keep_the_line_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty sets in ten seconds are verified, the rest is dropped; what comes later is taken again."""
    taken: list[bytes] = []
    with line_of(tmp_path) as line:
        monkeypatch.setattr(line.director, "take", lambda _repository, files: taken.append(files["timestamp.json"]))
        for n in range(3 * TAKES):
            line.updates.on_message(MODELS, carry(pack({"timestamp.json": b"%d" % n})))
            line.updates.step()
        flooded = len(taken)
        line.clock.advance(TAKES_US)
        line.updates.on_message(MODELS, carry(pack({"timestamp.json": b"good"})))
        line.updates.step()

        assert flooded == TAKES
        assert taken[-1] == b"good"
