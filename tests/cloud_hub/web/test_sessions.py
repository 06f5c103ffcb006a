"""Who gets in, for how long, and with what."""

import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.web.sessions import CODE_S, MAX_CODES, SESSION_S, Sessions

TOKEN = "owner-token-of-the-tests-0123456789"


@pytest.fixture
def sessions(clock: FixedClock) -> Sessions:
    """The sessions of a hub."""
    return make(TOKEN, clock)


def make(token: str, clock: FixedClock) -> Sessions:
    """The sessions of the hub with this token."""
    return Sessions(token, lambda: clock.wall_us() / 1e6)


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ö" * 35])
def test_only_the_owner_token_is_the_owner_token(sessions: Sessions, wrong: str) -> None:
    """What is not the token to the last letter is not the token."""
    assert sessions.is_owner(TOKEN)
    assert not sessions.is_owner(wrong)


def test_a_session_ends_by_itself(sessions: Sessions, clock: FixedClock) -> None:
    """A cookie opens the door for one shift and not a second longer."""
    cookie = sessions.cookie()

    left = sessions.left_s(cookie)
    clock.advance(SESSION_S + 1)

    assert SESSION_S - 1 <= left <= SESSION_S
    assert sessions.left_s(cookie) == 0


def test_a_cookie_cannot_be_made_or_altered(sessions: Sessions) -> None:
    """No letter of a cookie can be changed, and its end cannot be put off."""
    cookie = sessions.cookie()
    until, nonce, mac = cookie.split(".")
    altered = [cookie[:i] + ("a" if letter != "a" else "b") + cookie[i + 1 :] for i, letter in enumerate(cookie)]

    forged = [*altered, f"{int(until) + 1}.{nonce}.{mac}", f"{until}.{mac}", "", ".", "..", mac, f"nan.{nonce}.{mac}"]

    assert [each for each in forged if sessions.left_s(each)] == []


def test_a_new_token_ends_every_session(sessions: Sessions, clock: FixedClock) -> None:
    """Cookies made under one token are nothing under the next."""
    cookie = sessions.cookie()

    assert make("another-token-of-the-tests-01234567", clock).left_s(cookie) == 0


def test_a_cookie_outlives_the_process(sessions: Sessions, clock: FixedClock) -> None:
    """A hub that was restarted still knows the sessions of its token."""
    assert make(TOKEN, clock).left_s(sessions.cookie()) > 0


def test_a_code_logs_in_once(sessions: Sessions) -> None:
    """The second to come with the same link stays outside."""
    code = sessions.new_code()

    assert sessions.redeem(code)
    assert not sessions.redeem(code)
    assert not sessions.redeem("made up")


def test_an_old_code_is_worth_nothing(sessions: Sessions, clock: FixedClock) -> None:
    """A link that lay around too long does not log in."""
    code = sessions.new_code()
    clock.advance(CODE_S)

    assert not sessions.redeem(code)


def test_codes_do_not_pile_up(sessions: Sessions) -> None:
    """However many links are asked for, only the newest few are kept."""
    codes = [sessions.new_code() for _ in range(MAX_CODES + 5)]

    assert [sessions.redeem(code) for code in codes] == [False] * 5 + [True] * MAX_CODES
