"""Who may ask: by loopback who is on this machine, by a wider address who says the token. All others hear nothing."""

import hmac
from http import HTTPStatus

from edge_agent.serving.connection import Site
from edge_agent.serving.http import Head, Reply
from edge_agent.serving.refusal import Refusal
from edge_agent.settings.checks import is_here

MIN_TOKEN = 16

ALIVE = frozenset(("/health/live", "/v2/health/live"))
"""What may be asked without: who restarts a process need not know a secret."""


class Guarded:
    """A site that answers only to who says the token, before a body is read."""

    def __init__(self, site: Site, token: bytes) -> None:
        self._site = site
        self._token = token

    def room(self, head: Head) -> int:
        """As the site says. Raises Refusal: 401."""
        if head.path not in ALIVE:
            self._check(head.fields.get("authorization", ""))
        return self._site.room(head)

    def reply(self, head: Head, body: memoryview) -> Reply:
        """As the site says; asked only where there was room."""
        return self._site.reply(head, body)

    def _check(self, said: str) -> None:
        scheme, _, token = said.partition(" ")
        is_right = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            headers = (("WWW-Authenticate", "Bearer"),)
            hint = "send Authorization: Bearer with what stands in [serving] token_file"
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong", hint, headers=headers)


class Local:
    """A site that answers to who asked for this very machine.

    A page in a browser here can make a name of its own mean 127.0.0.1, and would then read what it says.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def room(self, head: Head) -> int:
        """As the site says. Raises Refusal: 403."""
        named = head.fields.get("host", "localhost")
        if not is_here(named):
            hint = "ask for 127.0.0.1 or localhost, or set [serving] token_file"
            raise Refusal(HTTPStatus.FORBIDDEN, f"this is not {named[:80]}", hint)
        return self._site.room(head)

    def reply(self, head: Head, body: memoryview) -> Reply:
        """As the site says; asked only where there was room."""
        return self._site.reply(head, body)
