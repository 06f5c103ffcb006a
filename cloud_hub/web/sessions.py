"""Who may look: compares the owner token, signs session cookies and keeps one-time login codes.

The token itself never goes into a cookie, a page or an address. A new token ends every session; so does time.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from threading import Lock

from cloud_hub.access import tokens

COOKIE = "lineside_session"
SESSION_S = 12 * 3600
"""One long shift. A page that stays open, as on a wall, has its cookie renewed once half of that is over."""

CODE_S = 3600
MAX_CODES = 64


class Sessions:
    """The sessions of one owner token. `now_s` is wall-clock seconds."""

    def __init__(self, owner_token: str, now_s: Callable[[], float]) -> None:
        self._token = owner_token
        self._now_s = now_s
        self._key = hmac.digest(owner_token.encode(), b"lineside/v1 web session", "sha256")
        self._codes: dict[bytes, float] = {}
        self._lock = Lock()

    def is_owner(self, token: str) -> bool:
        """Whether `token` is the owner token; takes the same time for every wrong one."""
        return tokens.matches(token, self._token)

    def cookie(self) -> str:
        """The value of a new session cookie: expiry, nonce and their MAC under a key derived from the token."""
        body = f"{int(self._now_s()) + SESSION_S}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._mac(body)}"

    def left_s(self, cookie: str) -> float:
        """How long `cookie` still opens the door: 0 when it was not made by `cookie()` under this token, or is over."""
        body, _, mac = cookie.rpartition(".")
        if not body or not hmac.compare_digest(_digest(mac), _digest(self._mac(body))):
            return 0.0
        return max(0.0, float(body.partition(".")[0]) - self._now_s())

    def new_code(self) -> str:
        """A code that logs in once within `CODE_S` seconds; only its digest is kept, in memory."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._forget_old_codes()
            while len(self._codes) >= MAX_CODES:
                self._codes.pop(next(iter(self._codes)))
            self._codes[_digest(code)] = self._now_s() + CODE_S
        return code

    def redeem(self, code: str) -> bool:
        """Whether `code` is good; it is not good a second time."""
        with self._lock:
            self._forget_old_codes()
            return self._codes.pop(_digest(code), None) is not None

    def _forget_old_codes(self) -> None:
        now = self._now_s()
        self._codes = {digest: until for digest, until in self._codes.items() if until > now}

    def _mac(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
