"""The tables of the gateway's TOML as typed structs, each key with its limits, its default and what it means.

Pure data: `config` reads and checks them, and each part of the agent receives its own table, never the whole.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
BrokerUrl: TypeAlias = Annotated[str, Meta(pattern=r"^mqtts?://[^/\s]+$")]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table: a key that is not listed is an error."""


class Gateway(Table, frozen=True, kw_only=True):
    """Who this gateway is and where it stands."""

    id: Annotated[Name, Meta(description="name of the gateway, unique at its hub: 1 to 40 of a-z, 0-9 and hyphen")]
    tenant: Annotated[Name, Meta(description="whose gateway it is")] = "default"
    enterprise: Annotated[str, Meta(description="enterprise")] = ""
    site: Annotated[str, Meta(description="site of the enterprise")] = ""
    area: Annotated[str, Meta(description="area of the site")] = ""
    line: Annotated[str, Meta(description="line of the area")] = ""
    cell: Annotated[str, Meta(description="cell of the line")] = ""
    timezone: Annotated[str, Meta(description="IANA name of the time zone it stands in, as Europe/Berlin")] = "UTC"
    labels: Annotated[dict[str, str], Meta(description="free words to find it by")] = {}


class Identity(Table, frozen=True, kw_only=True):
    """Files of the gateway's identity, relative to `data_dir`/identity. `edge-agent identity new` makes the key."""

    key_file: Annotated[Path, Meta(description="private key of the gateway, PEM, readable by its owner only")] = Path(
        "key.pem"
    )
    certificate_file: Annotated[Path, Meta(description="certificate the hub gave for this key, PEM")] = Path(
        "certificate.pem"
    )
    hub_keys_file: Annotated[Path, Meta(description="keys the hub signs with, JSON")] = Path("hub-keys.json")
    models_root_file: Annotated[
        Path, Meta(description="first root of the publishers' repository; without it no update is taken")
    ] = Path("models-root.json")
    director_root_file: Annotated[
        Path, Meta(description="first root of the director's repository; without it no update is taken")
    ] = Path("director-root.json")


class Hub(Table, frozen=True, kw_only=True):
    """The way to the hub. Without this table the gateway works alone and keeps what it can."""

    broker: Annotated[BrokerUrl, Meta(description="mqtt://host:port, or mqtts://host:port for TLS")]
    ca_file: Annotated[Path | None, Meta(description="authority the broker's certificate must come from, PEM")] = None
    linger_s: Annotated[Positive, Meta(description="longest a record waits for its batch to fill")] = 5.0
    batch_rows: Annotated[int, Meta(ge=1, le=1000, description="most records in one message")] = 100
    resend_s: Annotated[Positive, Meta(description="time without a receipt after which a batch is sent again")] = 30.0
    state_s: Annotated[Positive, Meta(description="time between two reports of the gateway's state")] = 5.0
    backoff_s: Annotated[Positive, Meta(description="longest pause between two attempts to connect")] = 30.0


class Store(Table, frozen=True, kw_only=True):
    """The database of records."""

    quota_mb: Annotated[int, Meta(ge=16, description="most it may take of the disk; what it sheds is declared")] = 512
    commit_s: Annotated[Positive, Meta(description="longest an OK waits in memory for its commit")] = 2.0
    commit_rows: Annotated[int, Meta(ge=1, le=5000, description="records that make a commit before that")] = 200
    keep_rows: Annotated[int, Meta(ge=0, description="received verdicts kept for local questions")] = 100_000
    keep_days: Annotated[int, Meta(ge=0, description="days they are kept at most")] = 30


class Serving(Table, frozen=True, kw_only=True):
    """Metrics, health and status over local HTTP."""

    host: Annotated[str, Meta(description="address to listen on; whoever reaches it may read")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free one, told in `data_dir`/serving.json")] = 0


class Monitoring(Table, frozen=True, kw_only=True):
    """Counters that show drift."""

    pane_rows: Annotated[int, Meta(ge=1, le=10_000, description="samples after which a pane of counters is closed")] = (
        250
    )
    pane_s: Annotated[Positive, Meta(description="age at which it is closed with fewer")] = 300.0


class Updates(Table, frozen=True, kw_only=True):
    """Models that come from the hub: what they may take, and how a new one proves itself on the line."""

    max_mb: Annotated[int, Meta(ge=1, le=65_536, description="largest release this gateway takes")] = 512
    self_test_s: Annotated[Positive, Meta(description="longest the self-test of a release may last")] = 120.0
    probation_verdicts: Annotated[int, Meta(ge=1, le=100_000, description="verdicts a new model must give")] = 200
    probation_s: Annotated[Positive, Meta(description="time it must judge, whatever it gives in it")] = 60.0


class FolderSource(Table, frozen=True, kw_only=True, tag="folder", tag_field="kind"):
    """Files that appear in a folder: pictures, or .npy windows. The part is named by the file."""

    name: Annotated[Name, Meta(description="name of the source")]
    path: Annotated[Path, Meta(description="folder to watch")]
    pattern: Annotated[str, Meta(min_length=1, description="which files are taken, as *.png")] = "*"
    channel: Annotated[str, Meta(min_length=1, description="what .npy windows are called in the contract")] = "signal"
    processed: Annotated[str, Meta(min_length=1, description="folder in `path` for what was judged")] = "processed"
    failed: Annotated[str, Meta(min_length=1, description="folder in `path` for what could not be inspected")] = (
        "failed"
    )
    settle_s: Annotated[float, Meta(ge=0, description="time a file must not change before it is taken")] = 0.2


class ReplaySource(Table, frozen=True, kw_only=True, tag="replay", tag_field="kind"):
    """Draws from recorded data, a fresh one for each trigger; the same seed and trigger give the same draw."""

    name: Annotated[Name, Meta(description="name of the source")]
    scene: Annotated[Literal["textures", "windows"], Meta(description="crops of pictures, or rows of a signal")]
    path: Annotated[Path, Meta(description="folder of pictures, or file of windows")]
    channel: Annotated[str, Meta(min_length=1, description="what windows are called in the contract")] = "signal"
    seed: Annotated[int, Meta(ge=0, description="seed of the draws")] = 0
    half: Annotated[Literal["left", "right"], Meta(description="half of each picture the crops come from")] = "right"
    defect_share: Annotated[float, Meta(ge=0, le=1, description="share of draws with a defect or fault")] = 0.05
    crop_px: Annotated[int, Meta(ge=16, le=4096, description="side of a crop")] = 224
    dimmer: Annotated[Path | None, Meta(description="text file with a factor on the light, as 0.8")] = None


class TimerTrigger(Table, frozen=True, kw_only=True, tag="timer", tag_field="kind"):
    """A part at a fixed rate."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    rate_hz: Annotated[float, Meta(gt=0, le=1000, description="parts per second")]


class SourceTrigger(Table, frozen=True, kw_only=True, tag="source", tag_field="kind"):
    """A part whenever a source has one."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    source: Annotated[Name, Meta(description="source that is asked")]
    poll_s: Annotated[Positive, Meta(description="time between two looks")] = 0.05


class Guard(Table, frozen=True, kw_only=True):
    """When an input is not to be trusted, whatever a model says of it."""

    black_below: Annotated[float, Meta(ge=0, le=255, description="mean brightness that is black; 0: off")] = 12.0
    frozen_after: Annotated[int, Meta(ge=0, le=1000, description="equal inputs in a row that are frozen; 0: off")] = 5


class Pipeline(Table, frozen=True, kw_only=True):
    """One model at one place of the line."""

    name: Annotated[Name, Meta(description="name of the pipeline")]
    bundle: Annotated[Name, Meta(description="folder of the bundle in `data_dir`/bundles")]
    source: Annotated[Name, Meta(description="where its samples come from")]
    trigger: Annotated[Name, Meta(description="what says that a part is there; pipelines may share it")]
    outputs: Annotated[tuple[Name, ...], Meta(description="who is told each verdict")] = ()
    deadline_ms: Annotated[float, Meta(ge=0, description="age at which a sample is no longer judged; 0 for none")] = 0.0
    priority: Annotated[
        int, Meta(ge=0, le=9, description="which pipeline gets more of a short processor; 9: the most")
    ] = 5
    variant: Annotated[str, Meta(description="variant of the model to use; empty: chosen by the processor")] = ""
    guard: Annotated[Guard, Meta(description="limits of the guard, a table of its own")] = Guard()


class FileOutput(Table, frozen=True, kw_only=True, tag="file", tag_field="kind"):
    """A line of JSON per verdict, appended to a file. Rotate it by renaming: it is opened anew."""

    name: Annotated[Name, Meta(description="name of the output")]
    path: Annotated[Path, Meta(description="file to append to")]
    after_commit: Annotated[bool, Meta(description="tell the line only what is safe on disk")] = False


class MqttOutput(Table, frozen=True, kw_only=True, tag="mqtt", tag_field="kind"):
    """The last verdict retained on `<prefix>/<pipeline>/verdict`, a counter on `<prefix>/<pipeline>/heartbeat`."""

    name: Annotated[Name, Meta(description="name of the output")]
    broker: Annotated[BrokerUrl, Meta(description="mqtt://host:port, or mqtts://host:port for TLS")]
    prefix: Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)*$", description="first part of its topics")] = "line"
    heartbeat_s: Annotated[Positive, Meta(description="time between two counts; silence means reject")] = 1.0
    ca_file: Annotated[Path | None, Meta(description="authority the broker's certificate must come from, PEM")] = None
    after_commit: Annotated[bool, Meta(description="tell the line only what is safe on disk")] = False


Source: TypeAlias = FolderSource | ReplaySource
Trigger: TypeAlias = TimerTrigger | SourceTrigger
Output: TypeAlias = FileOutput | MqttOutput


class Tables(Table, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Annotated[Gateway, Meta(description="[gateway]: the one table that must be there")]
    schema: Annotated[Literal[1], Meta(description="version of this file's form")] = 1
    data_dir: Annotated[Path, Meta(description="where the gateway keeps everything it makes")] = Path("data")
    identity: Annotated[Identity, Meta(description="[identity]: files of its identity")] = Identity()
    hub: Annotated[Hub | None, Meta(description="[hub]: the way to the hub; without it the gateway works alone")] = None
    store: Annotated[Store, Meta(description="[store]: the database of records")] = Store()
    serving: Annotated[Serving, Meta(description="[serving]: metrics and health over local HTTP")] = Serving()
    monitoring: Annotated[Monitoring, Meta(description="[monitoring]: counters that show drift")] = Monitoring()
    updates: Annotated[Updates, Meta(description="[updates]: models that come from the hub")] = Updates()
    sources: Annotated[tuple[Source, ...], Meta(description="[[sources]]: where samples come from")] = ()
    triggers: Annotated[tuple[Trigger, ...], Meta(description="[[triggers]]: what says that a part is there")] = ()
    pipelines: Annotated[tuple[Pipeline, ...], Meta(description="[[pipelines]]: models at work")] = ()
    outputs: Annotated[tuple[Output, ...], Meta(description="[[outputs]]: who is told the verdicts")] = ()
