"""Reads `hub.toml` into typed settings. Every key has a default, unknown keys are errors, paths start at the file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cloud_hub.errors import ConfigError

FILE = "hub.toml"
Port = Annotated[int, Meta(ge=0, le=65535)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table: a key that is not listed is an error."""


class Hub(Table, frozen=True, kw_only=True):
    """Who this hub is. Replicas of one hub share the database and differ in `replica`."""

    tenant: str = "default"
    replica: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,40}$")] = "hub"


class Web(Table, frozen=True, kw_only=True):
    """The pages. Port 0 is any free one, chosen once and kept in `ports.json`."""

    host: str = "127.0.0.1"
    port: Port = 0


class Broker(Table, frozen=True, kw_only=True):
    """The broker the hub runs beside itself. `iotcore` needs nothing else, `mosquitto` checks certificates and topics.

    `port` takes MQTT 5 and, with mosquitto, 3.1.1; iotcore listens for 3.1.1 on `port_v3`. Port 0 is any free one.
    `url` names a broker that runs elsewhere; then none is started.
    """

    engine: Literal["iotcore", "mosquitto"] = "iotcore"
    host: str = "127.0.0.1"
    port: Port = 0
    port_v3: Port = 0
    tls: bool = False
    url: str = ""


class Storage(Table, frozen=True, kw_only=True):
    """Where rows and bytes lie. A URL that holds a password stands in a file: `database_file`."""

    database: str = ""
    database_file: str = ""
    objects: str = "objects"


class Receiving(Table, frozen=True, kw_only=True):
    """How the receiver works: messages in one transaction, and how much may wait for it."""

    batch_messages: Annotated[int, Meta(ge=1, le=10_000)] = 100
    queue_mb: Annotated[int, Meta(ge=1)] = 64
    lease_s: Annotated[float, Meta(ge=1)] = 15.0


class Drift(Table, frozen=True, kw_only=True):
    """When fleet drift raises an alarm: so many samples a window, so far from the reference, so many windows."""

    window_samples: Annotated[int, Meta(ge=100)] = 500
    psi: Annotated[float, Meta(gt=0)] = 0.25
    windows: Annotated[int, Meta(ge=1, le=100)] = 2


class Keys(Table, frozen=True, kw_only=True):
    """So many days before a key's word expires whoever must renew it is warned.

    At most 90: a publisher who publishes once more before that signs nothing anew.
    """

    warn_days: Annotated[int, Meta(ge=1, le=90)] = 30


class Settings(Table, frozen=True, kw_only=True):
    """The whole of `hub.toml`."""

    hub: Hub = Hub()
    web: Web = Web()
    broker: Broker = Broker()
    storage: Storage = Storage()
    receiving: Receiving = Receiving()
    drift: Drift = Drift()
    keys: Keys = Keys()


class Config(msgspec.Struct, frozen=True):
    """The settings and the folder they are about."""

    folder: Path
    settings: Settings

    @property
    def database_url(self) -> str:
        """Where the database is; `hub.db` in the folder by default.

        Raises:
            ConfigError: `database_file` cannot be read.
        """
        storage = self.settings.storage
        if storage.database_file:
            return _read(self.folder / storage.database_file).strip()
        return storage.database or f"sqlite:///{self.folder / 'hub.db'}"

    @property
    def objects(self) -> str | Path:
        """Where the objects are: a URL, or a folder."""
        where = self.settings.storage.objects
        return where if "://" in where else self.folder / where


def load(path: Path) -> Config:
    """The configuration of the hub in a folder, or in a file of another name.

    Raises:
        ConfigError: there is none, it is not TOML, or a key is unknown or has a wrong value.
    """
    file = path / FILE if path.is_dir() else path
    try:
        settings = msgspec.convert(tomllib.loads(_read(file)), Settings)
    except tomllib.TOMLDecodeError as error:
        message = f"{file} is not TOML: {error}"
        raise ConfigError(message, "correct the line it names") from error
    except msgspec.ValidationError as error:
        message = f"{file}: {error}"
        raise ConfigError(
            message, "the keys and their defaults stand in the file that cloud-hub init writes"
        ) from error
    return Config(file.parent.absolute(), settings)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(message, "make a hub with cloud-hub init --hub DIR, or name its folder") from error
