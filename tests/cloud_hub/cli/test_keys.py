"""`cloud-hub keys` and `cloud-hub publish` as their owners run them: files, modes, exit codes, and what others see."""

import io
import json
import stat
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloud_hub.cli import main
from edge_protocol import bundle, envelope, messages, metadata, topics
from edge_protocol.envelope import PrivateKey
from edge_protocol.messages import BLOCK_BYTES, Block, Want
from edge_protocol.mqtt import MqttLink
from tests.cloud_hub.hubs import HubProcess
from tests.cloud_hub.updates.test_catalogue import write_bundle
from tests.simulators import request_for

SECRETS = {"root-1.pem", "root-2.pem", "root-3.pem", "targets.pem"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that was made and does not run."""
    process = HubProcess(tmp_path / "hub")
    say("init", "--hub", process.folder)
    yield process
    process.close()


class Said(NamedTuple):
    """How a verb ended and what it said."""

    code: int
    out: str
    complaint: str


def run(*arguments: object) -> Said:
    """Run a verb in this process."""
    out, complaint = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(complaint), pytest.raises(SystemExit) as caught:
        main([str(each) for each in arguments])
    code = caught.value.code
    return Said(code if isinstance(code, int) else 0, out.getvalue(), complaint.getvalue())


def say(*arguments: object) -> Any:
    """Run a verb that must succeed; answers with its JSON."""
    said = run(*arguments, "--json")
    assert said.code == 0, said.complaint
    return json.loads(said.out)


def begin(hub: HubProcess) -> Path:
    """Make the hub's keys and those of alice; answers with the folder that is taken away."""
    home = hub.folder.parent
    say("keys", "init", "--out", home / "stick", "--hub", hub.folder)
    say("keys", "new", home / "alice.pem")
    what = ("--paths", "engine-*", "--keys", home / "stick", "--hub", hub.folder)
    say("keys", "delegate", "alice", home / "alice.pem.pub", *what)
    return home / "stick"


def enrol(hub: HubProcess, name: str) -> PrivateKey:
    """Enrol a gateway; its files go to a folder of its name beside the hub."""
    key, csr = request_for(name)
    (hub.folder.parent / f"{name}.csr").write_bytes(csr)
    say("enrol", hub.folder.parent / f"{name}.csr", "--hub", hub.folder, "--out", hub.folder.parent / name)
    return key


def is_refused(*arguments: object) -> bool:
    """Whether a verb ends with 2, a cause and a cure."""
    said = run(*arguments)
    return said.code == 2 and said.complaint.startswith("error: ") and "\n  try: " in said.complaint


def test_root_and_targets_keys_are_on_the_stick_alone(hub: HubProcess, tmp_path: Path) -> None:
    """
    Four private keys for their owner alone; not a byte of them lies in the hub's folder or in its database.
    """
    stick = begin(hub)

    assert {path.name for path in stick.iterdir()} == SECRETS
    private = [*stick.iterdir(), tmp_path / "alice.pem", hub.folder / "keys" / "online.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(stick.stat().st_mode) == 0o700
    secrets = [path.read_bytes().splitlines()[1] for path in stick.iterdir()]
    for path in hub.folder.rglob("*"):
        assert not path.is_file() or not any(secret in path.read_bytes() for secret in secrets)


def test_nothing_is_overwritten(hub: HubProcess, tmp_path: Path) -> None:
    """
    A second init, keys inside of the hub's folder, a second key in the same file: refused, and every file stays.
    """
    stick = begin(hub)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem*")}

    assert is_refused("keys", "init", "--out", tmp_path / "other", "--hub", hub.folder)
    assert is_refused("keys", "init", "--out", stick, "--hub", hub.folder)
    assert is_refused("keys", "new", tmp_path / "alice.pem")
    say("init", "--hub", tmp_path / "hub2")
    assert is_refused("keys", "init", "--out", tmp_path / "hub2" / "stick", "--hub", tmp_path / "hub2")
    assert is_refused("keys", "init", "--out", stick, "--hub", tmp_path / "hub2")

    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "other").exists()
    say("keys", "init", "--out", tmp_path / "stick2", "--hub", tmp_path / "hub2")


def test_enrolment_hands_over_the_first_roots(hub: HubProcess, tmp_path: Path) -> None:
    """
    With keys, a gateway gets both roots and its first, empty set; without, it is told how to come by them.
    """
    enrol(hub, "press-1")
    assert not (tmp_path / "press-1" / "models-root.json").exists()
    stick = begin(hub)
    enrol(hub, "press-2")
    say("keys", "rotate", "--keys", stick, "--hub", hub.folder)
    enrol(hub, "press-3")
    say("keys", "roots", "--out", tmp_path / "press-1", "--hub", hub.folder)

    for name in ("models-root.json", "director-root.json"):
        given = {(tmp_path / gateway / name).read_bytes() for gateway in ("press-1", "press-2", "press-3")}
        assert [json.loads(root)["signed"]["version"] for root in given] == [1]


def test_show_says_who_signs_what(hub: HubProcess, tmp_path: Path) -> None:
    """
    Roots, online key and publishers with patterns; a revoked one says so; without keys it says what to do.
    """
    assert "keys init" in run("keys", "show", "--hub", hub.folder).out
    stick = begin(hub)
    told = say("keys", "show", "--hub", hub.folder)
    rows: list[dict[str, Any]] = told["keys"]
    assert told["warnings"] == []
    assert {row["role"]: row["signs"] for row in rows}["publisher alice"] == "engine-*"
    assert len([row for row in rows if row["role"] == "models root"]) == 3

    say("keys", "revoke", "alice", "--keys", stick, "--hub", hub.folder)

    assert "revoked" in run("keys", "show", "--hub", hub.folder).out


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "delegate", "bob", "nowhere.pub", "--paths", "x", "--keys", "stick"),
        ("keys", "delegate", "bob", "alice.pem.pub", "--paths", "x", "--keys", "nowhere"),
        ("keys", "delegate", "bob", "alice.pem", "--paths", "x", "--keys", "stick"),
        ("keys", "revoke", "bob", "--keys", "stick"),
        ("keys", "rotate", "--keys", "nowhere"),
        ("publish", "mine", "--key", "nowhere.pem"),
        ("publish", "mine", "--key", "alice.pem"),
        ("publish", "mine", "--key", "alice.pem", "--url", "http://127.0.0.1:9"),
        ("publish", "mine", "--key", "alice.pem", "--url", "somewhere", "--token-file", "hub/owner-token"),
        ("publish", "mine", "--key", "alice.pem", "--url", "http://127.0.0.1:9", "--token-file", "hub/owner-token"),
    ],
)
def test_a_wrong_file_or_place_is_named(
    hub: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """
    A file that is not there or not what it should be, and a hub that does not run, end with cause and cure.
    """
    begin(hub)
    write_bundle(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    where = () if "--url" in arguments else ("--hub", hub.folder)

    assert is_refused(*arguments, *where)


def test_a_release_reaches_a_gateway(hub: HubProcess, tmp_path: Path) -> None:
    """
    Published to a hub that runs: both sets come over the real broker, and the model in blocks to whoever may ask.
    """
    begin(hub)
    key = enrol(hub, "press-1")
    serving = hub.start()
    raw = write_bundle(tmp_path / "mine")
    home, token = tmp_path, hub.folder / "owner-token"
    done = say("publish", home / "mine", "--key", home / "alice.pem", "--hub", hub.folder)
    again = say("publish", home / "mine", "--key", home / "alice.pem", "--url", serving["web"], "--token-file", token)
    assert (done["changed"], again["changed"], again["digest"]) == (True, False, bundle.digest(raw))

    ear = Ear(serving["broker"], "press-1", key)
    try:
        models = metadata.unpack(metadata.carried(ear.until(topics.FLEET_MODELS, b"pub-alice")).body)
        desired = metadata.unpack(metadata.carried(ear.until(topics.down("press-1", "desired"))).body)
        ear.want(bundle.digest(raw), len(raw))
        block = messages.decode(Block, ear.until(topics.down("press-1", "block")))
    finally:
        ear.link.close()
    assert {"timestamp.json", "1.root.json", "2.targets.json", "1.pub-alice.json"} <= models.keys()
    assert "1.targets.json" in desired
    assert block == Block(sha256=bundle.digest(raw), offset=0, total=len(raw), data=raw)
    assert hub.stop() == (0, "")


class Ear:
    """A gateway that only listens and asks."""

    def __init__(self, url: str, name: str, key: PrivateKey) -> None:
        self._name, self._key = name, key
        self._heard: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self.link = MqttLink(url, name)
        self.link.subscribe(topics.down_filter(name))
        self.link.subscribe(topics.FLEET_MODELS)
        self.link.start(self._hear, lambda: None)

    def _hear(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self._heard.append((topic, payload))
            self._changed.notify()

    def until(self, wanted: str, part: bytes = b"", timeout_s: float = 30.0) -> bytes:
        """The first message on a topic whose set has a file of this name."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._found(wanted, part) is not None, timeout_s)
            found = self._found(wanted, part)
        assert found is not None
        return found

    def _found(self, wanted: str, part: bytes) -> bytes | None:
        for topic, payload in self._heard:
            if topic == wanted and (
                not part or any(part.decode() in name for name in metadata.unpack(metadata.carried(payload).body))
            ):
                return payload
        return None

    def want(self, digest: str, length: int) -> None:
        """Ask for an object, signed."""
        asked = messages.encode(Want(sha256=digest, offset=0, length=min(length, BLOCK_BYTES)))
        topic = topics.up(self._name, "want")
        assert self.link.publish(topic, envelope.seal(topic, asked, self._key))
