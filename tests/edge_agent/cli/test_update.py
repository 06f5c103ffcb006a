import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_protocol.bundle import OperatingPoint
from edge_protocol.points import Point, canonical
from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.updates.releases import Site, good, other_normalisation, placed_digest, release
from tests.gateways import Gateway, until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose gateway is not yet running."""
    site = Site(tmp_path)
    yield site
    site.close()


def has(site: Site, step: str, version: str) -> bool:
    """Whether the history has this step."""
    return (step, version) in [(row[0], row[1]) for row in site.steps()]


def test_a_gateway_that_was_never_updated_says_what_was_placed(tmp_path: Path, say: Say) -> None:
    """Without a hub: updates are off and why, the placed bundle runs, the history is empty, nothing to go back to."""
    gateway = Gateway(tmp_path)
    with gateway.inside():
        pass

    status = say("update", "status", "--config", gateway.config, "--json")
    history = say("update", "history", "--config", gateway.config)
    back = say("update", "rollback", "engine", "--reason", "a try", "--config", gateway.config)

    (row,) = status.json["pipelines"]
    assert (status.code, status.json["updates"]) == (0, "off: there is no [hub]")
    assert (row["runs"], row["version"], row["step"], row["before"]) == ("small-window", "1.0.0", "", "")
    assert history.out == "nothing was ever updated\n"
    assert back.code == 2
    assert "there is no model before" in back.err


def test_an_operating_point_is_shown_where_it_is_judged_by(tmp_path: Path, say: Say) -> None:
    """By its name, where it was made for what runs; one that was made for another release is not judged by."""
    gateway = Gateway(tmp_path)
    with gateway.inside() as agent:
        store = agent._store
        for digest in (placed_digest(gateway), "0" * 64):
            point = Point(
                schema=1, bundle="small-window", digest=digest, name="line-3", version="1.0.2",
                operating_point=OperatingPoint(accept=0.1, reject=0.2),
            )  # fmt: skip
            with store.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO points VALUES ('engine', 'ab', ?, 1)", (canonical(point),))
            (row,) = say("update", "status", "--config", gateway.config, "--json").json["pipelines"]

            assert row["judges_by"] == ("line-3 1.0.2" if digest != "0" * 64 else "")


def test_an_operator_puts_the_model_before_back(site: Site, say: Say) -> None:
    """The row, the line and the record follow; the reason and the login stand there; it is not taken again."""
    config, made = site.gateway.config, good("1.1.0")
    site.hub.roll_out(made)
    with site.gateway.inside():
        until("the end of the probation", lambda: has(site, "kept", "1.1.0"), 60)

        back = say("update", "rollback", "engine", "--reason", "scratches pass", "--config", config, "--json")
        taken = site.gateway.triggers()
        until("more parts", lambda: len(site.gateway.verdicts()) > taken + 20)
        site.hub.send()
        until("parts after the same set came again", lambda: len(site.gateway.verdicts()) > taken + 60)

    status = say("update", "status", "--config", config)
    history = say("update", "history", "--config", config, "--json")
    assert back.json == {"pipeline": "engine", "from": "1.1.0", "to": "1.0.0", "done": True}
    assert history.json[0]["step"] == "returned"
    assert history.json[0] | {"actor": getpass.getuser(), "detail": "scratches pass"} == history.json[0]
    assert site.gateway.query("SELECT digest FROM verdict ORDER BY trigger DESC LIMIT 1") == [
        {"digest": placed_digest(site.gateway)}
    ]
    assert status.code == 1
    assert "1.1.0 returned, Operator" in status.out
    assert "scratches pass" in status.out


def test_nobody_goes_below_the_floor(site: Site, say: Say) -> None:
    """A version that its publisher does not let run any more is refused at the terminal, by name, with the floor."""
    made = good("1.1.0")
    site.hub.publish(made, floor="1.1.0")
    site.hub.name(made)
    site.hub.send()
    with site.gateway.inside():
        until("the end of the probation", lambda: has(site, "kept", "1.1.0"), 60)

        back = say("update", "rollback", "engine", "--reason", "a try", "--config", site.gateway.config)

    assert back.code == 2
    assert "BelowFloor: small-window 1.0.0 is below the publisher's floor 1.1.0" in back.err
    assert not (site.gateway.data / "requests").exists()


def test_a_refusal_is_legible_at_night(site: Site, say: Say) -> None:
    """Status says which version, by which name, why, and what to do; exit code 1."""
    site.hub.roll_out(release("1.2.0", break_it=other_normalisation))
    with site.gateway.inside():
        until("the refusal", lambda: has(site, "refused", "1.2.0"), 60)

    said = say("update", "status", "--config", site.gateway.config)

    lines = said.out.splitlines()
    assert said.code == 1
    assert lines[0] == "updates are on"
    assert "engine: small-window 1.2.0 refused, SelfTestFailed" in lines
    assert any(line.startswith("  normalise of golden.npy") for line in lines)
    assert any(line.startswith("  try: ") for line in lines)


def test_a_pipeline_that_does_not_exist_is_named(site: Site, say: Say) -> None:
    """A slip of the finger: cause, cure, exit 2."""
    said = say("update", "rollback", "engin", "--reason", "x", "--config", site.gateway.config)

    assert said.code == 2
    assert "there is no pipeline 'engin'" in said.err
    assert "engine" in said.err
