"""A row's `token_file` comes in, the token in it goes out: what `Authorization: Bearer` shows or must show."""

from pathlib import Path

from edge_agent.errors import ConfigError


def read_token(path: Path, whose: str = "", *, least: int = 1) -> str:
    """The token in a file, of at least so many characters; `whose` it is stands before what is wrong.

    Raises:
        ConfigError: the file cannot be read, or holds no token.
    """
    named = f"{whose}: token_file" if whose else "token_file"
    hint = "let the agent's user read the file; it holds the token and nothing else: openssl rand -hex 16"
    try:
        token = path.read_bytes().strip().decode("ascii", "replace")
    except OSError as error:
        message = f"{named}: cannot read {path}: {error.strerror}"
        raise ConfigError(message, hint) from error
    if len(token) < least or not token.isascii() or not token.isprintable() or " " in token:
        message = f"{named}: {path} holds no token of at least {least} characters"
        raise ConfigError(message, hint)
    return token
