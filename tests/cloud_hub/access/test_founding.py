"""A hub is made as a whole or not at all."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud_hub.access import founding, keys, tokens
from cloud_hub.access.audit import Actor
from cloud_hub.access.founding import Plan
from cloud_hub.clock import FixedClock
from cloud_hub.config import Settings
from cloud_hub.errors import ConfigError, HubError
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import audit

ME = Actor("me", "a test")


def test_a_new_hub_has_all_it_needs(tmp_path: Path, clock: FixedClock) -> None:
    """
    Configuration, keys, token and a database with the first entry of the audit chain; secrets are their owner's only.
    """
    config = founding.found(tmp_path / "hub", Plan(), ME, clock.wall_us())

    secrets = [founding.TOKEN, founding.HUB_KEY, founding.AUTHORITY_KEY]
    assert [stat.S_IMODE((config.folder / name).stat().st_mode) for name in secrets] == [0o600] * 3
    assert len(tokens.read(config.folder / founding.TOKEN)) >= 32
    keys.load(config.folder / founding.HUB_KEY)
    founding.load_authority(config)
    database = Database.open(config.database_url)
    with database.reading() as connection:
        assert connection.execute(select(audit.c.action, audit.c.actor)).all() == [("hub made", "me")]
    database.close()


def test_the_file_that_is_written_shows_every_default(tmp_path: Path, clock: FixedClock) -> None:
    """
    `hub.toml` names every key, with the value that the key has without it.
    """
    config = founding.found(tmp_path / "hub", Plan(), ME, clock.wall_us())
    text = (config.folder / "hub.toml").read_text()

    assert config.settings == Settings()
    for table in config.settings.__struct_fields__:
        assert f"[{table}]" in text
        assert [key for key in getattr(config.settings, table).__struct_fields__ if f"\n{key} = " not in text] == []


@pytest.mark.parametrize("there", ["hub.toml", "notes.txt"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, clock: FixedClock, there: str) -> None:
    """
    A folder with anything in it stays as it is.
    """
    (tmp_path / there).write_text("mine")

    with pytest.raises(ConfigError, match="never overwritten"):
        founding.found(tmp_path, Plan(), ME, clock.wall_us())

    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_an_empty_folder_may_become_a_hub(tmp_path: Path, clock: FixedClock) -> None:
    """
    Making the folder first does no harm.
    """
    (tmp_path / "hub").mkdir()

    assert founding.found(tmp_path / "hub", Plan(), ME, clock.wall_us()).folder == tmp_path / "hub"


def test_a_hub_that_cannot_be_made_leaves_nothing(tmp_path: Path, clock: FixedClock) -> None:
    """
    Where the database does not open there is no folder afterwards, half-made or hidden.
    """
    with pytest.raises(HubError):
        founding.found(tmp_path / "hub", Plan(database="nonsense"), ME, clock.wall_us())

    assert list(tmp_path.iterdir()) == []
