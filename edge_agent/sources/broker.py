"""A row with a broker comes in, a maker of links to it goes out: for sources and triggers that listen to the line."""

from collections.abc import Callable

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_protocol.errors import LinkError
from edge_protocol.link import Hearing, Link
from edge_protocol.mqtt import MqttLink, Tls
from edge_protocol.topics import check_filter


def link_maker(
    table: settings.MqttSource | settings.MqttTrigger, section: str, gateway: str, hear: Hearing
) -> Callable[[], Link]:
    """Makes links of the gateway's own to the broker of a row of `section`, none of them started.

    Raises:
        ConfigError: its broker's URL, its topic or its TLS files cannot be used.
    """
    tls = Tls(ca_file=table.ca_file) if table.ca_file is not None else None

    def make() -> Link:
        return MqttLink(table.broker, f"lineside-{gateway}-{section}-{table.name}", tls=tls, hear=hear)

    try:
        check_filter(table.topic)
        make()
    except (LinkError, ValueError) as error:
        message = f"[[{section}]] {table.name!r}: {error}"
        raise ConfigError(message, getattr(error, "hint", "a filter is as line/4/part or line/+/part")) from error
    return make
