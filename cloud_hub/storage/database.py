"""One database behind one pair of doors: `reading` for a consistent look, `writing` for one transaction.

SQLite by default, PostgreSQL by URL; the statements are the same. Nothing outside `storage` knows which it is.
"""

import fcntl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from cloud_hub.errors import StorageError, ValueRefused

Insert: TypeAlias = sqlite.Insert | postgresql.Insert
RowTuple: TypeAlias = tuple[Any, ...]

_BUSY_S = 30
_BEGIN = "lineside_begin"


class Database:
    """The hub's database. Open it once a process; any thread may use it.

    On SQLite all writers, of this and of other processes, pass one lock file: SQLite before 3.51.3 may damage a
    database when one connection writes while another checkpoints, and Debian's own is older.
    """

    def __init__(self, engine: Engine, lock_file: Path | None) -> None:
        self.engine = engine
        self._lock_file = lock_file
        self._writer = threading.RLock()

    @classmethod
    def open(cls, url: str) -> "Database":
        """The database at `url`, as `sqlite:///folder/hub.db` or `postgresql+psycopg://host/name`.

        Raises:
            StorageError: not such a URL, or nothing answers there.
        """
        try:
            address = make_url(url)
            lite = address.get_backend_name() == "sqlite"
            options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}} if lite else {"paramstyle": "format"}
            engine = create_engine(address, **options)
            if lite:
                event.listen(engine, "connect", _tune)
                event.listen(engine, "begin", _begin)
            with engine.connect():
                pass
        except (SQLAlchemyError, ImportError, OSError) as error:
            message = f"the database does not open: {_first_line(error)}"
            raise StorageError(message, "check [storage] in hub.toml, the folder's rights and the server") from error
        lock_file = Path(f"{address.database}.lock") if lite else None
        return cls(engine, lock_file)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment of the database and changes nothing.

        Raises:
            StorageError: the database does not answer.
        """
        with _translated(), self.engine.connect() as plain:
            yield plain if self._lock_file else plain.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection inside one transaction: committed at the end, rolled back on any exception.

        Raises:
            StorageError: the database does not answer, or has no room.
            ValueRefused: a value does not fit; the same transaction will fail again.
        """
        with self._alone(), _translated(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._lock_file is None:
            yield
            return
        with self._writer:
            try:
                handle = self._lock_file.open("ab")
            except OSError as error:
                message = f"{self._lock_file} cannot be written: {error.strerror}"
                raise StorageError(message, "give this user the rights to the hub's folder") from error
            with handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield


def insert(connection: Connection, table: Table) -> Insert:
    """An INSERT that knows ON CONFLICT, in the dialect of `connection`."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def put(connection: Connection, table: Table, *rows: Mapping[str, Any], add: str = "") -> None:
    """Insert rows of equal columns; where the primary key is there, the other columns are set to the new values.

    The column named by `add` is added to instead.
    """
    if rows:
        statement = _upsert(connection.dialect.name, table, tuple(rows[0]), add)
        connection.execute(statement, [dict(row) for row in rows])


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[RowTuple], *, past_known: bool = False
) -> None:
    """Insert many rows; those whose key is there are an error, or with `past_known` left alone.

    The driver gets the tuples as they are: SQLAlchemy's own way costs more than the database does.
    """
    if not rows:
        return
    dialect, names = connection.dialect, tuple(columns)
    if dialect.name == "postgresql" and not past_known:
        _copy(connection, _names_sql(dialect, table, names), rows)
        return
    marks = ", ".join(["?" if dialect.paramstyle == "qmark" else "%s"] * len(names))
    known = " ON CONFLICT DO NOTHING" if past_known else ""
    sql = f"INSERT INTO {_names_sql(dialect, table, names)} VALUES ({marks}){known}"  # noqa: S608 (our own names)
    connection.exec_driver_sql(sql, list(rows))


def _copy(connection: Connection, names: str, rows: Sequence[RowTuple]) -> None:
    """COPY, several times as fast as INSERT. The driver is spoken to without SQLAlchemy, so its errors are its own."""
    driver: Any = connection.dialect.loaded_dbapi
    cursors: Any = connection.connection
    try:
        with cursors.cursor() as cursor, cursor.copy(f"COPY {names} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        raise DBAPIError.instance(names, None, error, driver.Error, dialect=connection.dialect) from error


@lru_cache(maxsize=64)
def _names_sql(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> str:
    # Written out, for a compiled INSERT has the table's order of columns and the tuples have the caller's.
    quote = dialect.identifier_preparer.quote
    return f"{quote(table.name)} ({', '.join(quote(table.c[name].name) for name in columns)})"


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, columns: tuple[str, ...], add: str) -> Insert:
    statement = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    key = [column.name for column in table.primary_key]
    changed: dict[str, Any] = {name: statement.excluded[name] for name in columns if name not in {*key, add}}
    if add:
        changed[add] = table.c[add] + statement.excluded[add]
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def _tune(dbapi: Any, _record: object) -> None:
    dbapi.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "journal_size_limit=67108864", "cache_size=-16384"):
        dbapi.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError, OverflowError) as error:
        message = f"the database refused a value: {_first_line(error)}"
        raise ValueRefused(message) from error
    except DBAPIError as error:
        message = f"the database does not answer: {_first_line(error)}"
        raise StorageError(message, "free some space, check the folder's rights and that the server runs") from error


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0]
