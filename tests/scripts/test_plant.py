from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.settings import ReplaySource, VideoSource
from scripts.day.plant import DIMMER, GATEWAYS, VERDICTS, YARD, Gateway, configuration


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.name)
def test_the_agent_accepts_what_is_written(gateway: Gateway, tmp_path: Path) -> None:
    """Each gateway's TOML means what the plan says, and talks to the hub through its own cable alone."""
    file = tmp_path / "gateway.toml"
    file.write_text(configuration(gateway, data=tmp_path / "surfaces", cable=4001, broker=4002))

    read = config.load(file)

    assert (read.gateway.id, read.gateway.line) == (gateway.name, gateway.line)
    assert read.hub is not None
    assert read.hub.broker == "mqtt://127.0.0.1:4001"
    assert isinstance(read.sources[0], ReplaySource)
    assert read.sources[0].seed == gateway.seed
    assert (read.pipelines[0].name, read.pipelines[0].bundle) == (gateway.pipeline, gateway.model)
    assert tmp_path / VERDICTS in {getattr(output, "path", None) for output in read.outputs}


def test_the_yard_is_a_video_that_is_played(tmp_path: Path) -> None:
    """The gateway that comes later has no draws and no light of ours."""
    file = tmp_path / "gateway.toml"
    text = configuration(YARD, data=tmp_path / "yard.avi", cable=4001, broker=4002)
    file.write_text(text)

    read = config.load(file)

    assert isinstance(read.sources[0], VideoSource)
    assert read.sources[0].path == tmp_path / "yard.avi"
    assert (read.pipelines[0].name, read.pipelines[0].bundle) == (YARD.pipeline, "person-zone")
    assert DIMMER not in text


def test_only_what_is_looked_at_has_a_light() -> None:
    """A dimmer belongs to the presses; a pump hears."""
    written = {each.name: configuration(each, data=Path("x"), cable=1, broker=2) for each in GATEWAYS}

    assert {name for name, text in written.items() if DIMMER in text} == {"press-1", "press-2"}


def test_no_two_stations_see_the_same_parts() -> None:
    """Each gateway draws with a seed of its own."""
    assert len({gateway.seed for gateway in GATEWAYS}) == len(GATEWAYS)
