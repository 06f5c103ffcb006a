"""Files that are written whole or not at all."""

import stat
from pathlib import Path

import pytest

from cloud_hub.errors import ConfigError
from cloud_hub.storage import files


def test_a_new_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """
    Nothing that exists is overwritten.
    """
    files.write_new(tmp_path / "a", b"first")

    with pytest.raises(ConfigError, match="never overwritten"):
        files.write_new(tmp_path / "a", b"second")

    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_secret_is_its_owners_from_the_first_byte(tmp_path: Path) -> None:
    """
    The mode is the file's when it is made, not after.
    """
    files.write_new(tmp_path / "secret", b"x", mode=0o600)

    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_failed_write_leaves_no_draft(tmp_path: Path) -> None:
    """
    Where a file cannot be written, nothing is left half-written.
    """
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigError) as caught:
        files.replace(tmp_path / "folder", b"x")

    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
