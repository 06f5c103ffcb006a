from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.cli import status, update
from edge_agent.cli.main import VERBS
from tests.edge_agent.cli.conftest import Say
from tests.gateways import FOLDER_TOML, Gateway, until

READING = ("status", "verdicts", "outbox", "models", "drift", "config check", "update status", "update history")
"""The verbs that show something of a gateway."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway that has judged parts, OK and not, and was stopped."""
    gateway = Gateway(tmp_path_factory.mktemp("judged"), rate_hz=100)
    with gateway.inside():
        until("all verdicts", lambda: {line["verdict"] for line in gateway.journal()} >= {"OK", "NG", "REVIEW"})
    return gateway


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that judges just now, slowly enough that it is never late."""
    gateway = Gateway(tmp_path, rate_hz=20)
    with gateway.inside():
        until("some parts", lambda: len(gateway.journal()) > 5)
        yield gateway


@pytest.mark.parametrize("verb", READING)
def test_json_is_json(judged: Gateway, say: Say, verb: str) -> None:
    """With --json each verb prints one JSON value and nothing else."""
    said = say(*verb.split(), "--config", judged.config, "--json")

    assert isinstance(said.json, list | dict)
    assert said.err == ""
    assert said.code == (1 if verb == "status" else 0)


@pytest.mark.parametrize("verb", READING)
def test_a_pipe_gets_a_plain_table(judged: Gateway, say: Say, verb: str) -> None:
    """Without a terminal there is text without colours, boxes and trailing blanks."""
    said = say(*verb.split(), "--config", judged.config)

    assert said.out.strip()
    assert "\x1b" not in said.out
    assert not set(said.out) & set("│┃━─")
    assert [line for line in said.out.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("verb", [verb for verb in READING if verb not in ("config check", "models")])
def test_a_gateway_that_has_not_run_has_nothing_to_say(tmp_path: Path, say: Say, verb: str) -> None:
    """Asked before the first start: cause, cure, exit 2, and no database appears by being asked."""
    gateway = Gateway(tmp_path)
    before = gateway.listing()

    said = say(*verb.split(), "--config", gateway.config)

    assert said.code == 2
    assert said.err.splitlines()[0].endswith("is not there: this gateway has not run yet")
    assert said.err.splitlines()[1].startswith("  try: ")
    assert gateway.listing() == before


@pytest.mark.parametrize("verb", READING)
def test_a_wrong_configuration_is_said_by_each_verb(tmp_path: Path, say: Say, verb: str) -> None:
    """A missing TOML is two lines and exit 2, whatever was asked."""
    said = say(*verb.split(), "--config", tmp_path / "nowhere.toml")

    assert said.code == 2
    assert len(said.err.splitlines()) == 2


@pytest.mark.parametrize("verb", [*VERBS, "config check", "identity new"])
def test_each_verb_explains_itself(say: Say, verb: str) -> None:
    """`--help` says what a verb does and that it speaks JSON."""
    said = say(*verb.split(), "--help")

    assert said.code == 0
    assert verb in ("config", "identity", "trust", "update") or "--json" in said.out


def test_help_lists_each_verb(say: Say) -> None:
    """The program says what it can do."""
    said = say("--help")

    assert said.code == 0
    assert [verb for verb in VERBS if f"  {verb} " not in said.out] == []


def test_status_of_a_running_agent(running: Gateway, say: Say) -> None:
    """A running agent answers itself: exit 0 without a fault, with its pipelines and what waits for the hub."""
    said = say("status", "--config", running.config, "--json")

    (pipeline,) = said.json["pipelines"]
    assert (said.code, said.json["running"], said.json["faults"]) == (0, True, [])
    assert (pipeline["name"], pipeline["model"], pipeline["ready"]) == ("engine", "small-window", True)
    assert pipeline["triggers"] >= sum(pipeline["verdicts"].values()) > 0
    assert said.json["waiting_for_hub"]["verdicts"] > 0


def test_status_tells_the_limits_that_hold(tmp_path: Path, say: Say) -> None:
    """What a picture's guard trusts is a number for each signal, in words and in JSON."""
    gateway = Gateway(tmp_path, toml=FOLDER_TOML, pipeline="surface", bundle="small-image")
    guard = "[pipelines.guard]\nblur_below = 0.25\n\n[[outputs]]"
    gateway.toml = gateway.toml.replace("[[outputs]]", guard, 1)
    gateway.write()

    with gateway.inside():
        said, told = say("status", "--config", gateway.config), say("status", "--config", gateway.config, "--json")

    assert told.json["limits"] == {"surface": {"luma_mean": [12.0, None], "sharpness": [0.25, None]}}
    assert said.out.splitlines()[-1].split() == ["surface", "sharpness", "0.25", "-"]


def locked(folder: Path) -> tuple[Path, Gateway]:
    """A gateway whose neighbours must show a token, and the token's file."""
    token = folder / "token"
    token.write_text("a" * 32)
    gateway = Gateway(folder)
    gateway.toml += f'\n[serving]\ntoken_file = "{token}"\n'
    gateway.write()
    return token, gateway


def test_status_without_its_token_says_so(tmp_path: Path, say: Say) -> None:
    """An agent whose token cannot be had is not told to be stopped: what is wrong with the token is."""
    token, gateway = locked(tmp_path)

    with gateway.inside():
        token.write_text("")
        said = say("status", "--config", gateway.config)

    assert said.code == 2
    assert str(token) in said.err


def test_a_token_that_was_renewed_is_no_stopped_agent(tmp_path: Path, say: Say) -> None:
    """The agent goes on with the one that it read at its start: status says which is refused, and to restart it."""
    token, gateway = locked(tmp_path)

    with gateway.inside():
        token.write_text("b" * 32)
        said = say("status", "--config", gateway.config)

    assert (said.code, said.out) == (2, "")
    assert f"does not take the token of {token}" in said.err
    assert "an agent reads its token when it starts: restart it" in said.err


def test_a_stopped_agent_needs_no_token_to_tell_what_it_has(tmp_path: Path, say: Say) -> None:
    """Its address outlives it and its token is gone: the database answers."""
    token, gateway = locked(tmp_path)
    with gateway.inside():
        pass
    token.unlink()

    said = say("status", "--config", gateway.config, "--json")

    assert (gateway.data / "serving.json").exists()
    assert (said.code, said.err, said.json["running"]) == (1, "", False)


def test_only_an_agent_that_runs_is_waited_for(
    judged: Gateway, running: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that still lies there: nobody listens at the address of a stopped agent, so it is not waited for."""
    waited: list[float] = []
    monkeypatch.setattr(update, "sleep", waited.append)
    monkeypatch.setattr(update, "WAIT_S", 0.2)

    update._await(config.load(judged.config), "engine", judged.config, "")
    assert ((judged.data / "serving.json").exists(), waited) == (True, [])

    update._await(config.load(running.config), "engine", running.config, "")
    assert waited


def test_each_fault_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, say: Say) -> None:
    """Two faults are two lines under their number: an operator reads them apart."""
    gateway = Gateway(tmp_path)
    wrong = ["pipeline a: blur sharpness 0.1", "pipeline b: gap 3, 4"]
    found = {"gateway": "press-1", "running": True, "faults": wrong, "pipelines": []}
    monkeypatch.setattr(status, "ask", lambda _settings: found)

    said = say("status", "--config", gateway.config)

    assert said.code == 1
    assert said.out.splitlines()[-4:-1] == ["faults   2", "  pipeline a: blur sharpness 0.1", "  pipeline b: gap 3, 4"]


def test_status_of_a_stopped_agent(judged: Gateway, say: Say) -> None:
    """One that does not run is told by its database, and the exit code is 1."""
    said = say("status", "--config", judged.config, "--json")

    (pipeline,) = said.json["pipelines"]
    assert (said.code, said.json["running"]) == (1, False)
    assert sum(pipeline["verdicts"].values()) == judged.triggers()


def test_status_is_not_fooled_by_another_gateway(judged: Gateway, running: Gateway, say: Say) -> None:
    """A port that by now belongs to another gateway is no answer of this one."""
    (judged.data / "serving.json").write_bytes((running.data / "serving.json").read_bytes())
    text = judged.config.read_text()
    judged.config.write_text(text.replace('"press-1"', '"press-9"'))

    said = say("status", "--config", judged.config, "--json")

    judged.config.write_text(text)
    assert (said.code, said.json["running"]) == (1, False)


def test_verdicts_come_newest_first(judged: Gateway, say: Say) -> None:
    """As many as asked for, the newest first, and no more."""
    said = say("verdicts", "--config", judged.config, "--limit", 7, "--json")

    numbers = [row["trigger"] for row in said.json]
    assert len(numbers) == 7
    assert all(later == earlier + 1 for later, earlier in pairwise(numbers))
    assert numbers[0] == judged.triggers()


def test_verdicts_can_be_chosen(judged: Gateway, say: Say) -> None:
    """Only the verdicts and the pipeline that were asked for."""
    rejected = say("verdicts", "--config", judged.config, "--verdict", "NG", "--json")
    nobody = say("verdicts", "--config", judged.config, "--pipeline", "nobody", "--json")

    assert {row["verdict"] for row in rejected.json} == {"NG"}
    assert nobody.json == []


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--limit", "many"), ("--verdict", "MAYBE"), ("--colour",)])
def test_a_wrong_option_is_a_wrong_call(judged: Gateway, say: Say, wrong: tuple[str, ...]) -> None:
    """What cannot be asked ends with 2."""
    assert say("verdicts", "--config", judged.config, *wrong).code == 2


def test_the_account_adds_up(judged: Gateway, say: Say) -> None:
    """For each stream: produced = received + held + declared; without a hub all is held."""
    said = say("outbox", "--config", judged.config, "--json")

    lines = {line["stream"]: line for line in said.json}
    assert set(lines) >= {"events", "verdicts", "outcomes"}
    assert all(line["produced"] == line["received"] + line["held"] + line["declared"] for line in said.json)
    assert lines["verdicts"]["produced"] == lines["verdicts"]["held"] == judged.triggers()


def test_models_are_checked(tmp_path: Path, say: Say) -> None:
    """Whole bundles end with 0; a damaged one and a missing one are named, and the exit code is 1."""
    gateway = Gateway(tmp_path)
    whole = say("models", "--config", gateway.config, "--json")
    with (gateway.data / "bundles/small-image/fp32.onnx").open("ab") as file:
        file.write(b"!")
    (gateway.data / "bundles/small-window").rename(tmp_path / "elsewhere")

    broken = say("models", "--config", gateway.config, "--json")

    assert (whole.code, [row["state"] for row in whole.json]) == (0, ["whole", "whole"])
    assert whole.json[1]["pipelines"] == ["engine"]
    assert broken.code == 1
    assert "fp32.onnx" in broken.json[0]["state"]
    assert "holds no bundle" in broken.json[1]["state"]


def test_a_configuration_is_shown_with_its_defaults(judged: Gateway, say: Say) -> None:
    """What was not written is there with the value it has, paths absolute."""
    said = say("config", "check", "--config", judged.config, "--json")

    assert said.json["store"]["commit_s"] == 2.0
    assert said.json["data_dir"] == str(judged.data)
    assert said.json["sources"][0]["name"] == "noise"


def test_each_key_of_the_configuration_is_explained(say: Say) -> None:
    """`config check --keys` needs no configuration."""
    said = say("config", "check", "--keys", "--json")

    meanings = {(row["table"], row["key"]): row["meaning"] for row in said.json}
    assert meanings["triggers timer", "rate_hz"] == "parts per second"
    assert all(meanings.values())


def test_identity_is_made_once(tmp_path: Path, say: Say) -> None:
    """A key and its request, printed; the second call overwrites nothing and ends with 2."""
    folder = tmp_path / "identity"
    first = say("identity", "new", "press-1", "--folder", folder, "--json")
    key = (folder / "key.pem").read_bytes()
    second = say("identity", "new", "press-1", "--folder", folder)

    assert (first.code, second.code) == (0, 2)
    assert first.json["csr"] == (folder / "request.csr").read_text()
    assert "never overwritten" in second.err
    assert (folder / "key.pem").read_bytes() == key


def test_the_request_alone_goes_into_a_pipe(tmp_path: Path, say: Say) -> None:
    """What is printed without --json can be given to the hub as it is; words for people go elsewhere."""
    said = say("identity", "new", "press-1", "--folder", tmp_path / "identity")

    assert said.out == (tmp_path / "identity/request.csr").read_text()
    assert "PRIVATE" not in said.out + said.err
    assert "cloud-hub enrol" in said.err
