"""How far a source's own numbering has come on record: after a power cut it tells which parts were lost.

Written in the transaction of the verdicts, and only where a source counts its parts. Never decides what is missing.
"""

from collections.abc import Sequence

from edge_agent.judgement import Judgement
from edge_agent.store import Connection, fetch


def keep(connection: Connection, judgements: Sequence[Judgement]) -> None:
    """Note the number of the last of them, by pipeline."""
    last = {each.pipeline: each.trigger.number for each in judgements if each.trigger.number is not None}
    if last:
        connection.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", list(last.items()))


def load(connection: Connection) -> dict[str, int]:
    """The last number on record, by pipeline."""
    return dict(fetch(connection, "SELECT pipeline, number FROM numbers"))


def forget(connection: Connection) -> None:
    """Begin anew."""
    connection.execute("DELETE FROM numbers")
