import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import durable
from edge_agent.durable import Kind, Operation

OLD, NEW = b"old" * 1000, b"new" * 2000


class PowerCutError(Exception):
    """The moment after which nothing more is done."""


def legal_contents(operations: list[Operation], target: Path) -> Iterator[bytes | None]:
    """What `target` may hold after a cut: any of the name changes that were not synced, any part of unsynced data."""
    names: dict[Path, int | None] = {target: 0}
    files: list[set[bytes]] = [{OLD}]
    pending: list[tuple[Path, int | None]] = []
    current = dict(names)
    for operation in operations:
        if operation.kind is Kind.WRITE:
            files.append({b"", operation.data[: len(operation.data) // 2], operation.data})
            current[operation.path] = len(files) - 1
            pending.append((operation.path, len(files) - 1))
        elif operation.kind is Kind.SYNC_FILE:
            number = current[operation.path]
            assert number is not None
            files[number] = {max(files[number], key=len)}
        elif operation.kind is Kind.RENAME:
            assert operation.target is not None
            current[operation.target] = current.pop(operation.path)
            pending += [(operation.target, current[operation.target]), (operation.path, None)]
        elif operation.kind is Kind.SYNC_FOLDER:
            names.update((path, number) for path, number in pending if path.parent == operation.path)
            pending = [(path, number) for path, number in pending if path.parent != operation.path]
    for kept in itertools.product((False, True), repeat=len(pending)):
        after = names | {path: number for keep, (path, number) in zip(kept, pending, strict=True) if keep}
        number = after.get(target)
        yield from files[number] if number is not None else (None,)


def test_a_written_file_is_old_or_new_after_any_power_cut(tmp_path: Path):
    """
    After any prefix of the operations, with anything lost that was not synced, the file is whole: the old or the new.
    """
    target = tmp_path / "file"
    done: list[Operation] = []

    durable.write_file(target, NEW, record=done.append)

    for end in range(len(done) + 1):
        assert set(legal_contents(done[:end], target)) <= {OLD, NEW}
    assert set(legal_contents(done, target)) == {NEW}


def test_a_written_file_is_old_or_new_after_any_kill(tmp_path: Path):
    """
    A process that ends before any of the operations leaves the old file whole; the next write does not mind.
    """
    for end in itertools.count():
        target = tmp_path / "file"
        durable.write_file(target, OLD)
        left = itertools.count(end, -1)

        def stop(_operation: Operation, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise PowerCutError

        try:
            durable.write_file(target, NEW, record=stop)
        except PowerCutError:
            assert target.read_bytes() in (OLD, NEW)
        else:
            assert target.read_bytes() == NEW
            return


def test_a_secret_is_never_readable_by_others(tmp_path: Path):
    """
    The mode that is asked for is the mode of the draft already, not only of the finished file.
    """
    modes = []

    def look(operation: Operation) -> None:
        if operation.kind is Kind.RENAME:
            modes.append(stat.S_IMODE(operation.path.stat().st_mode))

    durable.write_file(tmp_path / "key", b"secret", 0o600, record=look)

    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_each_made_folder_is_synced_in_its_parent(tmp_path: Path):
    """
    Every folder that had to be made is followed by a sync of the folder that names it.
    """
    done: list[Operation] = []

    durable.make_folder(tmp_path / "a" / "b", record=done.append)

    assert [(each.kind, each.path) for each in done] == [
        (Kind.MAKE_FOLDER, tmp_path / "a"),
        (Kind.SYNC_FOLDER, tmp_path),
        (Kind.MAKE_FOLDER, tmp_path / "a" / "b"),
        (Kind.SYNC_FOLDER, tmp_path / "a"),
    ]
    durable.make_folder(tmp_path / "a" / "b", record=done.append)
    assert len(done) == 4


def test_a_renamed_file_is_synced_where_it_goes_before_where_it_was(tmp_path: Path):
    """
    A move between folders is durable at its target before it is at its source: a cut leaves it at one at least.
    """
    source, target = tmp_path / "a", tmp_path / "folder" / "b"
    target.parent.mkdir()
    source.write_bytes(OLD)
    done: list[Operation] = []

    durable.rename(source, target, record=done.append)

    assert [each.path for each in done if each.kind is Kind.SYNC_FOLDER] == [target.parent, source.parent]
    assert target.read_bytes() == OLD


def test_a_removed_file_stays_removed(tmp_path: Path):
    """
    A removal is synced; removing what is not there is no error.
    """
    done: list[Operation] = []
    (tmp_path / "file").write_bytes(OLD)

    durable.remove(tmp_path / "file", record=done.append)
    durable.remove(tmp_path / "file")

    assert [each.kind for each in done] == [Kind.REMOVE, Kind.SYNC_FOLDER]
    assert not (tmp_path / "file").exists()


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path):
    """
    What cannot be written raises as the system says it, and nothing half-written lies about.
    """
    with pytest.raises(OSError, match="No such file"):
        durable.write_file(tmp_path / "missing" / "file", NEW)

    assert list(tmp_path.iterdir()) == []


def test_a_written_folder_is_whole_or_not_there_after_any_kill(tmp_path: Path):
    """
    A process that ends before any of the operations leaves no folder under its name, or all of it; the next one does.
    """
    content = tmp_path / "content"
    content.write_bytes(NEW)
    for end in itertools.count():
        target = tmp_path / str(end)
        left = itertools.count(end, -1)

        def stop(_operation: Operation, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise PowerCutError

        try:
            durable.write_folder(target, {"a": OLD}, {"b/c": content}, record=stop)
        except PowerCutError:
            assert not target.exists() or (target / "b/c").read_bytes() == NEW
            if not target.exists():
                durable.write_folder(target, {"a": OLD}, {"b/c": content})
        else:
            break
        assert ((target / "a").read_bytes(), (target / "b/c").read_bytes()) == (OLD, NEW)
        assert not target.with_name(f".{target.name}.new").exists()
    assert end == 10


def test_a_folder_gets_its_name_when_all_in_it_is_on_disk(tmp_path: Path):
    """
    Each file and each folder within is synced before the rename, and the folder above after it: a cut loses nothing
    of a folder that is there. A link needs no sync of its own: what it leads to is on disk.
    """
    done: list[Operation] = []
    content = tmp_path / "content"
    content.write_bytes(NEW)

    durable.write_folder(tmp_path / "new", {"a": OLD}, {"b/c": content}, record=done.append)

    draft = tmp_path / ".new.new"
    kinds = [(each.kind, each.path) for each in done]
    renamed = kinds.index((Kind.RENAME, draft))
    assert {path for kind, path in kinds[:renamed] if kind is Kind.SYNC_FOLDER} == {draft, draft / "b"}
    assert (Kind.SYNC_FILE, draft / "a") in kinds[:renamed]
    assert kinds[renamed + 1 :] == [(Kind.SYNC_FOLDER, tmp_path)]
    assert (tmp_path / "new/b/c").samefile(content)


def test_a_removed_folder_is_gone_under_its_name_at_once(tmp_path: Path):
    """
    Killed before any of the operations: the folder is whole or has no name; the next removal ends what was begun.
    """
    for end in itertools.count():
        target = tmp_path / "folder"
        durable.write_folder(target, {"a": OLD, "b": NEW}, {})
        left = itertools.count(end, -1)

        def stop(_operation: Operation, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise PowerCutError

        try:
            durable.remove_folder(target, record=stop)
        except PowerCutError:
            assert not target.exists() or len(list(target.iterdir())) == 2
            if target.exists():
                durable.remove_folder(target)
        else:
            break
    assert not target.exists()
    assert list(tmp_path.iterdir()) == []
