from http import HTTPStatus

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.serving.http import MAX_FIELDS, Reply, head_bytes, parse_head, whole_number
from edge_agent.serving.refusal import Refusal

GOOD = b"POST /v2/models/m/infer?x=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 7\r\nX-Two: a\r\nx-two:b"


def status(raw: bytes) -> int:
    """What a head is refused with, 200 when it is not."""
    try:
        parse_head(raw)
    except Refusal as refusal:
        # What is not understood says nothing of where the next request begins.
        return int(refusal.status) if refusal.closes else 0
    return 200


def test_a_head_is_taken_apart() -> None:
    """Method, path without its question, names in lower case; what stands twice is one value."""
    head = parse_head(GOOD)

    assert (head.method, head.path, head.length, head.keeps) == ("POST", "/v2/models/m/infer", 7, True)
    assert head.fields == {"host": "here", "content-length": "7", "x-two": "a, b"}


@pytest.mark.parametrize(
    ("line", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: a", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
def test_a_connection_goes_on_as_its_version_says(line: bytes, *, keeps: bool) -> None:
    """1.1 keeps it unless told otherwise, 1.0 the other way round."""
    assert parse_head(line).keeps is keeps


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (b"Content-Length: 7\r\nContent-Length: 7", 400),
        (b"Content-Length: 7\r\nContent-Length: 9", 400),
        (b"Content-Length: +7", 400),
        (b"Content-Length: 7,7", 400),
        (b"Content-Length: 0x7", 400),
        (b"Content-Length: -1", 400),
        (b"Content-Length: ", 400),
        (b"Content-Length: \xb2", 400),
        (b"Content-Length: 9999999999999999", 400),
        (b"Content-Length : 7", 400),
        (b" Content-Length: 7", 400),
        (b"X: a\r\n b", 400),
        (b"X: a\nY: b", 400),
        (b"X: a\rY: b", 400),
        (b"X: a\0b", 400),
        (b"no colon", 400),
        (b"", 400),
        (b"Host: other", 400),
        (b"Transfer-Encoding: chunked", 411),
        (b"Transfer-Encoding: identity", 411),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 7", 411),
        (b"Expect: 200-ok", 417),
        (b"\r\n".join(b"X-%d: 1" % n for n in range(MAX_FIELDS)), 431),
        (b"X: \xe9 is latin", 200),
        (b"Expect: 100-Continue", 200),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(more: bytes, expected: int) -> None:
    """No request can be smuggled in another: its length is said once, in digits, and no line is bent."""
    assert status(b"POST / HTTP/1.1\r\nHost: a\r\n" + more) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.1 ",
        b"GET http://other/ HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"G\x00T / HTTP/1.1",
    ],
)
def test_a_first_line_has_one_form(line: bytes) -> None:
    """Method, path and version with one space between, all of visible characters."""
    assert status(line + b"\r\nHost: a") == 400


def test_a_request_says_where_it_goes() -> None:
    """HTTP/1.1 has a host."""
    assert status(b"GET / HTTP/1.1") == 400


@settings(max_examples=150)
@given(
    st.binary(max_size=300)
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=8)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] :]
    )
)
def test_any_bytes_are_a_head_or_a_refusal(raw: bytes) -> None:
    """No bytes do more than be refused; what passes has a path and a length that is no less than nothing."""
    if status(raw) == 200:
        head = parse_head(raw)
        assert head.path.startswith("/")
        assert head.length >= 0


def test_a_reply_says_its_length_and_what_becomes_of_the_connection() -> None:
    """The length is that of all its buffers, of whatever type they are."""
    reply = Reply(HTTPStatus.OK, "text/plain", [b"abc", np.zeros(2, np.float32).data], (("A", "b"),))

    kept, last = head_bytes(reply, keeps=True), head_bytes(reply, keeps=False)

    assert kept.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n")
    assert kept.endswith(b"A: b\r\n\r\n")
    assert last.endswith(b"A: b\r\nConnection: close\r\n\r\n")


def test_a_number_of_bytes_is_digits() -> None:
    """A header that counts is a number or is not there."""
    assert whole_number({}, "a") is None
    assert whole_number({"a": "12"}, "a") == 12
    with pytest.raises(Refusal, match="the header a"):
        whole_number({"a": "twelve"}, "a")
