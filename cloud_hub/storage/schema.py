"""Every table of the hub, the same for SQLite and PostgreSQL; `migrations` builds them, a test compares the two.

Times are UTC microseconds, digests and key ids are bytes or their hex. Each table names its tenant and, where rows
come from a gateway, the gateway. Row tables carry no foreign keys: the receiver writes parent and rows in one go.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

Id = BigInteger().with_variant(Integer(), "sqlite")
"""Only INTEGER counts up by itself in SQLite."""


def _tenant() -> Column[str]:
    return Column("tenant", Text, nullable=False, server_default="default")


def _number() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _key(name: str, kind: type[Text | BigInteger] = Text) -> Column[object]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _long(name: str, default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=default)


def _small(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


gateways = Table(
    "gateways", metadata,
    _key("id"), _tenant(),
    *(_text(name) for name in ("enterprise", "site", "area", "line", "cell")),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("labels", JSON, nullable=False, server_default="{}"),
    _text("agent_version"),
    Column("features", JSON, nullable=False, server_default="[]"),
    _long("enrolled_us"), _long("last_seen_us", "0"),
    Column("link_online", Boolean), _long("link_us", "0"),
)  # fmt: skip
"""A gateway, where it stands and when something it signed last arrived. `link_online` is the unsigned hint."""

gateway_keys = Table(
    "gateway_keys", metadata,
    _key("gateway"), _key("key_id"), _tenant(),
    _text("alg"), _text("pem"), _text("serial"), _text("certificate"),
    _long("enrolled_us"), Column("revoked_us", BigInteger),
)  # fmt: skip
"""Keys a gateway signs with. A revoked one verifies nothing any more and stays for the record."""

states = Table(
    "states", metadata,
    _key("gateway"), _tenant(), _text("boot"), _long("run"), _long("sent_us"), _long("received_us"), _text("key_id"),
    Column("body", LargeBinary, nullable=False),
)  # fmt: skip
"""The last signed state of each gateway. Streams that earlier states spoke of and this one forgot stay in its lines."""

batches = Table(
    "batches", metadata,
    _number(), _tenant(), _text("gateway"), _long("epoch"), _text("stream"), _long("first"), _long("last"),
    _long("added"), _long("first_us"), _long("last_us"), _long("received_us"),
    _text("boot"), _long("run"), _long("wall_us"), _long("mono_us"), _text("clock"), _text("config"),
    Column("digest", LargeBinary, nullable=False), Column("signature", LargeBinary, nullable=False),
    _text("alg"), _text("key_id"),
    Index(None, "gateway", "stream", "last_us"),
    Index(None, "gateway", "epoch", "stream", "first"),
    Index(None, "gateway", "stream", "id"),
)  # fmt: skip
"""Where rows came from: the signature over the exact bytes, and the clock they were stamped by."""

contexts = Table(
    "contexts", metadata,
    _number(), _tenant(), _text("gateway"), _text("pipeline"), _text("bundle"), _text("version"), _text("digest"),
    _text("variant"), _text("operating_point"),
    UniqueConstraint("gateway", "pipeline", "bundle", "version", "digest", "variant", "operating_point",
                     name="uq_contexts_all"),
)  # fmt: skip
"""What judged: pipeline, bundle, variant and operating point, once for all verdicts made by it."""

verdicts = Table(
    "verdicts", metadata,
    _key("gateway"), _key("epoch", BigInteger), _key("seq", BigInteger), _tenant(),
    _long("batch_id"), _long("context_id"), _long("at_us"), _long("trigger"),
    Column("verdict", SmallInteger, nullable=False), Column("reason", Integer, nullable=False),
    Column("score", Double), _long("latency_us"), Column("part", Text), Column("product", Text), Column("lot", Text),
    sqlite_with_rowid=False,
)  # fmt: skip
"""One row a verdict; `score`, `part`, `product` and `lot` are NULL where there is none."""

verdict_totals = Table(
    "verdict_totals", metadata,
    _key("gateway"), _key("context_id", BigInteger), _key("verdict", BigInteger), _tenant(), _long("n"),
)  # fmt: skip
"""How many verdicts of each kind each context gave: written with the rows, in the same transaction."""

records = Table(
    "records", metadata,
    _key("gateway"), _key("epoch", BigInteger), _key("stream"), _key("seq", BigInteger), _tenant(),
    _long("batch_id"), _long("at_us"), _text("kind"), Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
"""All records that are not verdicts, of known and unknown kinds and streams, as they came."""

cursors = Table(
    "cursors", metadata,
    _key("gateway"), _key("epoch", BigInteger), _key("stream"), _tenant(),
    Column("archived", LargeBinary, nullable=False), Column("declared", LargeBinary, nullable=False),
    _long("resent", "0"), _long("conflicting", "0"), _long("updated_us"),
)  # fmt: skip
"""Which identities are here (`archived`, ranges), which will never come (`declared`), how many rows came again."""

gaps = Table(
    "gaps", metadata,
    _key("gateway"), _key("epoch", BigInteger), _key("stream"), _key("seq", BigInteger), _tenant(), _long("at_us"),
    _long("gap_epoch"), _text("gap_stream"), _long("first"), _long("last"), _text("reason"),
)  # fmt: skip
"""What a gateway declared as never to arrive, by the record that said so."""

quarantine = Table(
    "quarantine", metadata,
    _number(), _tenant(), _text("gateway"), _long("epoch"), _text("stream"), _long("received_us"), _text("reason"),
    _text("conflicts"), Column("digest", LargeBinary, nullable=False), Column("message", LargeBinary, nullable=False),
    UniqueConstraint("gateway", "digest"),
)  # fmt: skip
"""Signed batches that contradict what is archived, whole, as evidence."""

refusals = Table(
    "refusals", metadata,
    _key("gateway"), _key("kind"), _tenant(), _long("n"), _long("first_us"), _long("last_us"), _text("detail"),
)  # fmt: skip
"""Messages that were not taken, counted by kind; `gateway` is empty when it is not an enrolled one."""

panes = Table(
    "panes", metadata,
    _key("gateway"), _key("epoch", BigInteger), _key("stream"), _key("seq", BigInteger), _tenant(),
    _long("batch_id"), _text("pipeline"), _text("bundle"), _text("reference"), _long("opened_us"), _long("closed_us"),
    _long("n"), Column("counts", LargeBinary, nullable=False), Column("window_id", BigInteger),
    Index("ix_panes_waiting", "gateway", "window_id"),
)  # fmt: skip
"""Counters of a pipeline between two cuts, and the window they were judged in."""

windows = Table(
    "windows", metadata,
    _number(), _tenant(), _text("gateway"), _text("pipeline"), _text("bundle"), _text("reference"),
    _long("opened_us"), _long("closed_us"), _long("n"),
    Column("counts", LargeBinary, nullable=False), Column("findings", LargeBinary, nullable=False),
    Index(None, "gateway", "pipeline", "bundle", "id"),
)  # fmt: skip
"""Consecutive panes that together hold enough samples to be judged, and the finding of each signal."""

alarms = Table(
    "alarms", metadata,
    _number(), _tenant(), _text("gateway"), _text("kind"), _text("pipeline"), _text("bundle"),
    Column("signals", JSON, nullable=False, server_default="{}"), _text("text"),
    _long("raised_us"), Column("cleared_us", BigInteger),
)  # fmt: skip
"""What somebody should look at. `signals` maps a drifting signal to its index."""

Index(
    "uq_alarms_active", alarms.c.gateway, alarms.c.kind, alarms.c.pipeline, alarms.c.bundle, unique=True,
    sqlite_where=alarms.c.cleared_us.is_(None), postgresql_where=alarms.c.cleared_us.is_(None),
)  # fmt: skip

bundles = Table(
    "bundles", metadata,
    _key("digest"), _tenant(), _text("name"), _text("version"), _text("task"), _text("reference"), _text("card"),
    _long("added_us"), _text("actor"), _text("publisher"), _text("floor"), _long("length", "0"),
    UniqueConstraint("tenant", "name", "version"),
)  # fmt: skip
"""Releases the hub knows. Manifest, card and reference lie in the object store by these digests.

`publisher` has signed it, with this `floor`; empty where it was only put here, and then it cannot be rolled out.
"""

bundle_files = Table(
    "bundle_files", metadata,
    _key("bundle"), _key("name"), _tenant(), _text("sha256"), _long("length"),
    Index(None, "sha256"),
)  # fmt: skip
"""The files of each release, its manifest among them: what a gateway may want."""

publishers = Table(
    "publishers", metadata,
    _key("name"), _tenant(), _text("key_id"), _text("pem"),
    Column("patterns", JSON, nullable=False, server_default="[]"),
    _long("delegated_us"), Column("revoked_us", BigInteger),
)  # fmt: skip
"""Whose key signs for which bundle names, as the signed `targets` says. A name that was revoked is not given again."""

trust_files = Table(
    "trust_files", metadata,
    _key("repository"), _key("gateway"), _key("role"), _key("version", BigInteger), _tenant(),
    _long("at_us"), _long("expires_us"), Column("body", LargeBinary, nullable=False),
    Index(None, "role", "expires_us"),
)  # fmt: skip
"""Signed metadata as it is carried. `gateway` is empty for `models` and for the root that all directors share."""

assignments = Table(
    "assignments", metadata,
    _key("gateway"), _key("pipeline"), _tenant(), _text("digest"), _text("name"), _text("version"), _text("rollout"),
    _long("at_us"),
)  # fmt: skip
"""What each pipeline should run, as the director of its gateway says."""

operating_points = Table(
    "operating_points", metadata,
    _key("sha256"), _tenant(), *(_text(name) for name in ("bundle", "digest", "name", "version", "publisher", "actor")),
    _long("length", "0"), _long("added_us"),
    UniqueConstraint("tenant", "bundle", "name", "version"),
)  # fmt: skip
"""Operating points that publishers have signed, each for the release of `digest`; the file lies in the object store."""

point_assignments = Table(
    "point_assignments", metadata, _key("gateway"), _key("pipeline"), _tenant(), _text("sha256"), _long("at_us")
)
"""Which of them each pipeline should judge by, as the director of its gateway says."""

references = Table("drift_references", metadata, _key("digest"), _tenant(), Column("body", LargeBinary, nullable=False))
"""What good parts looked like, by the digest that panes name: small, and needed in every judgement."""

rollouts = Table(
    "rollouts", metadata,
    _number(), _tenant(), _text("bundle"), _text("version"), _text("digest"), _text("state"), _text("cause"),
    _small("wave"), _text("reason"), _text("actor"), _text("purpose"),
    _long("created_us"), _long("changed_us"), _long("joined_us", "0"),
    Column("plan", JSON, nullable=False, server_default="{}"),
)  # fmt: skip
"""What was asked for (`plan`), who asked and why (`actor`, `purpose`), and where it stands."""

rollout_members = Table(
    "rollout_members", metadata,
    _key("rollout_id", BigInteger), _key("gateway"), _key("pipeline"), _tenant(), _small("wave"),
    _text("state"), _text("reason"), _small("attempt"), _long("assigned_us", "0"), _long("since", "0"),
    _long("changed_us"), Column("measured", JSON, nullable=False, server_default="{}"),
    Index(None, "gateway", "pipeline"),
)  # fmt: skip
"""Each pipeline of a rollout and where it stands. `measured` holds its counts, its evidence and what ran before."""

rollout_decisions = Table(
    "rollout_decisions", metadata,
    _number(), _tenant(), _long("rollout_id"), _text("gateway"), _text("pipeline"), _small("wave"), _long("at_us"),
    _text("actor"), _text("text"), Column("detail", JSON, nullable=False, server_default="{}"),
    Index(None, "rollout_id", "id"),
)  # fmt: skip
"""What was decided, when, by whom and by which figures; the audit chain has each of them too."""

leases = Table("leases", metadata, _key("shard"), _tenant(), _text("replica"), _long("expires_us"))
"""Which replica of the hub works for which shard, and until when."""

audit = Table(
    "audit", metadata,
    _number(), _tenant(), _text("gateway"), _long("at_us"), _text("actor"), _text("action"), _text("subject"),
    _text("reason"), Column("detail", JSON, nullable=False, server_default="{}"),
    Column("previous", LargeBinary, nullable=False), Column("hash", LargeBinary, nullable=False),
)  # fmt: skip
"""What people changed, each row bound to the one before it by its hash."""
