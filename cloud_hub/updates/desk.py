"""The hub's HTTP API as a publisher sees it: the signed metadata of today, what is missing, uploads, handing in.

What the hub refuses comes back as the error it was, with its cure.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cloud_hub.errors import CatalogueError, ConfigError, HubAway
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.releases import Accepted
from edge_protocol import metadata
from edge_protocol.errors import DecodeError

if TYPE_CHECKING:
    import httpx

METADATA, RELEASES = "/api/models/metadata", "/api/models/releases"
MISSING, OBJECTS, PUBLISHERS = "/api/objects/missing", "/api/objects", "/api/publishers"
TIMEOUT_S = 60.0

T = TypeVar("T")

_AWAY_HINT = "start it (cloud-hub serve), or correct --url and --token-file"


class _Fault(msgspec.Struct):
    error: str = ""
    hint: str = ""


class Desk:
    """Where a publisher hands in. `client` has the hub's address and the owner's token."""

    def __init__(self, client: "httpx.Client") -> None:
        self._client = client

    @classmethod
    def open(cls, url: str, token: str) -> "Desk":
        """The desk of the hub at `url`.

        Raises:
            ConfigError: not the address of a hub.
        """
        import httpx

        if not url.startswith(("http://", "https://")):
            message = f"{url!r} is not the address of a hub"
            raise ConfigError(message, "write it as http://127.0.0.1:8080; cloud-hub serve says it")
        bearer = {"authorization": f"Bearer {token}"}
        # A proxy has no business between this machine and itself, least of all with the owner's token.
        own = httpx.URL(url).host in {"localhost", "127.0.0.1", "::1"}
        return cls(httpx.Client(base_url=url, headers=bearer, timeout=TIMEOUT_S, trust_env=not own))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def metadata(self) -> dict[str, bytes]:
        """The files of `models` by name; empty while updates are off.

        Raises:
            HubAway: no hub answers there.
        """
        try:
            return metadata.unpack(self._ask("GET", METADATA))
        except DecodeError as error:
            raise HubAway(str(error), _AWAY_HINT) from error

    def releases(self) -> list[Release]:
        """The catalogue.

        Raises:
            HubAway: no hub answers there.
        """
        return _decode(self._ask("GET", RELEASES), list[Release])

    def missing(self, digests: Collection[str]) -> frozenset[str]:
        """Those of the objects that the hub has not.

        Raises:
            HubAway: no hub answers there.
        """
        raw = self._ask("POST", MISSING, content=msgspec.json.encode(sorted(digests)))
        return frozenset(_decode(raw, list[str]))

    def upload(self, digest: str, path: Path) -> None:
        """Send a file, piece by piece.

        Raises:
            HubAway: no hub answers there.
            CatalogueError: the hub does not take it.
        """
        with path.open("rb") as content:
            self._ask("PUT", f"{OBJECTS}/{digest}", content=content)

    def hand_in(self, name: str, raw: bytes, actor: str, reason: str) -> Accepted:
        """Give the hub the next metadata of a publisher.

        Raises:
            HubAway: no hub answers there.
            CatalogueError: the hub refuses it.
        """
        said = {"actor": actor, "reason": reason}
        return _decode(self._ask("PUT", f"{PUBLISHERS}/{name}/metadata", content=raw, params=said), Accepted)

    def _ask(self, method: str, path: str, **what: object) -> bytes:
        import httpx

        try:
            answer = self._client.request(method, path, **what)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            message = f"the hub at {self._client.base_url} does not answer: {error}"
            raise HubAway(message, _AWAY_HINT) from error
        if answer.is_success:
            return answer.content
        fault = _fault(answer.content)
        if answer.status_code in {401, 403} or not fault.error:
            message = f"the hub at {self._client.base_url} answers {answer.status_code}: {fault.error or 'no hub'}"
            raise HubAway(message, _AWAY_HINT)
        raise CatalogueError(fault.error, fault.hint or "publish again")


def _fault(raw: bytes) -> _Fault:
    try:
        return msgspec.json.decode(raw, type=_Fault)
    except (msgspec.MsgspecError, ValueError):
        return _Fault()


def _decode(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        message = f"what answers there is no hub of this version: {error}"
        raise HubAway(message, _AWAY_HINT) from error
