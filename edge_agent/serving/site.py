"""All that may be asked: a table of paths; a request comes in, the answer of its row goes out.

The rows' answers are callables, asked on the connections' threads. Changes nothing.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from edge_agent import __version__
from edge_agent.serving.http import Head, Reply, as_json
from edge_agent.serving.metrics import CONTENT_TYPE
from edge_agent.serving.models import Models
from edge_agent.serving.refusal import Refusal

Reasons: TypeAlias = Callable[[], Sequence[str]]
"""Why something is not as it should be; empty when all is well."""

SMALL_BYTES = 64 * 1024
"""The longest body of a question that needs none."""

MAX_FOUND = 256
"""Paths whose row is remembered: what is asked again and again need not be looked for."""

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
"""What of the protocol's extensions is kept."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said to whoever asks. `live`, `ready` and `trusted` give the reasons against; `status` is made JSON.

    `ready` is of the whole gateway, its sources and its disk too; `trusted` is of the models that are asked here.
    """

    metrics: Callable[[], bytes]
    live: Reasons
    ready: Reasons
    trusted: Reasons
    status: Callable[[], Any]
    models: Models


@dataclass(frozen=True, slots=True)
class _Row:
    method: str
    path: re.Pattern[str]
    reply: Callable[[Head, memoryview, Mapping[str, str]], Reply]
    room: Callable[[Mapping[str, str]], int] = lambda _names: SMALL_BYTES


class Site:
    """The table, with the agent's answers."""

    def __init__(self, answers: Answers) -> None:
        self._rows = _rows(answers)
        self._found: dict[tuple[str, str], tuple[_Row, Mapping[str, str]]] = {}

    def room(self, head: Head) -> int:
        """How long the body of this request may be.

        Raises:
            Refusal: 404 or 405 where nothing is answered, 415 for a compressed body.
        """
        if "content-encoding" in head.fields and head.fields["content-encoding"] != "identity":
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is compressed", "send it as it is")
        row, names = self._find(head)
        return row.room(names)

    def reply(self, head: Head, body: memoryview) -> Reply:
        """The answer.

        Raises:
            Refusal: with what is wrong about the question.
        """
        row, names = self._find(head)
        try:
            return row.reply(head, body, names)
        except Refusal:
            raise
        except Exception as error:
            log.exception("%s could not be answered", head.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            raise Refusal(status, status.phrase, "the agent's log says why") from error

    def _find(self, head: Head) -> tuple[_Row, Mapping[str, str]]:
        method = "GET" if head.method == "HEAD" else head.method
        if (known := self._found.get((method, head.path))) is not None:
            return known
        others = set()
        for row in self._rows:
            matched = row.path.fullmatch(head.path)
            if matched is not None and row.method == method:
                if len(self._found) < MAX_FOUND:
                    self._found[method, head.path] = (row, matched.groupdict())
                return row, matched.groupdict()
            if matched is not None:
                others.add(row.method)
        if others:
            allow = (("Allow", ", ".join(sorted(others))),)
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise Refusal(status, f"{head.path[:80]} takes {', '.join(sorted(others))}", headers=allow)
        hint = "there is /metrics, /health/live, /health/ready, /status, /v2 and /v2/models/NAME"
        raise Refusal(HTTPStatus.NOT_FOUND, f"there is no {head.path[:80]}", hint)


def _rows(answers: Answers) -> tuple[_Row, ...]:
    models = answers.models
    model = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    about = {"": models.metadata, "/ready": models.readiness, "/config": models.config, "/stats": models.stats}
    asked = {"/infer": models.infer, "/verdict": models.verdict}
    return (
        # What is asked most comes first.
        *(_Row("POST", re.compile(model + end), _of_body(reply), _room(models, end)) for end, reply in asked.items()),
        _get("/metrics", lambda: Reply(HTTPStatus.OK, CONTENT_TYPE, [answers.metrics()])),
        _get("/health/live", lambda: _health("live", answers.live())),
        _get("/health/ready", lambda: _health("ready", answers.ready())),
        _get("/status", lambda: as_json(answers.status())),
        _get("/v2", lambda: as_json({"name": "lineside", "version": __version__, "extensions": EXTENSIONS})),
        _get("/v2/health/live", lambda: _health("live", answers.live())),
        _get("/v2/health/ready", lambda: _health("ready", answers.trusted())),
        _get("/v2/models/stats", lambda: as_json(models.all_stats())),
        *(_Row("GET", re.compile(model + end), _of_names(reply)) for end, reply in about.items()),
        _Row("POST", re.compile("/v2/repository/index"), lambda _head, _body, _names: as_json(models.index())),
        _Row("POST", re.compile(r"/v2/repository/models/(?P<name>[^/]+)/(?:un)?load"), _refuse_loading),
    )


def _get(path: str, reply: Callable[[], Reply]) -> _Row:
    return _Row("GET", re.compile(re.escape(path)), lambda _head, _body, _names: reply())


def _of_names(reply: Callable[..., Reply]) -> Callable[[Head, memoryview, Mapping[str, str]], Reply]:
    return lambda _head, _body, names: reply(names["name"], names["version"])


def _of_body(reply: Callable[..., Reply]) -> Callable[[Head, memoryview, Mapping[str, str]], Reply]:
    return lambda head, body, names: reply(names["name"], names["version"], head, body)


def _room(models: Models, end: str) -> Callable[[Mapping[str, str]], int]:
    return lambda names: models.room(names["name"], names["version"], end)


def _health(name: str, reasons: Sequence[str]) -> Reply:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return as_json({name: not reasons, "reasons": list(reasons)}, status)


def _refuse_loading(_head: Head, _body: memoryview, _names: Mapping[str, str]) -> Reply:
    message = "models come signed by the hub, none is loaded or unloaded from here"
    raise Refusal(HTTPStatus.BAD_REQUEST, message, "assign the bundle to the pipeline at the hub")
