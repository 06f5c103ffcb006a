"""The bytes of HTTP/1.1: a request's head comes in and is checked, a reply's head goes out. Knows no socket.

Strict where leniency is how requests are smuggled: one length, in digits, said once; no chunks, no folded lines.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn

import msgspec

from edge_agent.serving.refusal import Refusal

MAX_HEAD_BYTES = 8 * 1024
MAX_FIELDS = 64

JSON = "application/json"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,15}")
_SINGLE = frozenset(("content-length", "host", "inference-header-content-length", "authorization", "transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a request's body: names of `fields` in lower case, `path` without its question mark."""

    method: str
    path: str
    fields: dict[str, str]
    length: int
    keeps: bool
    """Whether the connection goes on after the answer."""

    expects: bool = False
    """Whether the sender waits for a word before it sends the body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; its body is the buffers one after the other."""

    status: HTTPStatus
    kind: str
    body: list[Any] = field(default_factory=list)
    fields: tuple[tuple[str, str], ...] = ()


def parse_head(raw: bytes) -> Head:
    """The head in `raw`, the empty line that ends it left out.

    Raises:
        Refusal: it is not HTTP/1.1 as it is taken here; the connection cannot go on.
    """
    first, *lines = raw.split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        _refuse(HTTPStatus.BAD_REQUEST, "the first line is not METHOD /path HTTP/1.1")
    if len(lines) > MAX_FIELDS:
        _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_FIELDS} header fields")
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            _refuse(HTTPStatus.BAD_REQUEST, "a header line is not Name: value")
        name, value = found[1].decode("ascii").lower(), found[2].strip(b" \t").decode("latin-1")
        if name in fields:
            if name in _SINGLE:
                _refuse(HTTPStatus.BAD_REQUEST, f"the header {name} is there twice")
            value = f"{fields[name]}, {value}"
        fields[name] = value
    is_old = request[3] == b"0"
    if not is_old and "host" not in fields:
        _refuse(HTTPStatus.BAD_REQUEST, "the header host is missing")
    wish = fields.get("connection", "").lower()
    return Head(
        request[1].decode("ascii"),
        request[2].partition(b"?")[0].decode("ascii"),
        fields,
        _length(fields),
        keeps="keep-alive" in wish if is_old else "close" not in wish,
        expects=_expects(fields),
    )


def head_bytes(reply: Reply, *, keeps: bool) -> bytes:
    """The head of a reply, with the empty line that ends it."""
    length = sum(memoryview(part).nbytes for part in reply.body)
    more = "".join(f"{name}: {value}\r\n" for name, value in reply.fields)
    return (
        f"{_first_line(reply.status)}Content-Type: {reply.kind}\r\nContent-Length: {length}\r\n"
        f"Cache-Control: no-store\r\n{more}{'' if keeps else 'Connection: close' + chr(13) + chr(10)}\r\n"
    ).encode("ascii")


def whole_number(fields: dict[str, str], name: str) -> int | None:
    """The value of a header that counts bytes; None where it is not there.

    Raises:
        Refusal: it is no number.
    """
    value = fields.get(name)
    if value is None:
        return None
    if _LENGTH.fullmatch(value) is None:
        _refuse(HTTPStatus.BAD_REQUEST, f"the header {name} is no number of bytes")
    return int(value)


def as_json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """A reply of JSON."""
    return Reply(status, JSON, [msgspec.json.encode(content)])


def refused(refusal: Refusal) -> Reply:
    """What a refusal looks like to who is refused; the key `error` is that of the inference protocol."""
    told = {"error": str(refusal), "hint": refusal.hint} if refusal.hint else {"error": str(refusal)}
    return Reply(refusal.status, JSON, [msgspec.json.encode(told)], refusal.headers)


def _length(fields: dict[str, str]) -> int:
    if "transfer-encoding" in fields:
        _refuse(HTTPStatus.LENGTH_REQUIRED, "a body comes with its Content-Length here, not in chunks")
    return whole_number(fields, "content-length") or 0


def _expects(fields: dict[str, str]) -> bool:
    wish = fields.get("expect", "").lower()
    if wish not in ("", "100-continue"):
        _refuse(HTTPStatus.EXPECTATION_FAILED, "nothing but 100-continue can be expected")
    return bool(wish)


@cache
def _first_line(status: HTTPStatus) -> str:
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n"


def _refuse(status: HTTPStatus, message: str) -> NoReturn:
    raise Refusal(status, message, closes=True)
