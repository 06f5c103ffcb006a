import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.agent import Agent
from edge_agent.errors import AgentError
from tests.gateways import PROGRAM, Gateway, ask, run

HUB = '\n[hub]\nbroker = "mqtt://127.0.0.1:1"\n'


@dataclass(frozen=True)
class Mistake:
    """What is wrong, what is then said of it, and which word of the cure must be there."""

    make: Callable[[Gateway], object]
    cause: str
    cure: str


def toml(text: str) -> Callable[[Gateway], object]:
    """Another configuration."""
    return lambda gateway: gateway.config.write_text(text)


def more(text: str) -> Callable[[Gateway], object]:
    """More in the configuration."""
    return lambda gateway: gateway.config.write_text(gateway.config.read_text() + text)


def changed(old: str, new: str) -> Callable[[Gateway], object]:
    """Other words in the configuration."""
    return lambda gateway: gateway.config.write_text(gateway.config.read_text().replace(old, new))


def damaged(gateway: Gateway) -> None:
    """A byte of the model is another one."""
    path = gateway.data / "bundles/small-window/fp32.onnx"
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)


def wrong_key(gateway: Gateway) -> None:
    """The public key was copied where the private one belongs."""
    gateway.enrol()
    (gateway.data / "identity/key.pem").write_text("-----BEGIN PUBLIC KEY-----\n")
    more(HUB)(gateway)


def no_identity(gateway: Gateway) -> None:
    """A hub is named and the gateway was never enrolled."""
    more(HUB)(gateway)


MISTAKES = {
    "no file": Mistake(lambda gateway: gateway.config.unlink(), "cannot read", "path of the gateway's TOML"),
    "no TOML": Mistake(toml("[gateway\nid = 1"), "is not TOML", "quotes"),
    "bytes": Mistake(lambda gateway: gateway.config.write_bytes(b"\xff\xfe\x00"), "is not UTF-8", "UTF-8"),
    "an unknown key": Mistake(changed("rate_hz", "rate"), "unknown key 'rate'", "did you mean 'rate_hz'"),
    "a wrong value": Mistake(changed("rate_hz = 50", "rate_hz = -1"), "rate_hz", "parts per second"),
    "no pipeline": Mistake(toml('[gateway]\nid = "press-1"\n'), "has no pipeline", "[[pipelines]]"),
    "no such source": Mistake(changed('source = "noise"', 'source = "nois"'), "no source 'nois'", "[[sources]]"),
    "no model": Mistake(changed("small-window", "large-window"), "large-window/manifest.json is missing", "bundle"),
    "a damaged model": Mistake(damaged, "fp32.onnx", "copy"),
    "no data to replay": Mistake(changed("windows.txt", "nowhere.txt"), "nowhere.txt", "correct `path`"),
    "no identity": Mistake(no_identity, "key.pem: No such file", "edge-agent identity new"),
    "a wrong key file": Mistake(wrong_key, "key.pem: not an unencrypted PEM private key", "enrol"),
    "no broker's URL": Mistake(more('[hub]\nbroker = "http://hub"\n'), "broker", "mqtt://host:port"),
}


def start(gateway: Gateway) -> AgentError:
    """Why the agent does not start; `test_a_busy_port…` shows how the command says such a thing."""
    with pytest.raises(AgentError) as caught:
        Agent(config.load(gateway.config))
    return caught.value


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_of_cause_and_one_of_cure(tmp_path: Path, what: str) -> None:
    """Whatever is wrong at the start: it says what and what to do, ends with 2, and has left nothing behind."""
    mistake = MISTAKES[what]
    gateway = Gateway(tmp_path)
    mistake.make(gateway)
    before = gateway.listing()

    problem = start(gateway)

    assert problem.exit_code == 2
    assert mistake.cause in str(problem)
    assert mistake.cure in problem.hint
    assert "\n" not in str(problem) + problem.hint
    assert gateway.listing() == before


def test_a_busy_port_is_found_before_anything_is_touched(tmp_path: Path) -> None:
    """Another program on the port: cause, cure, exit 2, and no file of the gateway was made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        gateway = Gateway(tmp_path, more=f"\n[serving]\nport = {port}\n")
        before = gateway.listing()

        said = gateway.ask("run")

    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  try: set [serving] port to a free one, or to 0 for any; another agent may be running on this one",
    ]
    assert gateway.listing() == before


def test_an_output_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """A folder that is not there is named; what was made by then is whole, and the next start takes no harm."""
    gateway = Gateway(tmp_path)
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("verdicts.jsonl", "nowhere/verdicts.jsonl"))

    problem = start(gateway)
    gateway.config.write_text(text)
    with gateway.inside():
        pass

    assert problem.exit_code == 2
    assert "nowhere/verdicts.jsonl: No such file" in str(problem)
    assert all(event["clean"] for event in gateway.events("started"))


def without_rights(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`edge-agent` as an ordinary user, whom the mode of a folder stops: root is one without this capability."""
    drop = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"] if os.geteuid() == 0 else []
    return run([*drop, PROGRAM, *arguments])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A data directory without the right to write: cause, cure, exit 2, nothing in it was changed."""
    gateway = Gateway(tmp_path / "press-1")
    gateway.data.chmod(0o555)
    before = gateway.listing()

    said = without_rights("run", "--config", str(gateway.config))

    assert said.returncode == 2
    cause, cure = said.stderr.splitlines()
    assert cause == f"error: {gateway.data} cannot be written: Permission denied"
    assert "the agent's user own it" in cure
    assert gateway.listing() == before


def test_a_key_cannot_be_made_where_one_may_not_write(tmp_path: Path) -> None:
    """`identity new` in a folder without the right to write: cause, cure, exit 2, no file."""
    folder = tmp_path / "identity"
    folder.mkdir(mode=0o555)

    said = without_rights("identity", "new", "press-1", "--folder", str(folder))

    assert said.returncode == 2
    assert said.stderr.splitlines()[0] == f"error: {folder} cannot be written: Permission denied"
    assert list(folder.iterdir()) == []


def test_a_verb_that_does_not_exist_is_a_wrong_call() -> None:
    """A word that is no verb ends with 2 and says which are there."""
    said = ask("judge")

    assert said.returncode == 2
    assert "No such command 'judge'" in said.stderr
