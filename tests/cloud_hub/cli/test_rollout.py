"""The owner's verbs of rollouts: what they print, what they exit with, what bad input gets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cloud_hub import config
from cloud_hub.cli import main
from cloud_hub.clock import FixedClock, SystemClock
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.schema import audit
from edge_protocol.updates import Step
from tests.cloud_hub.updates.rollouts.works import NAME, V1, V2, V3, Works

Say = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The folder of a hub with two gateways and three signed releases."""
    with pytest.raises(SystemExit):
        main(["init", "--hub", str(tmp_path / "hub")])
    return tmp_path / "hub"


@pytest.fixture
def works(hub: Path) -> Works:
    """The fleet of that hub; its clock is the machine's, as the verbs' is."""
    database = Database.open(config.load(hub).database_url)
    upgrade(database)
    found = Works(database, FixedClock(SystemClock().wall_us()), hub)
    found.publish(V1, V2, V3)
    for name in ("press-1", "press-2"):
        found.gateway(name, site="berlin", labels={"stage": name})
    return found


@pytest.fixture
def say(hub: Path, works: Works, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a verb of `rollout`: exit code, what it printed as JSON or words, what it complained about."""

    def run(*arguments: object, words: bool = False) -> tuple[int, Any, str]:
        form = [] if words else ["--json"]
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["rollout", *map(str, arguments), "--hub", str(hub), *form])
        said = capsys.readouterr()
        code = caught.value.code if isinstance(caught.value.code, int) else 0
        return code, said.out if words or not said.out else json.loads(said.out), said.err

    return run


def test_a_rollout_from_the_terminal(say: Say, works: Works) -> None:
    """
    Create, list, show, explain, pause, resume and abort do as they say, in words and in JSON.
    """
    assert "no rollout was made yet" in say("list", words=True)[1]

    code, made, _ = say("create", NAME, "1.1.0", "--waves", "1,100%", "--deadline", "20m", "--reason", "less overkill")
    works.look()
    shown = say("show", 1)[1]

    assert (code, made["line"]["waves"], made["plan"]["deadline_s"]) == (0, 2, 1200)
    assert shown["waves"][0]["members"][0]["state"] == "assigned"
    assert [each["bundle"] for each in say("list")[1]] == [NAME]
    for verb in (("list",), ("show", 1), ("explain", 1)):
        code, words, _ = say(*verb, words=True)
        assert (code, "1.1.0" in words) == (0, True)
    states = [say(verb, 1, "--reason", "because")[1]["state"] for verb in ("pause", "resume", "abort")]
    assert states == ["paused", "running", "stopped"]
    with works.database.reading() as connection:
        last = connection.execute(select(audit.c.reason).order_by(audit.c.id.desc()).limit(1)).scalar_one()
    assert last == "because"


def test_explain_answers_why(say: Say, works: Works) -> None:
    """
    Of one gateway: the rule, the figures, the time left; exit code 1 when it will not get there by itself.
    """
    say("create", NAME, "1.1.0", "--waves", "1,100%")
    works.look()

    code, words, _ = say("explain", 1, "press-1", words=True)
    waiting = say("explain", 1, "press-2")
    nobody = say("explain", 1, "press-9", words=True)
    works.clock.advance(1)
    works.say(works.floor.enrol("oven-1"), V2, Step.REFUSED)
    works.look(25 * 3600)
    late = say("explain", 1, "press-1")

    assert code == 0
    for line in ("why      not proved yet: 0 of 100 verdicts", "rule     at least 100 signed verdicts", "left     "):
        assert line in words
    assert (waiting[0], waiting[1][0]["why"]) == (0, "it is in wave 2; wave 1 runs: 0 of 1 updated, 90 % needed")
    assert (nobody[0], "takes no part in rollout 1" in nobody[1]) == (1, True)
    assert (late[0], late[1][0]["state"]) == (1, "unknown")


def test_a_selection_and_its_rules_come_from_options(say: Say) -> None:
    """
    Every option lands in the plan.
    """
    asked = ["--site", "berlin", "--label", "stage=press-2", "--pipeline", "seal", "--max-failed", "2", "--success",
             "80", "--max-unknown", "30%", "--on-failure", "revert", "--min-verdicts", "7", "--ng-factor", "1.5",
             "--max-uninspected", "1"]  # fmt: skip

    plan = say("create", NAME, "1.1.0", *asked)[1]["plan"]

    assert plan["selection"]["labels"] == {"stage": "press-2"}
    assert (plan["failure"], plan["unknown"]["percent"]) == ({"count": 2, "percent": None}, 30.0)
    assert (plan["on_failure"], plan["min_verdicts"], plan["success_percent"]) == ("revert", 7, 80.0)
    assert (plan["gates"]["ng_factor"], plan["gates"]["uninspected_percent"]) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("create", NAME, "9.9.9"), "9.9.9 is not in the catalogue"),
        (("create", NAME, "1.1.0", "--waves", "1,50%"), "the last share must be 100%"),
        (("create", NAME, "1.1.0", "--site", "nowhere"), "nothing is selected"),
        (("create", NAME, "1.1.0", "--label", "x"), "is not name=value"),
        (("create", NAME, "1.1.0", "--deadline", "soon"), "is no length of time"),
        (("create", NAME, "1.1.0", "--max-failed", "0"), "neither a number above zero nor a share"),
        (("create", NAME, "1.1.0", "--max-failed", "many"), "neither a number above zero nor a share"),
        (("create", NAME, "1.1.0", "--success", "120"), "120 is no percentage"),
        (("show", 7), "there is no rollout 7"),
        (("explain", 7), "there is no rollout 7"),
        (("resume", 7), "there is no rollout 7"),
    ],
)
def test_bad_input_ends_with_cause_and_cure(say: Say, works: Works, arguments: tuple[object, ...], cause: str) -> None:
    """
    Exit code 2, what is wrong and what to do about it; nothing was made.
    """
    code, _, said = say(*arguments)

    assert code == 2
    assert cause in said
    assert said.splitlines()[-1].startswith("  try: ")
    assert say("list")[1] == []


def test_what_a_rollout_can_not_do_any_more_is_said(say: Say) -> None:
    """
    One that is over is not resumed and not aborted again; with --revert a stopped one still gives back.
    """
    say("create", NAME, "1.1.0")
    say("abort", 1)

    again, resumed, reverted = say("abort", 1), say("resume", 1), say("abort", 1, "--revert")

    assert (again[0], resumed[0]) == (2, 2)
    assert "it is stopped" in again[2]
    assert reverted[1]["state"] == "reverting"
