"""Keys that never lie on the hub: three for the roots and one for `targets`, in a folder that is taken away.

Each file is new and of mode 0600. Nothing here touches the hub's folder or its database.
"""

from pathlib import Path
from typing import NamedTuple

from cloud_hub.access import keys
from cloud_hub.errors import ConfigError, TrustError
from cloud_hub.storage import files
from cloud_hub.updates.signing import ROOT_THRESHOLD
from edge_protocol.envelope import PrivateKey

ROOTS = ("root-1.pem", "root-2.pem", "root-3.pem")
TARGETS = "targets.pem"


class Offline(NamedTuple):
    """The private keys of a folder that is only here for a ceremony."""

    roots: tuple[PrivateKey, ...]
    targets: PrivateKey


def create(folder: Path, hub: Path) -> Offline:
    """Make all keys in a folder outside of the hub's.

    Raises:
        ConfigError: it is the hub's, or some of the keys are there already.
    """
    if folder.resolve().is_relative_to(hub.resolve()):
        message = f"{folder} is inside the hub's folder, where whoever steals the hub would find these keys"
        raise ConfigError(message, "name a folder that can be taken away: --out /media/stick/lineside-keys")
    for name in (*ROOTS, TARGETS):
        if (folder / name).exists():
            message = f"{folder / name} is there already and is never overwritten"
            raise ConfigError(message, "name another folder; keys of an init that was cut short may be removed")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be made: {error.strerror}"
        raise ConfigError(message, "name a folder that this user may write") from error
    made = [keys.create(folder / name) for name in (*ROOTS, TARGETS)]
    return Offline(tuple(made[:-1]), made[-1])


def load_targets(folder: Path) -> PrivateKey:
    """The key that delegates to publishers.

    Raises:
        ConfigError: it is not in the folder.
    """
    return _load(folder / TARGETS)


def load_roots(folder: Path) -> tuple[PrivateKey, ...]:
    """The root keys of the folder: enough of them to sign.

    Raises:
        ConfigError: one that is there cannot be read.
        TrustError: too few are there.
    """
    found = tuple(_load(folder / name) for name in ROOTS if (folder / name).exists())
    if len(found) < ROOT_THRESHOLD:
        message = f"{folder} holds {len(found)} of the root keys, {ROOT_THRESHOLD} are needed"
        raise TrustError(message, f"bring {ROOT_THRESHOLD} of {', '.join(ROOTS)} together in one folder")
    return found


def create_publisher(path: Path) -> Path:
    """Make a publisher's key in a new file; answers with the file of its public half, for the hub's owner.

    Raises:
        ConfigError: one of the files is there already, or cannot be written.
    """
    public = path.with_name(path.name + ".pub")
    if public.exists():
        message = f"{public} is there already and is never overwritten"
        raise ConfigError(message, "name another file, or move the old one away")
    key = keys.create(path)
    files.write_new(public, keys.public_pem(key.public_key()).encode())
    return public


def _load(path: Path) -> PrivateKey:
    try:
        return keys.load(path)
    except ConfigError as error:
        raise ConfigError(str(error), "bring the folder that cloud-hub keys init has made: --keys FOLDER") from error
