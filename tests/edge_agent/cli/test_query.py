import json
from pathlib import Path

import pytest

from tests.edge_agent.cli.conftest import Say
from tests.gateways import Gateway, until

# In a process of its own wherever the agent's own SQLite has the file open: two in one process break each other's
# locks.


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway that has judged some parts and was stopped."""
    gateway = Gateway(tmp_path_factory.mktemp("judged"), rate_hz=100)
    with gateway.inside():
        until("some parts", lambda: gateway.triggers() > 30)
    return gateway


def test_the_view_has_names(judged: Gateway) -> None:
    """`verdict` speaks in words, and SQL can count them."""
    said = judged.ask("query", "SELECT verdict, count(*) AS n FROM verdict GROUP BY verdict", "--json")

    counted = {row["verdict"]: row["n"] for row in json.loads(said.stdout)}
    assert said.returncode == 0
    assert set(counted) <= {"OK", "NG", "REVIEW", "UNINSPECTED"}
    assert sum(counted.values()) == judged.triggers()


def test_what_there_is_can_be_listed(judged: Gateway) -> None:
    """`.tables` names tables and views with their rows."""
    said = judged.ask("query", ".tables", "--json")

    rows = {row["name"]: (row["kind"], row["rows"]) for row in json.loads(said.stdout)}
    assert rows["verdict"] == ("view", judged.triggers())
    assert rows["verdicts"] == ("table", judged.triggers())


WRITES = (
    "DELETE FROM verdicts",
    "UPDATE cursors SET next = 1",
    "INSERT INTO meta VALUES ('clean', 0)",
    "DROP TABLE verdicts",
    "PRAGMA user_version = 99",
    "SELECT * FROM nowhere",
    "SELEC 1",
    "",
)


def test_nothing_can_be_written(judged: Gateway, say: Say) -> None:
    """Whatever is no question changes nothing and ends with 2, its cause and its cure on a line each."""
    before = (judged.data / "lineside.db").read_bytes()

    said = [say("query", sql, "--config", judged.config) for sql in WRITES]

    assert {sql: each.code for sql, each in zip(WRITES, said, strict=True)} == dict.fromkeys(WRITES, 2)
    assert [len(each.err.splitlines()) for each in said] == [2] * len(WRITES)
    assert (judged.data / "lineside.db").read_bytes() == before


def test_a_running_agent_can_be_asked(tmp_path: Path) -> None:
    """The question is answered while the line runs, and the agent keeps its database to itself."""
    gateway = Gateway(tmp_path, rate_hz=50)
    with gateway.running() as running:
        until("some parts", lambda: gateway.triggers() > 120)
        said = gateway.ask("query", "SELECT count(*) AS n FROM verdicts", "--json")
        assert running.stop() == 0

    assert json.loads(said.stdout)[0]["n"] > 0
    assert [n for n, _, _ in gateway.verdicts()] == list(range(1, gateway.triggers() + 1))


def test_without_a_database_there_is_nothing_to_ask(tmp_path: Path) -> None:
    """Before the first start: two lines, exit 2, and no empty database is made by the question."""
    gateway = Gateway(tmp_path)

    said = gateway.ask("query", "SELECT 1")

    assert said.returncode == 2
    assert "has not run yet" in said.stderr
    assert not (gateway.data / "lineside.db").exists()
