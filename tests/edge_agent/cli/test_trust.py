"""`edge-agent trust show` says whose word counts here, reads only, and needs nobody."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attacks.gateway import gateway_of
from tests.attacks.repositories import DAY, DAY_US, NOW, House
from tests.attacks.scene import Scene
from tests.edge_agent.cli.conftest import Say

TOML = """
[gateway]
id = "press-1"

[[sources]]
kind = "folder"
name = "camera"
path = "in"

[[triggers]]
kind = "source"
name = "part"
source = "camera"

[[pipelines]]
name = "a"
bundle = "surface"
source = "camera"
trigger = "part"
"""


@dataclass
class Place:
    """A gateway's folder with configuration, identity and data, and who owns the repositories."""

    folder: Path
    scene: Scene

    @property
    def config(self) -> Path:
        """Its TOML."""
        return self.folder / "gateway.toml"

    def listing(self) -> dict[str, bytes]:
        """Every file of the data directory but the database's own."""
        files = (path for path in (self.folder / "data").rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in files if "lineside.db" not in path.name}


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Both sets taken, by an agent that still holds the database."""
    house = House()
    (tmp_path / "gateway.toml").write_text(TOML)
    identity = tmp_path / "data" / "identity"
    identity.mkdir(parents=True)
    (identity / "models-root.json").write_bytes(house.models.first_root)
    (identity / "director-root.json").write_bytes(house.director.first_root)
    with gateway_of(tmp_path / "data", house) as gateway:
        monkeypatch.setattr("edge_agent.clock.system_wall_us", gateway.clock.wall_us)
        monkeypatch.setattr("edge_agent.clock.Clock.wall_us", lambda _self: gateway.clock.system_wall_us)
        yield Place(tmp_path, Scene(gateway, house, {}))


def test_it_says_who_may_say_what_and_what_follows(placed: Place, say: Say) -> None:
    """Roots, roles, publishers, floors and what each pipeline should run, while the agent holds the database."""
    placed.scene.house.publisher.release("1.0.0", floor="1.0.0")
    placed.scene.house.models.bump("pub-acme")
    placed.scene.gateway.take_all()
    before = placed.listing()

    said = say("trust", "show", "--config", placed.config, "--json")

    assert (said.code, said.err) == (0, "")
    roles = {(role["repository"], role["role"]): role for role in said.json["roles"]}
    assert roles["models", "pub-acme"]["paths"] == ["surface/*/manifest.json"]
    assert roles["models", "pub-acme"]["keys"] == [placed.scene.house.publisher_key.public_key.keyid]
    assert roles["models", "root"]["threshold"] == 2
    assert roles["models", "timestamp"]["version"] == 2
    assert roles["director", "targets"]["expires"].startswith("2027-06-01")
    assert said.json["floors"] == {"surface": "1.0.0"}
    assert [(each["pipeline"], each["version"], each["refusal"]) for each in said.json["pipelines"]] == [
        ("a", "1.0.0", "")
    ]
    assert placed.listing() == before
    assert "surface" in say("trust", "show", "--config", placed.config).out


def _expire(place: Place) -> None:
    place.scene.gateway.clock.step(8 * DAY_US)


def _damage(place: Place) -> None:
    (place.folder / "data" / "trust" / "models.set").write_bytes(b"")


def _forget(place: Place) -> None:
    (place.folder / "data" / "trust" / "director.set").unlink()


@pytest.mark.parametrize(
    ("change", "word"),
    [(_expire, "expired"), (_damage, "not a metadata set"), (_forget, "nothing was taken yet")],
)
def test_what_is_wrong_is_said_and_counts(placed: Place, say: Say, change: Callable[[Place], None], word: str) -> None:
    """An expired role, a damaged set and one that never came: the table says so, and the exit code is 1."""
    placed.scene.gateway.take_all()
    change(placed)

    said = say("trust", "show", "--config", placed.config)

    assert said.code == 1
    assert word in said.out


def test_why_a_pipeline_should_not_run_what_is_named(placed: Place, say: Say) -> None:
    """The refusal's name and detail stand with the pipeline; an expired publisher is named."""
    house = placed.scene.house
    house.models.expires["pub-acme"] = NOW - DAY
    placed.scene.gateway.take_all()

    said = say("trust", "show", "--config", placed.config, "--json")

    assert said.json["silent"] == {"pub-acme": ["surface/*/manifest.json"]}
    assert [(each["refusal"], "pub-acme" in each["detail"]) for each in said.json["pipelines"]] == [("Expired", True)]


def test_a_gateway_without_roots_says_that_updates_are_off(placed: Place, say: Say) -> None:
    """Nothing is trusted without the roots of enrolment: cause, cure, exit 2."""
    (placed.folder / "data" / "identity" / "director-root.json").unlink()

    said = say("trust", "show", "--config", placed.config)

    assert said.code == 2
    assert "updates are off" in said.err
    assert "enrol" in said.err


def test_before_the_first_start_there_is_nothing_to_trust_yet(tmp_path: Path, say: Say) -> None:
    """Roots and no data: both repositories were never heard, and nothing appears by being asked."""
    house = House()
    (tmp_path / "gateway.toml").write_text(TOML)
    (tmp_path / "data" / "identity").mkdir(parents=True)
    (tmp_path / "data" / "identity" / "models-root.json").write_bytes(house.models.first_root)
    (tmp_path / "data" / "identity" / "director-root.json").write_bytes(house.director.first_root)

    said = say("trust", "show", "--config", tmp_path / "gateway.toml", "--json")

    assert said.code == 1
    assert [each["problem"] for each in said.json["repositories"]] == ["nothing was taken yet"] * 2
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["identity"]
