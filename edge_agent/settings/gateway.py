"""The tables of the gateway itself: who it is, its hub, its store, and what it keeps watch of."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_agent.settings.table import BrokerUrl, Name, Positive, Table


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
    labels: Annotated[dict[str, str], Meta(description="free words to find it by")] = {}  # noqa: RUF012 (msgspec copies it)


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
    exhibits_mb: Annotated[
        int, Meta(ge=0, le=65_536, description="most that pictures and reasons of verdicts take beside it; 0: none")
    ] = 64


class Serving(Table, frozen=True, kw_only=True):
    """What neighbours may ask over local HTTP."""

    host: Annotated[str, Meta(description="address to listen on; other than loopback only with a token")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free one, told in `data_dir`/serving.json")] = 0
    socket: Annotated[Path | None, Meta(description="Unix socket to listen on as well, for the agent's group")] = None
    token_file: Annotated[Path | None, Meta(description="file with the token that who asks by TCP must send")] = None


class Monitoring(Table, frozen=True, kw_only=True):
    """Counters that show drift."""

    pane_rows: Annotated[int, Meta(ge=1, le=10_000, description="samples after which a pane of counters is closed")] = (
        250
    )
    pane_s: Annotated[Positive, Meta(description="age at which it is closed with fewer")] = 300.0
    heartbeat_s: Annotated[
        Positive, Meta(description="time between two goldens that a live engine is asked between two parts")
    ] = 300.0


class Updates(Table, frozen=True, kw_only=True):
    """Models that come from the hub: what they may take, and how a new one proves itself on the line."""

    max_mb: Annotated[int, Meta(ge=1, le=65_536, description="largest release this gateway takes")] = 512
    self_test_s: Annotated[Positive, Meta(description="longest the self-test of a release may last")] = 120.0
    probation_verdicts: Annotated[int, Meta(ge=1, le=100_000, description="verdicts a new model must give")] = 200
    probation_s: Annotated[Positive, Meta(description="time it must judge, whatever it gives in it")] = 60.0
