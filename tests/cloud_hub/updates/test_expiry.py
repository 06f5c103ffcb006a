"""What is told of dates to come: in time, once, and with the cure."""

from pathlib import Path

import pytest

from cloud_hub import config
from cloud_hub.errors import ConfigError
from cloud_hub.updates.expiry import Dated, coming, warnings
from cloud_hub.updates.publisher import RENEW_DAYS
from cloud_hub.updates.repository import DAY_US
from cloud_hub.updates.signing import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from edge_protocol import metadata
from tests.cloud_hub.updates.trusting import TrustedHub

NOW_US = 1_000 * DAY_US


@pytest.mark.parametrize(
    ("repository", "role", "days"),
    [
        (metadata.MODELS, ROOT, 30),
        (metadata.MODELS, TARGETS, 30),
        (metadata.DIRECTOR, ROOT, 30),
        (metadata.MODELS, "pub-alice", 30),
        (metadata.MODELS, SNAPSHOT, 14),
        (metadata.MODELS, TIMESTAMP, 5),
        (metadata.DIRECTOR, TARGETS, 14),
        (metadata.DIRECTOR, TIMESTAMP, 5),
    ],
)
def test_each_role_is_told_of_in_its_own_time(repository: str, role: str, days: int) -> None:
    """
    What people must renew is told `warn_days` before; what the hub renews, when it is a day behind with it.
    """
    on_time = Dated(repository, role, NOW_US + days * DAY_US)
    late = Dated(repository, role, on_time.expires_us - 1)

    assert coming([on_time], NOW_US, 30) == []
    assert [each.expires_us for each in coming([late], NOW_US, 30)] == [late.expires_us]


def test_the_same_role_of_many_gateways_is_one_warning() -> None:
    """
    A fleet whose timestamps are old is told of once, by the one that ends first; over is over from its moment on.
    """
    dated = [Dated(metadata.DIRECTOR, TIMESTAMP, NOW_US + days * DAY_US) for days in (2, 0, 1)]

    (found,) = coming(dated, NOW_US, 30)

    assert (found.expires_us, found.is_over) == (NOW_US, True)
    assert "cloud-hub serve" in found.cure


def test_a_new_hub_has_nothing_to_tell_and_an_old_one_all(trusted: TrustedHub) -> None:
    """
    Nothing is warned of in the beginning; a year later all that was signed, but of a publisher who is revoked.
    """
    trusted.publish("1.0.0")
    now_us = trusted.clock.wall_us()
    with trusted.database.reading() as connection:
        early = warnings(connection, now_us, 30)
        late = warnings(connection, now_us + 340 * DAY_US, 30)
    trusted.revoke("alice")
    with trusted.database.reading() as connection:
        revoked = warnings(connection, now_us + 340 * DAY_US, 30)

    assert early == []
    assert {each.role for each in late} >= {"models root", "models targets", "director root", "models timestamp"}
    assert "publisher alice" in {each.role for each in late}
    assert "publisher alice" not in {each.role for each in revoked}


def test_new_roots_end_the_warning_of_the_old_ones(trusted: TrustedHub) -> None:
    """
    Old roots stay in the rows for gateways that were away; only the newest is held to its date.
    """
    trusted.clock.advance(340 * 86_400)
    trusted.rotate()

    with trusted.database.reading() as connection:
        found = warnings(connection, trusted.clock.wall_us(), 30)

    assert [each for each in found if each.role.endswith("root")] == []


def test_no_warning_comes_before_its_cure_works(tmp_path: Path) -> None:
    """
    `warn_days` ends where publishing once more begins to sign anew: a day more is refused, with the bound.
    """
    file = tmp_path / config.FILE

    file.write_text(f"[keys]\nwarn_days = {RENEW_DAYS}")
    assert config.load(tmp_path).settings.keys.warn_days == RENEW_DAYS

    file.write_text(f"[keys]\nwarn_days = {RENEW_DAYS + 1}")
    with pytest.raises(ConfigError, match=rf"<= {RENEW_DAYS} - at `\$.keys.warn_days`"):
        config.load(tmp_path)
