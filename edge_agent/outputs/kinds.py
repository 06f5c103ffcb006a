"""The kinds of outputs there are: one row each, from its table in the TOML to what makes it."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_agent.outputs.file import FileOutput
from edge_agent.outputs.http import HttpOutput
from edge_agent.outputs.mqtt import MqttOutput
from edge_agent.outputs.output import Output
from edge_agent.outputs.webhook import Webhook
from edge_protocol.errors import LinkError
from edge_protocol.mqtt import MqttLink, Tls


def _make_mqtt(table: settings.MqttOutput, gateway: str) -> Output:
    tls = Tls(ca_file=table.ca_file) if table.ca_file is not None else None
    try:
        return MqttOutput(table, MqttLink(table.broker, f"lineside-{gateway}-{table.name}", tls=tls))
    except LinkError as error:
        message = f"[[outputs]] {table.name!r}: {error}"
        raise ConfigError(message, error.hint) from error


def _make_http(table: settings.HttpOutput, gateway: str) -> Output:
    is_tls = table.url.startswith("https:")
    try:
        tls = ssl.create_default_context(cafile=table.ca_file) if is_tls else None
        _ = urlsplit(table.url).port
    except (OSError, ValueError) as error:
        message = f"[[outputs]] {table.name!r}: {table.url}, {table.ca_file or 'no ca_file'}: {error}"
        raise ConfigError(message, "give a URL with a port below 65536 and a readable PEM file") from error
    return HttpOutput(table, Webhook(table.url, table.timeout_s, tls, table.token_file), gateway)


KINDS: dict[type[settings.Output], Callable[[Any, str], Output]] = {
    settings.FileOutput: lambda table, _gateway: FileOutput(table),
    settings.MqttOutput: _make_mqtt,
    settings.HttpOutput: _make_http,
}


def make_output(table: settings.Output, gateway: str) -> Output:
    """The output of a row of `[[outputs]]` of the gateway with this id, not yet open.

    Raises:
        ConfigError: its broker's URL or TLS files cannot be used.
    """
    return KINDS[type(table)](table, gateway)
