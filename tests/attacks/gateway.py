"""A gateway's trust on a real disk and a real database, and all of it that an attack must not change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.clock import FixedClock
from edge_agent.durable import Operation
from edge_agent.store import Store, fetch
from edge_agent.updates.trust import Trust
from edge_protocol.agreement import Wanted
from tests.attacks.repositories import NOW_US, House


class Gateway:
    """press-1 with the pipelines `a` and `b`, enrolled with the first roots of a house."""

    def __init__(self, folder: Path, house: House) -> None:
        self.house = house
        self.clock = FixedClock(NOW_US)
        self.folder = folder / "trust"
        self.store = Store.open(folder / "lineside.db", quota_bytes=32 * 2**20, clock=self.clock)
        self.trust = self.start()

    def start(self, record: Callable[[Operation], None] | None = None) -> Trust:
        """The same gateway after a restart."""
        roots = {"models": self.house.models.first_root, "director": self.house.director.first_root}
        self.trust = Trust(self.folder, roots, self.store, self.clock, "press-1", ("a", "b"), record=record)
        return self.trust

    def take_all(self) -> None:
        """What an honest hub sends: models before director."""
        self.trust.take("models", self.house.models.files())
        self.trust.take("director", self.house.director.files())

    def runs(self, pipeline: str = "a") -> str:
        """The version it shall run, or the name of why not."""
        ruling = self.trust.wanted()[pipeline]
        return ruling.version if isinstance(ruling, Wanted) else ruling.refusal.value

    def kept(self) -> tuple[dict[str, bytes], list[tuple[object, ...]], str]:
        """Everything that decides what it trusts: files, floors, and what follows from both."""
        files = {path.name: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        with self.store.reading() as connection:
            rows = fetch(connection, "SELECT * FROM floors ORDER BY kind, name")
        return files, rows, repr(self.trust.wanted())


@contextmanager
def gateway_of(folder: Path, house: House) -> Iterator[Gateway]:
    """An enrolled gateway that has taken nothing yet."""
    gateway = Gateway(folder, house)
    try:
        yield gateway
    finally:
        gateway.store.close()
