"""Makes a hub: its folder with configuration, keys, the owner's token and an empty database. Overwrites nothing.

Everything is made in a draft folder that gets its name last: a hub is there as a whole or not at all.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloud_hub import config
from cloud_hub.access import audit, keys, tokens
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.access.authority import Authority
from cloud_hub.config import Config
from cloud_hub.errors import ConfigError
from cloud_hub.storage import files
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.objects import Objects

TOKEN, ROOTS = "owner-token", "roots.pem"
HUB_KEY, AUTHORITY_KEY = Path("keys", "hub.pem"), Path("keys", "authority.pem")

TOML = """\
# A Lineside hub. Every key is shown with its default; unknown keys are errors.

[hub]
tenant = "default"
replica = "hub"             # replicas that share a database have different names here

[web]
host = "127.0.0.1"
port = {web_port}                    # 0: any free one, chosen once and kept in ports.json

[broker]
engine = "{engine}"          # iotcore, which came with the hub, or mosquitto
host = "127.0.0.1"
port = {broker_port}                    # MQTT 5 (mosquitto: 3.1.1 too); 0 as above
port_v3 = 0                 # MQTT 3.1.1 of iotcore
tls = false                 # mosquitto only: certificates, and topics by certificate
url = ""                    # a broker that runs elsewhere, as mqtts://broker:8883; then none is started

[storage]
database = "{database}"               # empty: hub.db in this folder; or postgresql+psycopg://host/name
database_file = ""          # a file that holds such a URL, for one with a password
objects = "objects"         # a folder, or a URL as s3://bucket/prefix

[receiving]
batch_messages = 100        # messages in one transaction
queue_mb = 64               # what may wait for it; beyond, messages are dropped and come again
lease_s = 15.0              # after so long without a sign of life another replica takes over

[drift]
window_samples = 500
psi = 0.25
windows = 2                 # in a row, to raise an alarm and to clear it

[keys]
warn_days = 30              # before a root, a delegation or a publisher's signature expires; 90 at most
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be said of a hub before it is made."""

    engine: Literal["iotcore", "mosquitto"] = "iotcore"
    web_port: int = 0
    broker_port: int = 0
    database: str = ""


def found(folder: Path, plan: Plan, actor: Actor, now_us: int) -> Config:
    """Make a hub in `folder`, which is not there yet or empty.

    Raises:
        ConfigError: something is there already, or the folder cannot be written.
        StorageError: the database does not open.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} is there already and is never overwritten"
        raise ConfigError(
            message, f"choose another folder; to start the hub that is there: cloud-hub serve --hub {folder}"
        )
    draft = folder.absolute().with_name(f".{folder.name}.new")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _fill(draft, plan, actor, now_us)
        draft.replace(folder)
    except OSError as error:
        message = f"{folder} cannot be made: {error.strerror}"
        raise ConfigError(message, "choose a folder that this user may write") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return config.load(folder)


def _fill(folder: Path, plan: Plan, actor: Actor, now_us: int) -> None:
    values = {"web_port": plan.web_port, "broker_port": plan.broker_port, "engine": plan.engine}
    files.write_new(folder / config.FILE, TOML.format(**values, database=plan.database).encode())
    settings = config.load(folder)
    tokens.create(folder / TOKEN)
    (folder / "keys").mkdir(mode=0o700)
    keys.create(folder / HUB_KEY)
    Authority.create(folder / AUTHORITY_KEY, folder / ROOTS, now_us)
    Objects.open(settings.objects)
    database = Database.open(settings.database_url)
    try:
        upgrade(database)
        with database.writing() as connection:
            audit.append(connection, actor, Entry("hub made", settings.settings.hub.replica), now_us)
    finally:
        database.close()


def load_authority(settings: Config) -> Authority:
    """The enrolment authority of a hub.

    Raises:
        ConfigError: its files are missing or damaged.
    """
    return Authority.load(settings.folder / AUTHORITY_KEY, settings.folder / ROOTS)
