"""The agent that runs, asked over local HTTP: whether something listens where it last said, and its status.

A file that names the address outlives the agent, so only a connection says that it runs.
"""

import http.client
import json
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

from edge_agent.config import Config
from edge_agent.errors import ConfigError
from edge_agent.settings.bearer import read_token

TIMEOUT_S = 5.0


def listens(settings: Config) -> bool:
    """Whether something takes connections where the agent last said that it does."""
    connection = _connect(settings)
    if connection is not None:
        connection.close()
    return connection is not None


def status(settings: Config) -> Any:
    """What the running agent says of itself; None where it does not run.

    Raises:
        ConfigError: something listens there that is not told its token, or does not take it.
    """
    connection = _connect(settings)
    if connection is None:
        return None
    file = settings.serving.token_file
    with closing(connection):
        # Only now: a stopped agent's database tells what it knows, whatever has become of the token.
        headers = {} if file is None else {"Authorization": f"Bearer {read_token(file, '[serving]')}"}
        try:
            connection.request("GET", "/status", headers=headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
    if reply.status == HTTPStatus.UNAUTHORIZED:
        raise _refused(connection, file)
    state = answer.get("state") if isinstance(answer, dict) else None
    # A port that another gateway has by now answers too, with another name.
    return answer if isinstance(state, dict) and state.get("gateway") == settings.gateway.id else None


def _connect(settings: Config) -> http.client.HTTPConnection | None:
    try:
        address = json.loads((settings.data_dir / "serving.json").read_bytes())
        connection = http.client.HTTPConnection(address["host"], address["port"], timeout=TIMEOUT_S)
        connection.connect()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return connection


def _refused(connection: http.client.HTTPConnection, file: Path | None) -> ConfigError:
    address = f"{connection.host}:{connection.port}"
    message = f"{address} does not take the token of {file}" if file else f"{address} asks for a token, and none is set"
    again = "an agent reads its token when it starts: restart it if [serving] token_file or what is in it has changed"
    return ConfigError(message, f"{again}; if it is stopped, another program has its port: start it")
