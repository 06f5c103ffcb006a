import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import ConfigError
from edge_agent.serving.server import Server
from tests.edge_agent.serving.asking import TOKEN, ask


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 (this is what must be refused)
def test_wider_than_loopback_only_with_a_token(host: str) -> None:
    """Without one the agent does not start."""
    with pytest.raises(ConfigError, match="no token") as caught:
        Server(host, 0)

    assert "token_file" in caught.value.hint


def test_who_does_not_say_the_token_is_answered_nothing(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Every path but liveness needs it, and the wrong one is as good as none."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    server = serve("0.0.0.0", token_file=tmp_path / "token")  # noqa: S104 (with a token)

    def told(path: str, said: str) -> int:
        return ask(server, path, headers={"Authorization": said} if said else {})[0]

    assert told("/status", f"Bearer {TOKEN}") == 200
    assert [told("/status", said) for said in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN)] == [401] * 5
    assert [told(path, "") for path in ("/metrics", "/v2/health/ready", "/nothing")] == [401] * 3
    assert [told(path, "") for path in ("/health/live", "/v2/health/live")] == [200] * 2


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("192.0.2.1", 403),
        ("", 403),
    ],
)
def test_a_name_that_only_means_this_machine_is_refused(server: Server, host: str, expected: int) -> None:
    """A page in a browser that made its own name point here reads nothing."""
    assert ask(server, "/status", headers={"Host": host})[0] == expected


@pytest.mark.parametrize("content", [None, "", "short", "zwölf Zeichen und noch mehr"])
def test_a_file_that_holds_no_token_is_refused(content: str | None, tmp_path: Path) -> None:
    """Missing, empty, short or not ASCII: named, with the command that makes one."""
    if content is not None:
        (tmp_path / "token").write_text(content)

    with pytest.raises(ConfigError, match="token_file") as caught:
        Server("127.0.0.1", 0, token_file=tmp_path / "token")

    assert "openssl" in caught.value.hint


def through(path: Path) -> bytes:
    """What /status answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_unix_socket_is_guarded_by_its_permissions(serve: Callable[..., Server], tmp_path: Path) -> None:
    """It is the agent's and its group's, needs no token, and is gone after the end."""
    (tmp_path / "token").write_text(TOKEN)
    path = tmp_path / "ask.sock"
    server = serve(path=path, token_file=tmp_path / "token")

    answer, mode = through(path), path.stat().st_mode & 0o777
    server.close()

    assert b"press-1" in answer
    assert mode & 0o007 == 0
    assert not path.exists()


def test_a_socket_left_behind_is_taken_over_a_living_one_is_not(serve: Callable[..., Server], tmp_path: Path) -> None:
    """After a kill the name is free; while somebody answers it is not."""
    path = tmp_path / "ask.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    serve(path=path)

    assert b"press-1" in through(path)
    with pytest.raises(ConfigError, match="somebody does already"):
        Server("127.0.0.1", 0, path=path)


def test_a_socket_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """What is there and is no socket stays."""
    path = tmp_path / "notes"
    path.write_text("mine")

    with pytest.raises(ConfigError, match="cannot listen on"):
        Server("127.0.0.1", 0, path=path)
    with pytest.raises(ConfigError, match="cannot listen on"):
        Server("127.0.0.1", 0, path=tmp_path / ("long" * 40))

    assert path.read_text() == "mine"
