"""Files of the hub's folder that must survive a power cut: written whole and synced, or not there."""

import os
from contextlib import suppress
from pathlib import Path

from cloud_hub.errors import ConfigError


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigError: it is there, or the folder cannot be written.
    """
    if path.exists():
        message = f"{path} is there already and is never overwritten"
        raise ConfigError(message, "choose another folder, or move the old one away")
    replace(path, content, mode=mode)


def replace(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file, in place of an older one if there is one: the old bytes or the new, never less.

    Raises:
        ConfigError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        message = f"{path} cannot be written: {error.strerror}"
        raise ConfigError(message, "choose a folder that this user may write, or give it the rights") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
