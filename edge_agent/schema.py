"""The database's tables as a list of migrations: each is the SQL that leads from its index to the next version.

Append only: a migration that a gateway may have run is never edited. A row's id holds its identity:
`epoch << 32 | seq`; the views `verdict` and `totals` are for people, everything else is the agent's own.
"""

from edge_protocol.codes import Reason, Verdict

PRAGMAS = """
PRAGMA page_size=4096;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA wal_autocheckpoint=256;
PRAGMA journal_size_limit=1048576;
PRAGMA mmap_size=0;
PRAGMA temp_store=MEMORY;
PRAGMA cache_size=-512;
PRAGMA trusted_schema=OFF;
PRAGMA cell_size_check=ON;
"""
"""Of each connection."""

_RECORDS = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, run INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
"""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE words (kind TEXT, number INTEGER, word TEXT NOT NULL, PRIMARY KEY (kind, number)) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, boot TEXT NOT NULL, run INTEGER NOT NULL, wall_us INTEGER NOT NULL,
    mono_us INTEGER NOT NULL, clock TEXT NOT NULL, config BLOB NOT NULL
) STRICT;
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, bundle TEXT NOT NULL, version TEXT NOT NULL, digest BLOB NOT NULL,
    variant TEXT NOT NULL, operating_point BLOB NOT NULL,
    UNIQUE (pipeline, bundle, version, digest, variant, operating_point)
) STRICT;
CREATE TABLE cursors (
    id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, stream TEXT NOT NULL, next INTEGER NOT NULL,
    committed TEXT NOT NULL, declared TEXT NOT NULL, trimmed INTEGER NOT NULL,
    last_trigger INTEGER NOT NULL DEFAULT 0, last_at_us INTEGER NOT NULL DEFAULT 0, totals TEXT NOT NULL DEFAULT '{}',
    UNIQUE (epoch, stream)
) STRICT;
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, run INTEGER NOT NULL, trigger INTEGER NOT NULL,
    context INTEGER NOT NULL, verdict INTEGER NOT NULL, reason INTEGER NOT NULL, score REAL,
    latency_us INTEGER NOT NULL, part TEXT NOT NULL, product TEXT NOT NULL, lot TEXT NOT NULL
) STRICT;
"""

_VIEW = """
CREATE VIEW verdict AS SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', v.at_us / 1e6, 'unixepoch') AS at,
    c.pipeline AS pipeline, v.trigger AS trigger, v.part AS part, v.product AS product, v.lot AS lot,
    coalesce(said.word, v.verdict) AS verdict, coalesce(why.word, v.reason) AS reason,
    v.score AS score, v.latency_us / 1e3 AS latency_ms,
    c.bundle AS bundle, c.version AS version, c.variant AS variant, lower(hex(c.digest)) AS digest,
    r.clock AS clock, v.id >> 32 AS epoch, v.id & 0xffffffff AS seq,
    EXISTS (
        SELECT 1 FROM cursors k, json_each(k.committed) pair
        WHERE k.epoch = v.id >> 32 AND k.stream = 'verdicts'
          AND v.id & 0xffffffff BETWEEN pair.value ->> 0 AND pair.value ->> 1
    ) AS received
FROM verdicts v
LEFT JOIN contexts c ON c.id = v.context
LEFT JOIN runs r ON r.id = v.run
LEFT JOIN words said ON said.kind = 'verdict' AND said.number = v.verdict
LEFT JOIN words why ON why.kind = 'reason' AND why.number = v.reason;
CREATE VIEW totals AS SELECT pipelines.key AS pipeline, counts.key AS verdict, sum(counts.value) AS n
FROM cursors, json_each(cursors.totals) pipelines, json_each(pipelines.value) counts
GROUP BY pipelines.key, counts.key;
"""

_UPDATES = """
CREATE TABLE floors (kind TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE slots (
    pipeline TEXT PRIMARY KEY, digest TEXT NOT NULL, bundle TEXT NOT NULL, version TEXT NOT NULL,
    previous TEXT NOT NULL, phase TEXT NOT NULL, since_us INTEGER NOT NULL, starts INTEGER NOT NULL,
    rollout TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE refused (
    pipeline TEXT, digest TEXT, refusal TEXT NOT NULL, detail TEXT NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (pipeline, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE updates (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, pipeline TEXT NOT NULL, step TEXT NOT NULL, bundle TEXT NOT NULL,
    version TEXT NOT NULL, digest TEXT NOT NULL, rollout TEXT NOT NULL, refusal TEXT NOT NULL, detail TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
"""

_CHECKS = """
CREATE TABLE checks (
    digest TEXT, variant TEXT, environment TEXT NOT NULL, at_us INTEGER NOT NULL, PRIMARY KEY (digest, variant)
) STRICT, WITHOUT ROWID;
"""

_DERIVED = """
CREATE TABLE optimised (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE plans (
    fingerprint TEXT, digest TEXT, variant TEXT NOT NULL, threads INTEGER NOT NULL, arena INTEGER NOT NULL,
    p50_ms REAL NOT NULL, at_us INTEGER NOT NULL, PRIMARY KEY (fingerprint, digest)
) STRICT, WITHOUT ROWID;
"""

_POINTS = """
CREATE TABLE points (
    pipeline TEXT PRIMARY KEY, sha256 TEXT NOT NULL, body BLOB NOT NULL, at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_NUMBERS = """
CREATE TABLE numbers (pipeline TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

_LETTERS = """
CREATE TABLE letters (
    id INTEGER PRIMARY KEY, output TEXT NOT NULL, epoch INTEGER NOT NULL, trigger INTEGER NOT NULL,
    pipeline TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (output, epoch, trigger, pipeline)
) STRICT;
"""

_FIRST_STREAMS = ("events", "drift", "outcomes", "metrics", "captures")

MIGRATIONS = (
    _TABLES + "".join(_RECORDS.replace("records", stream) for stream in _FIRST_STREAMS) + _VIEW,
    _UPDATES,
    _CHECKS,
    _DERIVED,
    _POINTS,
    _NUMBERS,
    _LETTERS,
)

WORDS = tuple(
    (kind, int(word), word.name) for kind, words in (("verdict", Verdict), ("reason", Reason)) for word in words
)
"""The names behind the numbers, written at each start: the enums grow without a migration."""
