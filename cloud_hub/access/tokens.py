"""The owner's token: one secret in a file of mode 0600 that opens the pages and the API of this hub."""

import hmac
import secrets
from pathlib import Path

from cloud_hub.errors import ConfigError
from cloud_hub.storage import files

_BYTES = 32


def create(path: Path) -> str:
    """Make a token in a new file that only its owner reads.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    token = secrets.token_urlsafe(_BYTES)
    files.write_new(path, token.encode() + b"\n", mode=0o600)
    return token


def read(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigError: there is none.
    """
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(message, "restore it, or write a new secret of at least 32 characters there") from error
    if not token:
        message = f"{path} is empty"
        raise ConfigError(message, "write a secret of at least 32 characters there")
    return token


def matches(given: str, token: str) -> bool:
    """Whether `given` is the token, in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), token.encode())
