import random
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from edge_agent.inference import ring
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.messages import StreamAccount
from tests.edge_agent.inference.small_bundles import npy
from tests.edge_agent.outputs.receiver import Receiver
from tests.gateways import FOLDER_TOML, READY, Gateway, until, window

RATE_HZ = 200
ROUNDS = [pytest.param(3, 1, id="3 kills"), pytest.param(20, 2, id="20 kills", marks=pytest.mark.slow)]
SAFE = """
[[outputs]]
kind = "file"
name = "safe"
path = "safe.jsonl"
after_commit = true
"""


def live_and_die(gateway: Gateway, rng: random.Random) -> None:
    """Start, and be killed at some moment: while it starts, while it recovers, or in the midst of work."""
    running = gateway.start()
    if rng.random() < 0.75:
        running.await_line(READY)
    # Which moment it is nobody decides: that it is any is the test.
    threading.Event().wait(rng.uniform(0.0, 0.8))
    running.kill()


def finish(gateway: Gateway) -> None:
    """A last start that works for a moment and ends in order."""
    with gateway.running() as running:
        taken = gateway.triggers()
        until("some more parts", lambda: gateway.triggers() > taken + 20)
        assert running.stop() == 0, "".join(running.lines)


def on_disk(gateway: Gateway) -> dict[tuple[int, str], ranges.Ranges]:
    """Which rows lie in the database, by epoch and stream."""
    sql = " UNION ALL ".join(f"SELECT id, '{stream}' AS stream FROM {stream}" for stream in Stream)  # noqa: S608
    found: dict[tuple[int, str], list[int]] = {}
    for row in gateway.query(sql):
        found.setdefault((row["id"] >> 32, row["stream"]), []).append(row["id"] & 0xFFFFFFFF)
    return {key: ranges.from_numbers(numbers) for key, numbers in found.items()}


def unaccounted(gateway: Gateway) -> dict[tuple[int, str], tuple[Any, Any]]:
    """What is neither on disk nor declared: where a gateway that has no hub keeps its books wrong."""
    rows = on_disk(gateway)
    books: dict[tuple[int, str], StreamAccount] = {(each.epoch, each.stream): each for each in gateway.made()}
    return {
        key: (rows.get(key, ()), books[key].held if key in books else None)
        for key in rows.keys() | books.keys()
        if key not in books
        or rows.get(key, ()) != books[key].held
        or ranges.union(books[key].held, books[key].declared)
        != (((1, books[key].produced),) if books[key].produced else ())
    }


# Without the second output hundreds of verdicts wait in the ring for their commit; with it each is committed at once.
@pytest.mark.parametrize("outputs", ['["journal"]', '["journal", "safe"]'])
@pytest.mark.parametrize(("kills", "seed"), ROUNDS)
def test_after_any_kill_each_trigger_has_one_verdict(tmp_path: Path, kills: int, seed: int, outputs: str) -> None:
    """
    Killed again and again at any moment: verdicts = triggers, none twice, none changed on its way between line and
    record, the line told each at most once, and every number of every stream is there.
    """
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)
    gateway = Gateway(tmp_path, rate_hz=RATE_HZ, more=SAFE)
    gateway.toml = gateway.toml.replace('["journal"]', outputs)
    gateway.write()

    for _ in range(kills):
        live_and_die(gateway, rng)
    finish(gateway)

    recorded = gateway.verdicts()
    said = {n: (verdict, reason) for n, verdict, reason in recorded}
    assert [n for n, _, _ in recorded] == list(range(1, gateway.triggers() + 1))
    for journal in ("verdicts.jsonl", "safe.jsonl"):
        told = gateway.journal(journal)
        assert [n for n, times in Counter(line["trigger"] for line in told).items() if times > 1] == []
        assert [line for line in told if said[line["trigger"]] != (line["verdict"], line["reason"])] == []
    assert unaccounted(gateway) == {}
    assert len(gateway.events("started")) + len(gateway.events("stopped")) >= 2


@pytest.mark.parametrize(("kills", "seed"), [ROUNDS[1]])
def test_after_any_kill_each_file_is_judged(tmp_path: Path, kills: int, seed: int) -> None:
    """A file that was taken when the kill came is found again: in the end each was judged and lies where it belongs."""
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)
    gateway = Gateway(tmp_path, toml=FOLDER_TOML)
    names = [f"{n:03d}.npy" for n in range(600)]
    for n, name in enumerate(names):
        (tmp_path / "in" / name).write_bytes(npy(window(n)))

    for _ in range(kills):
        live_and_die(gateway, rng)
    with gateway.running() as running:
        until("an empty folder", lambda: not list((tmp_path / "in").glob("*.npy")), 60)
        assert running.stop() == 0, "".join(running.lines)

    recorded = gateway.verdicts()
    parts = gateway.query("SELECT DISTINCT part FROM verdict WHERE verdict != 'UNINSPECTED'")
    assert [n for n, _, _ in recorded] == list(range(1, gateway.triggers() + 1))
    assert sorted(row["part"] for row in parts) == [name.removesuffix(".npy") for name in names]
    assert sorted(path.name for path in (tmp_path / "in/processed").iterdir()) == names


def outcomes(gateway: Gateway, output: str) -> list[dict[str, Any]]:
    """The outcomes of an output on record."""
    rows = gateway.query("SELECT hex(body) AS body FROM outcomes ORDER BY id")
    found = [msgspec.msgpack.decode(bytes.fromhex(row["body"])) for row in rows]
    return [each for each in found if each["output"] == output]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The other side of webhooks."""
    receiver = Receiver()
    yield receiver
    receiver.break_down()


def goes_on(receiver: Receiver, told: int) -> bool:
    """Whether the other side has heard more than that."""
    return len(receiver.told) > told


def has_taken(gateway: Gateway, parts: int) -> bool:
    """Whether there were so many triggers."""
    return gateway.triggers() > parts


@pytest.mark.parametrize("is_safe", ["false", "true"])
@pytest.mark.parametrize(("kills", "seed"), [pytest.param(2, 1, id="2 kills"), ROUNDS[1]])
def test_after_any_kill_each_webhook_has_its_outcome(
    tmp_path: Path, receiver: Receiver, kills: int, seed: int, is_safe: str
) -> None:
    """
    Killed with webhooks under way, waiting, delivered and not yet on record: in the end each verdict has one outcome,
    the other side has heard each that is said to be delivered, and what it heard again came with the same key and
    the same words.
    """
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)
    more = f"""
[[outputs]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:{receiver.port}/"
backoff_s = 0.01
queue = 100000
after_commit = {is_safe}
"""
    gateway = Gateway(tmp_path, rate_hz=100, more=more)
    gateway.toml = gateway.toml.replace('["journal"]', '["mes"]')
    gateway.write()

    for _ in range(kills):
        running = gateway.start()
        running.await_line(READY)
        until("a webhook of this life", partial(goes_on, receiver, len(receiver.told)))
        # Which moment it is nobody decides; then the other side says nothing, so that one is under way for certain.
        receiver.answers = [*((503, {}) for _ in range(rng.randrange(20))), (-1, {})]
        until("parts meanwhile", partial(has_taken, gateway, gateway.triggers() + 30))
        running.kill()
        receiver.answers = []
    owed = {row["trigger"] for row in gateway.query("SELECT trigger FROM letters")}
    with gateway.running() as running:
        until("what is owed", lambda: owed <= {each["trigger"] for each in receiver.told})
        assert running.stop() == 0, "".join(running.lines)

    ended = outcomes(gateway, "mes")
    heard: dict[int, set[tuple[str, str]]] = {}
    for _, headers, body in receiver.requests:
        heard.setdefault(body["trigger"], set()).add((headers["Idempotency-Key"], str(body)))
    assert owed
    assert sorted(each["trigger"] for each in ended) == [n for n, _, _ in gateway.verdicts()]
    assert {each["trigger"] for each in ended if each["ok"]} <= heard.keys()
    assert not [each for each in ended if each["trigger"] in owed and not each["ok"]]
    assert [n for n, words in heard.items() if len(words) > 1] == []
    assert gateway.query("SELECT * FROM letters") == []


def test_after_a_power_cut_numbers_are_skipped_and_said(tmp_path: Path) -> None:
    """A ring of another boot is not believed: no verdict is made of it, one event says what is uncertain."""
    gateway = Gateway(tmp_path, rate_hz=RATE_HZ)
    with gateway.running() as running:
        until("some parts", lambda: gateway.triggers() > 50)
        running.kill()
    taken, recorded = gateway.triggers(), len(gateway.verdicts())
    other_boot(gateway.data / "intake.ring")

    finish(gateway)

    (uncertain,) = gateway.events("uncertain")
    numbers = [n for n, _, _ in gateway.verdicts()]
    assert uncertain["reason"] == "power-cut"
    assert uncertain["first_trigger"] <= taken + 1 <= uncertain["last_trigger"]
    assert numbers[:recorded] == list(range(1, recorded + 1))
    assert min(numbers[recorded:]) == uncertain["last_trigger"] + 1
    assert not [reason for _, _, reason in gateway.verdicts() if reason == "INTERRUPTED"]
    assert unaccounted(gateway) == {}


def other_boot(path: Path) -> None:
    """The machine was started anew since this ring was written."""
    raw = bytearray(path.read_bytes())
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    at = raw.find(boot, 0, ring.HEADER_BYTES)
    raw[at : at + len(boot)] = b"0" * len(boot)
    path.write_bytes(raw)


def test_a_damaged_database_is_put_aside_and_the_line_goes_on(tmp_path: Path) -> None:
    """
    A database that cannot be opened lies in quarantine/, what could be read of it is on record, what could not is
    declared, an event says so, and the gateway judges on under a new epoch with numbers it never gave.
    """
    gateway = Gateway(tmp_path, rate_hz=RATE_HZ)
    gateway.more = "\n[store]\ncommit_s = 0.2\n"
    gateway.write()
    with gateway.running() as running:
        until("many parts", lambda: gateway.triggers() > 300)
        running.kill()
    before = gateway.verdicts()
    epochs = {each.epoch for each in gateway.made()}
    damage(gateway.data / "lineside.db")

    finish(gateway)

    (folder,) = (gateway.data / "quarantine").iterdir()
    (fault,) = [event for event in gateway.events("fault") if event["reason"] == "salvaged"]
    assert (folder / "lineside.db").stat().st_size > 0
    assert folder.name in fault["detail"]
    assert {each.epoch for each in gateway.made()} > epochs
    recorded = gateway.verdicts()
    said = {n: tuple(words) for n, *words in recorded}
    saved = [(n, *words) for n, *words in before if said.get(n) == tuple(words)]
    assert len(said) == len(recorded)
    assert len(saved) == len([n for n, _, _ in before if n in said]) > len(before) // 2
    assert max(said) == gateway.triggers()
    assert unaccounted(gateway) == {}
    gaps = sum(event["last"] - event["first"] + 1 for event in gateway.events("gap"))
    assert gaps == sum(ranges.count(each.declared) for each in gateway.made())


def test_hidden_damage_is_found_while_the_line_runs(tmp_path: Path) -> None:
    """After an unclean stop a child looks for damage; it is told, the line goes on, the next start saves the rest."""
    gateway = Gateway(tmp_path)
    with gateway.inside():
        until("some parts", gateway.journal)
    connection = apsw.Connection(str(gateway.data / "lineside.db"))
    connection.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
    ((page, *_),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'metrics'").fetchall()
    connection.pragma("wal_checkpoint", "TRUNCATE")
    connection.close()
    overwrite(gateway.data / "lineside.db", int(str(page)) - 1)

    with gateway.inside() as agent:
        until("the fault", lambda: [fault for fault in agent._faults.active() if "store: damaged" in fault])
        taken = gateway.triggers()
        until("the line to go on", lambda: gateway.triggers() > taken + 5)
    with gateway.inside():
        pass

    assert len(list((gateway.data / "quarantine").iterdir())) == 1
    assert [n for n, _, _ in gateway.verdicts()] == list(range(1, gateway.triggers() + 1))
    assert unaccounted(gateway) == {}


def damage(path: Path) -> None:
    """The header and one page in the middle are noise, and the log that could heal them is worked in."""
    connection = apsw.Connection(str(path))
    connection.pragma("wal_checkpoint", "TRUNCATE")
    connection.close()
    overwrite(path, 0, path.stat().st_size // 4096 // 2)


def overwrite(path: Path, *pages: int) -> None:
    """Noise on these pages."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
