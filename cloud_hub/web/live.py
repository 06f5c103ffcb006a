"""Parts of pages, rendered on the server, and the stream that tells a browser which of them have changed.

A part is rendered at most once in `FRESH_S` however many browsers watch it; a part nobody watches costs nothing.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from cloud_hub.context import HubContext
from cloud_hub.web.memo import Memo
from cloud_hub.web.page import NotHere, Page, Part, Reading
from cloud_hub.web.renderer import Renderer

FRESH_S = 0.9
EVERY_S = 1.0
BEAT_S = 5.0
"""A browser that hears no beat for a while says that its page is stale instead of showing old numbers as new ones."""

MAX_WATCHED = 16
MAX_STREAMS = 200


@dataclass(frozen=True, slots=True)
class Piece:
    """A rendered part; the digest changes when what it shows does."""

    html: str
    digest: str


class Parts:
    """All parts of all pages by name, rendered when asked for."""

    def __init__(
        self,
        hub: HubContext,
        renderer: Renderer,
        pages: Iterable[Page],
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._renderer = renderer
        self._parts = {f"{page.name}/{name}": part for page in pages for name, part in page.parts.items()}
        self._memo = Memo(mono_s)

    def piece(self, name: str) -> Piece:
        """The part `name` as it is now, or was less than `FRESH_S` ago; longer ago where it is dear to make.

        Raises:
            NotHere: there is no such part, or not what it is about.
            StorageError: the database does not answer.
        """
        part, subject = self._find(name)
        return self._memo.get(("part", name), FRESH_S, lambda: self._render(name, part, subject))

    def _find(self, name: str) -> tuple[Part, str]:
        page, _, rest = name.partition("/")
        which, _, subject = rest.partition("/")
        part = self._parts.get(f"{page}/{which}")
        if part is None:
            message = f"there is no part {name!r}"
            raise NotHere(message)
        return part, subject

    def _render(self, name: str, part: Part, subject: str) -> Piece:
        with self._hub.database.reading() as connection:
            reading = Reading(self._hub, connection, self._hub.clock.wall_us(), self._memo)
            view = part.view(reading, subject)
        body = self._renderer.text(part.template, {"subject": subject, **view})
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        frame = {"name": name, "digest": digest, "body": body}
        return Piece(self._renderer.text("part.html", frame), digest)


class Streams:
    """The open event streams of one server."""

    def __init__(self, parts: Parts, now_us: Callable[[], int], every_s: float = EVERY_S) -> None:
        self._parts = parts
        self._now_us = now_us
        self._every_s = every_s
        self._open = 0
        self._closing = False

    @property
    def is_full(self) -> bool:
        """Whether one more browser would be too many."""
        return self._open >= MAX_STREAMS or self._closing

    def close(self) -> None:
        """End every stream within a second; browsers ask again by themselves."""
        self._closing = True

    async def events(self, shown: Mapping[str, str]) -> AsyncIterator[str]:
        """Server-sent events for a browser that shows the parts `shown`, by name, with the digest it has of each.

        `changed` names parts to fetch anew, at most once in `every_s`; `beat` carries the hub's time.
        """
        seen = dict(list(shown.items())[:MAX_WATCHED])
        self._open += 1
        try:
            beat_in_s = 0.0
            yield "retry: 1000\n\n"
            while not self._closing:
                if beat_in_s <= 0:
                    beat_in_s = BEAT_S
                    yield f"event: beat\ndata: {self._now_us()}\n\n"
                changed = await run_in_threadpool(self._changed, seen)
                if changed:
                    yield f"event: changed\ndata: {json.dumps(changed)}\n\n"
                await asyncio.sleep(self._every_s)
                beat_in_s -= self._every_s
        finally:
            self._open -= 1

    def _changed(self, seen: dict[str, str]) -> list[str]:
        changed = []
        for name, digest in list(seen.items()):
            try:
                now = self._parts.piece(name).digest
            except NotHere:
                del seen[name]
                continue
            if now != digest:
                seen[name] = now
                changed.append(name)
        return changed
