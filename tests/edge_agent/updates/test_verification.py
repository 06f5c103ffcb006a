"""What is read of a set: the pinned private parts of python-tuf, no temporary file, one name for each of its errors."""

import inspect
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api import exceptions
from tuf.ngclient import Updater

import edge_protocol
from edge_agent.updates.fetcher import SetFetcher
from edge_agent.updates.verification import LIMITS, MAX_ROLES, REFUSALS, verify
from edge_protocol.updates import Refusal, UpdateRefused
from tests.attacks.repositories import NOW_US, House

HOUSE = House()
FILES = HOUSE.models.files()


def test_the_private_parts_that_are_used_are_there(tmp_path: Path) -> None:
    """The clock of the updater can be set before it looks, and its verified roles can be asked for."""
    updater = Updater(str(tmp_path), "set:/", fetcher=SetFetcher(FILES, ()), bootstrap=HOUSE.models.first_root)
    assert isinstance(updater._trusted_set.reference_time, datetime)
    updater._trusted_set.reference_time = datetime(2001, 1, 1, tzinfo=UTC)

    updater.refresh()

    assert updater._trusted_set.targets.delegations is not None
    assert "pub-acme.json" in updater._trusted_set.snapshot.meta
    assert list(inspect.signature(updater._load_targets).parameters) == ["role", "parent_role"]
    assert updater._load_targets("pub-acme", "targets").targets
    updater = Updater(str(tmp_path), "set:/", fetcher=SetFetcher(FILES, ()), bootstrap=HOUSE.models.first_root)
    updater._trusted_set.reference_time = datetime(2099, 1, 1, tzinfo=UTC)
    with pytest.raises(exceptions.ExpiredMetadataError):
        updater.refresh()


def test_the_limits_are_those_of_the_specification() -> None:
    """What a gateway takes stands in edge_protocol/README.md."""
    specified = " ".join((Path(edge_protocol.__file__).parent / "README.md").read_text().split())

    assert (
        f"a root of at most {LIMITS.root_max_length} bytes, a timestamp of {LIMITS.timestamp_max_length}, "
        f"a snapshot of {LIMITS.snapshot_max_length}, targets of {LIMITS.targets_max_length}, "
        f"and {MAX_ROLES} publishers"
    ) in specified


def test_nothing_is_spooled_in_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's $TMPDIR is often memory, and may be full or not there at all."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    assert verify("models", "", HOUSE.models.first_root, FILES, scratch=tmp_path / "scratch", now_us=NOW_US).targets


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (exceptions.ExpiredMetadataError, Refusal.EXPIRED),
        (exceptions.UnsignedMetadataError, Refusal.NOT_TRUSTED),
        (exceptions.BadVersionNumberError, Refusal.STALE),
        (exceptions.EqualVersionNumberError, Refusal.STALE),
        (exceptions.LengthOrHashMismatchError, Refusal.TAMPERED),
        (exceptions.DownloadLengthMismatchError, Refusal.TOO_LARGE),
        (exceptions.DownloadHTTPError, Refusal.STALE),
        (exceptions.RepositoryError, Refusal.TAMPERED),
        (RecursionError, Refusal.TAMPERED),
    ],
)
def test_each_error_of_the_updater_has_one_name(error: type[Exception], refusal: Refusal) -> None:
    """The table is read from the top; whatever is not in it is tampered with."""
    assert next(name for kind, name in REFUSALS if issubclass(error, kind)) is refusal


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_a_refusal_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    """Any bytes cut out, put in or changed: the set is refused by a name, or it proves what it proved before."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    raw = FILES[name]
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    changed = raw[:start] + data.draw(st.binary(max_size=8)) + raw[end:]

    try:
        found = verify(
            "models", "", HOUSE.models.first_root, {**FILES, name: changed}, scratch=tmp_path / "s", now_us=NOW_US
        )
    except UpdateRefused:
        return

    whole = verify("models", "", HOUSE.models.first_root, FILES, scratch=tmp_path / "s", now_us=NOW_US)
    assert (found.targets, found.roles) == (whole.targets, whole.roles)
