"""What an output owes the line: a letter is durable with its verdict's row, and gone with the record of its outcome.

So after a kill those that are left are those of which nobody knows whether they were told. Never sends anything.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from edge_agent.judgement import Judgement
from edge_agent.outputs.output import Letter, letter
from edge_agent.store import Connection, fetch
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Outcome

Owing: TypeAlias = Mapping[str, Collection[str]]
"""By pipeline, the outputs that try on their own time."""


def keep(
    connection: Connection,
    judgements: Sequence[Judgement],
    records: Sequence[tuple[Stream, int, AnyRecord]],
    owing: Owing,
    names: Collection[str],
) -> None:
    """Write down the letters of these verdicts and strike out what has its outcome now; `names` are the outputs."""
    known = {
        (each.output, each.epoch, each.trigger, each.pipeline)
        for _, _, each in records
        if isinstance(each, Outcome) and each.output in names
    }
    made = [letter(name, judgement) for judgement in judgements for name in owing.get(judgement.pipeline, ())]
    # Most are told before their verdict's commit: those cost nothing.
    rows = [(key, each.body) for each in made if (key := _key(each)) not in known]
    if rows:
        sql = "INSERT OR IGNORE INTO letters (output, epoch, trigger, pipeline, body) VALUES (?, ?, ?, ?, ?)"
        connection.executemany(sql, [(*key, body) for key, body in rows])
    if older := known.difference(map(_key, made)):
        sql = "DELETE FROM letters WHERE output = ? AND epoch = ? AND trigger = ? AND pipeline = ?"
        connection.executemany(sql, list(older))


def load(connection: Connection) -> list[Letter]:
    """What is owed, the oldest first."""
    sql = "SELECT output, epoch, trigger, pipeline, body FROM letters ORDER BY id"
    return [Letter(*row) for row in fetch(connection, sql)]


def _key(each: Letter) -> tuple[str, int, int, str]:
    return each.output, each.epoch, each.trigger, each.pipeline
