"""The owner's verbs: what they print, what they exit with, what bad input gets."""

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy import update

from cloud_hub import config
from cloud_hub.cli import main
from cloud_hub.cli.main import verbs
from cloud_hub.clock import FixedClock
from cloud_hub.monitoring.alarms import DRIFT, Subject, raise_alarm
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import states
from tests.cloud_hub.hubs import cloud_hub
from tests.cloud_hub.updates.test_catalogue import write_bundle
from tests.simulators import request_for

Said = tuple[int, str, str]
Say = Callable[..., Said]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a verb in this process: exit code, what it printed, what it complained about."""

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as caught:
            main([str(each) for each in arguments])
        code = caught.value.code
        return (code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture
def hub(tmp_path: Path, say: Say) -> Path:
    """The folder of a new hub."""
    assert say("init", "--hub", tmp_path / "hub")[0] == 0
    return tmp_path / "hub"


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A gateway's request."""
    path = tmp_path / "press-1.csr"
    path.write_bytes(request_for("press-1")[1])
    return path


def as_json(said: Said) -> Any:
    """What a verb said with `--json`."""
    return json.loads(said[1])


def is_cause_and_cure(said: Said) -> bool:
    """Whether a verb ended with exit code 2, one line of cause and one of cure."""
    lines = said[2].splitlines()
    return said[0] == 2 and len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("  try: ")


def test_a_new_hub_is_empty_and_balanced(hub: Path, say: Say) -> None:
    """
    Every verb that looks works on a hub that has seen nothing, in words and in JSON.
    """
    for verb in (["fleet"], ["account"], ["drift"], ["bundle", "list"]):
        words = say(*verb, "--hub", hub)
        found = say(*verb, "--hub", hub, "--json")
        assert (words[0], found[0]) == (0, 0)
        assert words[1].strip()
        assert as_json(found) in ([], {"signals": [], "alarms": []})


def test_init_never_overwrites(hub: Path, say: Say) -> None:
    """
    A second init is refused, and the first hub is as it was.
    """
    before = (hub / "owner-token").read_bytes()

    assert is_cause_and_cure(say("init", "--hub", hub))

    assert (hub / "owner-token").read_bytes() == before


def test_the_owners_secrets_are_the_owners(hub: Path) -> None:
    """
    Token and keys are readable by their owner only.
    """
    for name in ("owner-token", "keys/hub.pem", "keys/authority.pem"):
        assert stat.S_IMODE((hub / name).stat().st_mode) == 0o600


def test_enrolment_writes_what_a_gateway_needs(hub: Path, say: Say, request_file: Path, tmp_path: Path) -> None:
    """
    Certificate, configuration, the hub's keys and the root come out, and the configuration is one the agent reads.
    """
    from edge_agent import config as agent_config
    from edge_agent import identity

    own, out = tmp_path / "own", tmp_path / "identity"
    request_file.write_text(identity.new(own, "press-1"))
    where = ["--site", "berlin", "--line", 'a "b"', "--timezone", "Europe/Berlin", "--label", "x=y"]

    found = as_json(say("enrol", request_file, "--hub", hub, "--out", out, *where, "--json"))

    assert found["gateway"] == "press-1"
    assert sorted(path.name for path in out.iterdir()) == [
        "agent.toml",
        "certificate.pem",
        "hub-keys.json",
        "roots.pem",
    ]
    listed = json.loads((out / "hub-keys.json").read_bytes())["keys"]
    assert [sorted(each) for each in listed] == [["alg", "key_id", "pem"]]
    known = identity.load(own / "key.pem", out / "hub-keys.json", out / "certificate.pem", "press-1")
    assert [key_id.hex() for key_id in known.hub_keys] == [each["key_id"] for each in listed]
    read = agent_config.load(out / "agent.toml")
    assert (read.gateway.id, read.gateway.site, read.gateway.line, read.gateway.labels) == (
        "press-1", "berlin", 'a "b"', {"x": "y"},
    )  # fmt: skip
    assert read.hub is not None
    assert read.hub.broker == found["broker"]


def test_a_known_gateway_needs_replace(hub: Path, say: Say, request_file: Path, tmp_path: Path) -> None:
    """
    The same name again is refused without `--replace`, and files that are there are never overwritten.
    """
    assert say("enrol", request_file, "--hub", hub, "--out", tmp_path / "a")[0] == 0

    assert is_cause_and_cure(say("enrol", request_file, "--hub", hub, "--out", tmp_path / "b"))
    assert not (tmp_path / "b").exists()
    assert is_cause_and_cure(say("enrol", request_file, "--hub", hub, "--out", tmp_path / "a", "--replace"))
    assert say("enrol", request_file, "--hub", hub, "--out", tmp_path / "b", "--replace")[0] == 0


def test_a_gateway_whose_files_cannot_be_written_is_not_enrolled(hub: Path, say: Say, request_file: Path) -> None:
    """
    Nothing is half done: no files, no gateway.
    """
    assert is_cause_and_cure(say("enrol", request_file, "--hub", hub, "--out", request_file / "x"))

    assert as_json(say("fleet", "--hub", hub, "--json")) == []


def test_an_account_that_does_not_balance_exits_with_1(hub: Path, say: Say, request_file: Path, tmp_path: Path) -> None:
    """
    0 while everything is accounted for, 1 when something is not; a gateway that is not there is exit 2.
    """
    say("enrol", request_file, "--hub", hub, "--out", tmp_path / "a")
    assert say("account", "press-1", "--hub", hub)[0] == 0

    forget_everything(hub)

    code, told, _ = say("account", "--hub", hub)
    assert code == 1
    assert "NO" in told
    assert is_cause_and_cure(say("account", "press-9", "--hub", hub))


def forget_everything(hub: Path) -> None:
    """Have press-1 say that it made 100 records and has none of them."""
    from edge_protocol import messages
    from edge_protocol.messages import GatewayState, Place, StreamAccount, Time

    lines = (StreamAccount(1, "verdicts", 100),)
    state = GatewayState(
        gateway="press-1", agent_version="1", place=Place(), time=Time("b", 1, 1, 1), sent_us=5, streams=lines
    )
    database = Database.open(config.load(hub).database_url)
    with database.writing() as connection:
        row = {"gateway": "press-1", "run": 1, "sent_us": 5, "received_us": 5, "body": messages.encode(state)}
        connection.execute(states.insert().values(**row))
        connection.execute(update(states).values(boot="b"))
    database.close()


def test_drift_exits_with_1_while_an_alarm_stands(hub: Path, say: Say, clock: FixedClock) -> None:
    """
    0 when all is quiet, 1 while somebody should look, for the gateway that was asked about.
    """
    database = Database.open(config.load(hub).database_url)
    with database.writing() as connection:
        raise_alarm(
            connection, Subject("press-2", DRIFT, "seal", "ab"), "luma_mean drifts", clock.wall_us(), {"luma_mean": 1.5}
        )
    database.close()

    code, told, _ = say("drift", "--hub", hub)
    found = as_json(say("drift", "--hub", hub, "--json"))

    assert (code, "luma_mean drifts" in told) == (1, True)
    assert [(each["gateway"], each["signals"], each["active"]) for each in found["alarms"]] == [
        ("press-2", ["luma_mean"], True)
    ]
    assert say("drift", "press-1", "--hub", hub)[0] == 0


def test_a_bundle_is_added_and_listed(hub: Path, say: Say, tmp_path: Path) -> None:
    """
    What is added is in the list, with the digest the gateway will name; what is no bundle is refused.
    """
    write_bundle(tmp_path / "bundle")

    added = as_json(say("bundle", "add", tmp_path / "bundle", "--hub", hub, "--actor", "me", "--json"))

    assert as_json(say("bundle", "list", "--hub", hub, "--json")) == [added]
    assert added["actor"] == "me"
    assert "engine-fault" in say("bundle", "list", "--hub", hub)[1]
    assert is_cause_and_cure(say("bundle", "add", tmp_path, "--hub", hub))


BAD_TOML = {
    "not TOML": "[hub",
    "an unknown key": "[hub]\ncolour = 1\n",
    "an unknown table": "[house]\n",
    "a wrong type": '[web]\nport = "many"\n',
    "a wrong value": "[broker]\nport = 70000\n",
    "no such engine": '[broker]\nengine = "x"\n',
    "certificates without mosquitto": "[broker]\ntls = true\n",
    "a database nobody has": '[storage]\ndatabase = "oracle://x"\n',
    "a secret that is not there": '[storage]\ndatabase_file = "nowhere"\n',
    "a host nobody has": '[broker]\nhost = "203.0.113.1"\n',
}


@pytest.mark.parametrize("text", BAD_TOML.values(), ids=BAD_TOML.keys())
def test_bad_configuration_is_one_cause_and_one_cure(hub: Path, say: Say, text: str) -> None:
    """
    A hub that cannot be started as configured says why and what to do, and exits with 2.
    """
    (hub / "hub.toml").write_text(text)

    assert is_cause_and_cure(say("serve", "--hub", hub))
    assert not (hub / "serving.json").exists()


@pytest.mark.parametrize("what", ["broker", "web"])
def test_a_busy_port_is_one_cause_and_one_cure(hub: Path, say: Say, what: str) -> None:
    """
    A port that something else has is named, and nothing of the hub is left running.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (hub / "hub.toml").write_text(f"[{what}]\nport = {port}\n")

        said = say("serve", "--hub", hub)

    assert is_cause_and_cure(said), said
    assert str(port) in said[2]


@pytest.mark.parametrize("name", ["owner-token", "keys/hub.pem", "hub.toml"])
def test_a_missing_file_is_one_cause_and_one_cure(hub: Path, say: Say, name: str) -> None:
    """
    A file that the hub cannot do without is named.
    """
    (hub / name).unlink()

    said = say("serve", "--hub", hub)

    assert is_cause_and_cure(said), said
    assert Path(name).name in said[2]


def test_a_wrong_key_file_is_named(hub: Path, say: Say, request_file: Path, tmp_path: Path) -> None:
    """
    A key file with something else in it stops enrolment before anything is signed.
    """
    (hub / "keys" / "authority.pem").write_text("not a key")

    assert is_cause_and_cure(say("enrol", request_file, "--hub", hub, "--out", tmp_path / "a"))
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_cannot_be_written_is_one_cause_and_one_cure(tmp_path: Path) -> None:
    """
    A hub cannot be made where its user may not write, and nothing is left there.
    """
    closed = Path("/proc/lineside")

    done = cloud_hub("init", "--hub", closed)

    assert is_cause_and_cure((done.returncode, done.stdout, done.stderr)), done.stderr


def test_a_verb_without_a_hub_says_how_to_make_one(say: Say, tmp_path: Path) -> None:
    """
    In a folder without a hub every verb names the cure.
    """
    for verb in (["fleet"], ["account"], ["drift"], ["bundle", "list"]):
        said = say(*verb, "--hub", tmp_path)
        assert is_cause_and_cure(said)
        assert "cloud-hub init" in said[2]


def test_help_lists_every_verb(say: Say) -> None:
    """
    `--help` names all verbs.
    """
    code, told, _ = say("--help")

    assert code == 0
    assert all(verb in told for verb in ("init", "serve", "enrol", "fleet", "drift", "account", "bundle"))


@pytest.mark.parametrize("verb", ["init", "serve", "fleet", "drift", "account", "enrol", "publish"])
def test_every_verb_is_told_its_hub_alike(verb: str) -> None:
    """
    The folder of a hub is named by `--hub` and by nothing else.
    """
    command = verbs.get_command(click.Context(verbs), verb)
    assert command is not None

    assert [each.opts for each in command.params if each.name == "folder"] == [["--hub"]]
    assert not {"--config", "--folder"} & {option for each in command.params for option in each.opts}
