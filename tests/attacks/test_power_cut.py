"""The power goes at any moment of taking a set, files come back empty, torn or old: nothing that was seen is undone."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.durable import Kind, Operation
from edge_agent.store import fetch
from edge_agent.updates import trust
from edge_protocol.updates import Refusal, UpdateRefused
from tests.attacks.gateway import Gateway, gateway_of
from tests.attacks.repositories import House
from tests.attacks.scene import Scene


class PowerCutError(Exception):
    """The moment after which nothing more is done."""


def dies_before(number: int) -> Callable[[Operation], None]:
    """A recorder that ends everything before operation `number`."""
    left = itertools.count(number, -1)

    def stop(_operation: Operation) -> None:
        if next(left) == 0:
            raise PowerCutError

    return stop


def renew(house: House) -> None:
    """Both owners name 1.2.0."""
    house.publisher.release("1.2.0", floor="1.1.0")
    house.models.bump("targets", "pub-acme")
    house.name("1.2.0")
    house.director.bump("targets")


def test_a_cut_before_any_operation_leaves_the_old_or_the_new(scene: Scene):
    """
    Whatever step it was: the next start trusts one of the two whole sets of each repository, and then takes the new.
    """
    gateway = scene.gateway
    files, rows, _ = gateway.kept()
    renew(scene.house)
    seen = []
    for number in itertools.count():
        for name, data in files.items():
            (gateway.folder / name).write_bytes(data)
        with gateway.store.transaction() as connection:
            connection.execute("DELETE FROM floors")
            connection.executemany("INSERT INTO floors VALUES (?, ?, ?)", rows)
        gateway.start(record=dies_before(number))
        try:
            gateway.take_all()
        except PowerCutError:
            gateway.start()
            seen.append((gateway.runs(), gateway.trust.floor("surface")))
            gateway.take_all()
            assert gateway.runs() == "1.2.0"
        else:
            break

    models, director = [("1.1.0", "1.0.0")] * 3, [("1.1.0", "1.1.0")] * 4
    # A rename that was done and not yet synced is seen by the next start here; both outcomes are whole sets.
    assert seen == [*models, *director, ("1.2.0", "1.1.0")]


def test_the_set_is_on_disk_before_the_floors_are_raised(scene: Scene):
    """
    While the file is written the database still has the old floors; with the file synced and no floors raised, the
    next start raises them before anything acts.
    """
    renew(scene.house)
    gateway = scene.gateway

    def floors() -> list[tuple[object, ...]]:
        with gateway.store.reading() as connection:
            return fetch(connection, "SELECT * FROM floors ORDER BY kind, name")

    before, during = floors(), []
    gateway.start(record=lambda _operation: during.append(floors()))
    gateway.trust.take("models", scene.house.models.files())
    after = floors()
    with gateway.store.transaction() as connection:
        connection.execute("DELETE FROM floors")
        connection.executemany("INSERT INTO floors VALUES (?, ?, ?)", before)
    gateway.start()

    assert gateway.trust.floor("surface") == "1.1.0"
    assert floors() == after
    assert during
    assert all(rows == before for rows in during)


def test_every_file_is_synced_before_its_name_and_its_folder_after(scene: Scene):
    """
    What a power cut may lose is never what is relied upon.
    """
    renew(scene.house)
    done: list[Operation] = []

    scene.gateway.start(record=done.append)
    scene.gateway.take_all()

    kinds = [Kind.WRITE, Kind.SYNC_FILE, Kind.RENAME, Kind.SYNC_FOLDER]
    assert [each.kind for each in done] == kinds * 2
    assert {each.target.name for each in done if each.target} == {"models.set", "director.set"}


def flip(path: Path) -> None:
    """Change one bit near the end."""
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 1
    path.write_bytes(raw)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("repository", trust.REPOSITORIES)
def test_a_damaged_set_counts_as_never_taken_and_its_floors_hold(
    scene: Scene, repository: str, damage: Callable[[Path], object]
):
    """
    Nothing is wanted until the current set comes again; an old one is refused by the floors alone, and stays refused.
    """
    gateway = scene.gateway
    damage(trust.set_file(gateway.folder, repository))
    gateway.start()

    assert gateway.trust.wanted() == {} or damage is DAMAGE["one bit"]
    with pytest.raises(UpdateRefused) as caught:
        gateway.trust.take(repository, scene.old[repository])
    assert caught.value.refusal is Refusal.STALE
    gateway.trust.take(repository, scene.now[repository])
    assert gateway.runs() == "1.1.0"
    assert gateway.trust.floor("surface") == "1.0.0"


def test_an_old_set_put_on_the_disk_is_not_believed(scene: Scene):
    """
    A file that comes back as it was long ago counts as never taken.
    """
    gateway = scene.gateway
    now = {name: trust.set_file(gateway.folder, name).read_bytes() for name in trust.REPOSITORIES}
    with gateway_of(gateway.folder.parent / "past", scene.house) as past:
        past.trust.take("models", scene.old["models"])
        trust.set_file(gateway.folder, "models").write_bytes(trust.set_file(past.folder, "models").read_bytes())
    gateway.start()
    assert gateway.trust.wanted() == {}

    trust.set_file(gateway.folder, "models").write_bytes(now["models"])
    gateway.start()
    assert gateway.runs() == "1.1.0"


def test_a_root_that_was_seen_cannot_be_unseen(scene: Scene):
    """
    A rotation took the online key from a thief; then the file is lost. Without the new root the thief's set is stale.
    """
    house = scene.house
    stolen = scene.now["models"]
    house.models.rotate(timestamp=[house.offline], snapshot=[house.offline])
    house.models.bump()
    scene.gateway.take_all()
    trust.set_file(scene.gateway.folder, "models").write_bytes(b"")
    scene.gateway.start()

    house.models.roots.pop("2.root.json")
    house.models.keys |= {"timestamp": [house.online], "snapshot": [house.online]}
    for _ in range(9):
        house.models.bump()

    for files in (stolen, house.models.files()):
        with pytest.raises(UpdateRefused) as caught:
            scene.gateway.trust.take("models", files)
        assert caught.value.refusal is Refusal.STALE


@pytest.fixture
def enrolled(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that has heard nothing yet."""
    with gateway_of(tmp_path, House()) as gateway:
        yield gateway


@pytest.mark.parametrize("order", list(itertools.permutations(trust.REPOSITORIES)), ids=str)
def test_nothing_is_wanted_until_both_have_spoken(enrolled: Gateway, order: tuple[str, ...]):
    """
    One repository alone decides nothing, whichever comes first.
    """
    sets = {"models": enrolled.house.models.files(), "director": enrolled.house.director.files()}

    enrolled.trust.take(order[0], sets[order[0]])
    assert enrolled.trust.wanted() == {}
    enrolled.trust.take(order[1], sets[order[1]])

    assert enrolled.runs() == "1.0.0"


def test_a_director_that_is_ahead_waits_for_the_publishers(scene: Scene):
    """
    The director's set may arrive first: what it names is stale, not refused, until the publishers' set is here.
    """
    renew(scene.house)
    scene.gateway.trust.take("director", scene.house.director.files())
    assert scene.gateway.runs() == "Stale"

    scene.gateway.trust.take("models", scene.house.models.files())
    assert scene.gateway.runs() == "1.2.0"


def test_what_runs_is_wanted_for_ever(scene: Scene):
    """
    A year without network: everything has expired, and a restart still wants what both named.
    """
    scene.gateway.clock.advance(400 * 86_400_000_000)
    scene.gateway.start()

    assert scene.gateway.runs() == "1.1.0"


def test_a_set_that_was_taken_is_not_taken_for_another(scene: Scene):
    """
    What is skipped is the very same bytes: one byte more, and everything is verified again.
    """
    scene.gateway.take_all()
    stamp = scene.now["models"]["timestamp.json"]

    scene.gateway.trust.take("models", {**scene.now["models"], "timestamp.json": stamp + b" "})
    with pytest.raises(UpdateRefused):
        scene.gateway.trust.take("models", {**scene.now["models"], "timestamp.json": stamp[:-2]})
    with pytest.raises(UpdateRefused):
        scene.gateway.trust.take("director", scene.now["models"])


def test_the_same_set_again_writes_nothing(scene: Scene):
    """
    The hub repeats itself every minute: the disk is not worn by that.
    """
    done: list[Operation] = []
    scene.gateway.start(record=done.append)

    scene.gateway.take_all()

    assert done == []
