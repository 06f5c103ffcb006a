"""The kinds of sources and triggers there are: one row each, from its table in the TOML to what makes it."""

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_agent.sources import mqtt, mqtt_trigger
from edge_agent.sources.broker import link_maker
from edge_agent.sources.camera import CameraSource
from edge_agent.sources.folder import FolderSource
from edge_agent.sources.push import PushSource
from edge_agent.sources.recorded import RecordedSource
from edge_agent.sources.replay import ReplaySource
from edge_agent.sources.source import Source
from edge_agent.sources.triggers import SourceTrigger, Ticker, TimerTrigger
from edge_agent.sources.video import VideoSource


def _make_mqtt_source(table: settings.MqttSource, gateway: str) -> Source:
    return mqtt.MqttSource(table, link_maker(table, "sources", gateway, mqtt.HEAR))


def _make_mqtt_trigger(table: settings.MqttTrigger, _sources: Mapping[str, Source], gateway: str) -> Ticker:
    return mqtt_trigger.MqttTrigger(table, link_maker(table, "triggers", gateway, mqtt_trigger.HEAR))


def _make_source_trigger(table: settings.SourceTrigger, sources: Mapping[str, Source], _gateway: str) -> Ticker:
    source = sources.get(table.source)
    if source is None:
        message = f"[[triggers]] {table.name!r}: there is no source {table.source!r}"
        raise ConfigError(message, "add [[sources]] with that name")
    return SourceTrigger(table, source)


KINDS: dict[type[settings.Source], Callable[[Any, str], Source]] = {
    settings.FolderSource: lambda table, _gateway: FolderSource(table),
    settings.ReplaySource: lambda table, _gateway: ReplaySource(table),
    settings.VideoSource: lambda table, _gateway: VideoSource(table),
    settings.CameraSource: lambda table, _gateway: CameraSource(table),
    settings.RecordedSource: lambda table, _gateway: RecordedSource(table),
    settings.MqttSource: _make_mqtt_source,
    settings.PushSource: lambda table, _gateway: PushSource(table),
}

TICKERS: dict[type[settings.Trigger], Callable[[Any, Mapping[str, Source], str], Ticker]] = {
    settings.TimerTrigger: lambda table, _sources, _gateway: TimerTrigger(table),
    settings.SourceTrigger: _make_source_trigger,
    settings.MqttTrigger: _make_mqtt_trigger,
}


def make_source(table: settings.Source, gateway: str = "") -> Source:
    """The source of a row of `[[sources]]` of the gateway with this id, not yet open.

    Raises:
        ConfigError: what it names cannot be used.
    """
    return KINDS[type(table)](table, gateway)


def make_ticker(table: settings.Trigger, sources: Mapping[str, Source], gateway: str = "") -> Ticker:
    """The ticker of a row of `[[triggers]]`; `sources` are those it may ask, by name.

    Raises:
        ConfigError: a source that is not among them, or a broker that cannot be used.
    """
    return TICKERS[type(table)](table, sources, gateway)
