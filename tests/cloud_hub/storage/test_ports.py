"""Ports that are chosen once."""

import socket
from pathlib import Path

import pytest

from cloud_hub import config
from cloud_hub.errors import ConfigError
from cloud_hub.storage import ports


def settings(folder: Path, text: str = "") -> config.Config:
    """A configuration with this text."""
    (folder / config.FILE).write_text(text)
    return config.load(folder)


def test_a_port_left_to_chance_is_the_same_for_ever(tmp_path: Path) -> None:
    """
    Gateways remember where the broker is, so a chosen port stays.
    """
    first = ports.choose(settings(tmp_path))

    assert ports.choose(settings(tmp_path)) == first
    assert len(set(first)) == 3


def test_a_port_that_is_written_down_wins(tmp_path: Path) -> None:
    """
    What `hub.toml` says counts, also after a port was chosen.
    """
    ports.choose(settings(tmp_path))

    assert ports.choose(settings(tmp_path, "[broker]\nport = 18830\n")).mqtt == 18830


def test_mosquitto_serves_both_versions_on_one_port(tmp_path: Path) -> None:
    """
    Only iotcore needs a port for each version of MQTT.
    """
    chosen = ports.choose(settings(tmp_path, '[broker]\nengine = "mosquitto"\n'))

    assert chosen.mqtt == chosen.mqtt_v3


def test_a_chosen_port_can_be_listened_on(tmp_path: Path) -> None:
    """
    The port was free when it was chosen.
    """
    chosen = ports.choose(settings(tmp_path))

    with socket.create_server(("127.0.0.1", chosen.web)) as server:
        assert server.getsockname()[1] == chosen.web


def test_a_damaged_file_of_ports_is_not_guessed_over(tmp_path: Path) -> None:
    """
    Ports that gateways rely on are not silently chosen anew.
    """
    (tmp_path / ports.FILE).write_text("{")

    with pytest.raises(ConfigError, match=r"ports\.json"):
        ports.choose(settings(tmp_path))


def test_chosen_ports_are_not_those_of_outgoing_connections(tmp_path: Path) -> None:
    """After a kill the same ports must be free: Linux gives those from 32768 on to whoever connects meanwhile."""
    chosen = ports.choose(settings(tmp_path))

    assert max(chosen) < 32_768
