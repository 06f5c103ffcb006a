"""A browser learns within a second which part changed, and hears nothing when nothing did."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.context import HubContext
from cloud_hub.web.live import MAX_STREAMS, MAX_WATCHED, Parts, Streams
from cloud_hub.web.page import NotHere
from cloud_hub.web.pages import FRAME, PAGES
from cloud_hub.web.renderer import Renderer
from tests.cloud_hub.updates.rollouts.works import V1, V2, Works
from tests.cloud_hub.web.factory_floor import SURFACE, Floor, mixture

PATIENCE_S = 20


class Stopwatch:
    """Monotonic time that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Now, in seconds."""
        return self.now_s


@pytest.fixture
def watch() -> Stopwatch:
    """Time of the test's own."""
    return Stopwatch()


@pytest.fixture
def parts(hub: HubContext, watch: Stopwatch) -> Parts:
    """All parts of all pages."""
    return Parts(hub, Renderer(PAGES), (*PAGES, FRAME), watch)


def names(gateway: str) -> list[str]:
    """Every part there is."""
    every = [(page.name, part) for page in (*PAGES, FRAME) for part in page.parts]
    about = {"gateway": f"/{gateway}", "rollout": "/1"}
    return [f"{page}/{part}{about.get(page, '')}{'/15min' if part == 'chart' else ''}" for page, part in every]


def test_a_part_stays_the_same_while_nothing_happens(
    parts: Parts, floor: Floor, works: Works, watch: Stopwatch, clock: FixedClock
) -> None:
    """Time alone changes no part within a second, so no browser fetches anything for nothing."""
    gateway = floor.enrol("press-1")
    floor.judge(gateway, "seal", V1, mixture(50, ng=2), over_us=10_000_000)
    floor.count(gateway, "seal", SURFACE)
    floor.state(gateway)
    works.publish(V2)
    works.create(works.plan())
    works.look()
    before = {name: parts.piece(name).digest for name in names("press-1")}

    watch.now_s += 2
    clock.advance(1)

    assert {name: parts.piece(name).digest for name in names("press-1")} == before


def test_a_part_is_rendered_once_for_all_who_watch(parts: Parts, floor: Floor, watch: Stopwatch) -> None:
    """Within a second everybody gets the same piece; after it, a new look is taken."""
    first = parts.piece("fleet/lines")
    floor.enrol("press-1")

    second = parts.piece("fleet/lines")
    watch.now_s += 1
    third = parts.piece("fleet/lines")

    assert second is first
    assert "press-1" in third.html


@pytest.mark.parametrize(
    "name", ["", "fleet", "fleet/nothing", "gateway/identity/nobody", "gateway/chart/x/9h", "/", "x"]
)
def test_what_is_not_there_is_said_to_be_not_there(parts: Parts, name: str) -> None:
    """An unknown part, or a part about an unknown gateway, is refused by name."""
    with pytest.raises(NotHere):
        parts.piece(name)


def test_a_stream_names_what_changed(parts: Parts, floor: Floor, watch: Stopwatch) -> None:
    """A change is told once, by the name of its part, and not before it happens."""
    shown = {name: parts.piece(name).digest for name in ("fleet/summary", "fleet/lines", "drift/overview")}
    streams = Streams(parts, floor.clock.wall_us, every_s=0.01)

    async def listen() -> list[str]:
        stream = streams.events(shown)
        await next_of(stream, "beat")
        floor.enrol("press-1")
        watch.now_s += 1
        floor.clock.advance(1)
        first = await next_of(stream, "changed")
        floor.count(floor.enrol("press-2"), "surface", SURFACE)
        watch.now_s += 1
        floor.clock.advance(1)
        second = await next_of(stream, "changed")
        await stream.aclose()  # type: ignore[attr-defined]
        return [first, second]

    first, second = run(listen())

    assert sorted(json.loads(first)) == ["fleet/lines", "fleet/summary"]
    assert sorted(json.loads(second)) == ["drift/overview", "fleet/lines", "fleet/summary"]


def test_a_browser_that_shows_old_figures_is_told_at_once(parts: Parts, clock: FixedClock) -> None:
    """What changed between the page and the stream, or while the network was cut, is told with the first event."""
    streams = Streams(parts, clock.wall_us, every_s=0.01)

    async def listen() -> str:
        return await next_of(streams.events({"fleet/summary": "old", "gateway/identity/gone": "old"}), "changed")

    assert json.loads(run(listen())) == ["fleet/summary"]


def test_a_closing_server_ends_its_streams(parts: Parts, clock: FixedClock) -> None:
    """Streams end when the server is about to stop, and no new one begins."""
    streams = Streams(parts, clock.wall_us, every_s=0.01)

    async def listen() -> list[str]:
        events = []
        async for event in streams.events({}):
            events.append(event)
            streams.close()
        return events

    assert len(run(listen())) == 1
    assert streams.is_full


def test_streams_are_counted_and_bounded(parts: Parts, clock: FixedClock) -> None:
    """So many browsers and no more, each watching so many parts; one that leaves makes room."""
    streams = Streams(parts, clock.wall_us, every_s=0.01)

    async def crowd() -> tuple[bool, bool]:
        every = [streams.events({f"x/{i}": "" for i in range(MAX_WATCHED * 2)}) for _ in range(MAX_STREAMS)]
        for stream in every:
            await anext(stream)
        crowded = streams.is_full
        await every[0].aclose()  # type: ignore[attr-defined]
        room = not streams.is_full
        for stream in every:
            await stream.aclose()  # type: ignore[attr-defined]
        return crowded, room

    assert run(crowd()) == (True, True)


async def next_of(stream: AsyncIterator[str], kind: str) -> str:
    """The data of the next event of this kind."""
    async for event in stream:
        if event.startswith(f"event: {kind}\n"):
            return event.partition("data: ")[2].strip()
    pytest.fail(f"the stream ended without {kind}")


def run(work: object) -> object:
    """Run a coroutine, but not for ever."""
    return asyncio.run(asyncio.wait_for(work, PATIENCE_S))  # type: ignore[arg-type]
