"""The kinds of outputs there are: one row each, from its table in the TOML to what makes it."""

from collections.abc import Callable
from typing import Any

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_agent.outputs.file import FileOutput
from edge_agent.outputs.mqtt import MqttOutput
from edge_agent.outputs.output import Output
from edge_protocol.errors import LinkError
from edge_protocol.mqtt import MqttLink, Tls


def _make_mqtt(table: settings.MqttOutput, gateway: str) -> Output:
    tls = Tls(ca_file=table.ca_file) if table.ca_file is not None else None
    try:
        return MqttOutput(table, MqttLink(table.broker, f"lineside-{gateway}-{table.name}", tls=tls))
    except LinkError as error:
        message = f"[[outputs]] {table.name!r}: {error}"
        raise ConfigError(message, error.hint) from error


KINDS: dict[type[settings.Output], Callable[[Any, str], Output]] = {
    settings.FileOutput: lambda table, _gateway: FileOutput(table),
    settings.MqttOutput: _make_mqtt,
}


def make_output(table: settings.Output, gateway: str) -> Output:
    """The output of a row of `[[outputs]]` of the gateway with this id, not yet open.

    Raises:
        ConfigError: its broker's URL or TLS files cannot be used.
    """
    return KINDS[type(table)](table, gateway)
