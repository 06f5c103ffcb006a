"""The pages in a real browser: live, legible, by keyboard, and asking nobody else for anything."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from cloud_hub.context import HubContext
from cloud_hub.web.app import make_app
from cloud_hub.web.server import WebServer
from edge_protocol.codes import Verdict
from tests.cloud_hub.updates.rollouts.works import V2, Works
from tests.cloud_hub.web.conftest import TOKEN
from tests.cloud_hub.web.factory_floor import SURFACE, Floor, a_day
from tests.cloud_hub.web.rolled_out import three_rollouts

pytestmark = pytest.mark.browser

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
PATHS = (
    "/",
    "/gateways/press-1",
    "/gateways/press-2?span=2h",
    "/gateways/oven-4",
    "/drift",
    "/rollouts",
    "/rollouts/2",
    "/rollouts/3",
    "/models",
    "/?wall=1",
)
PATIENCE_MS = 60_000
LEGIBLE = (Path(__file__).parent / "legible.js").read_text()


@pytest.fixture(scope="module")  # playwright's event loop must not stand in the way of other modules
def engine(chromium: str) -> Iterator[Browser]:
    """One browser for all tests here."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A browser window, and what went wrong in it."""

    def __init__(self, context: BrowserContext, server: WebServer) -> None:
        self.context = context
        self.server = server
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.trouble.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def log_in(self) -> None:
        """By hand, at the login page."""
        self.page.goto(f"{self.server.url}/login")
        self.page.fill("#token", TOKEN)
        self.page.press("#token", "Enter")
        self.page.wait_for_url(f"{self.server.url}/")

    def see(self, path: str) -> Page:
        """A page, once it is live."""
        self.page.goto(self.server.url + path)
        expect(self.page.locator("#link")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
        return self.page


@pytest.fixture
def visit(engine: Browser, server: WebServer) -> Iterator[Callable[..., Visit]]:
    """Opens browser windows that have logged in."""
    contexts: list[BrowserContext] = []

    def open_window(scheme: str = "light", *, known: bool = True) -> Visit:
        context = engine.new_context(color_scheme=scheme, viewport={"width": 1366, "height": 768})
        contexts.append(context)
        visit = Visit(context, server)
        if known:
            visit.log_in()
        return visit

    yield open_window
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_page_is_whole_and_legible(visit: Callable[..., Visit], floor: Floor, works: Works, scheme: str) -> None:
    """In both colour schemes: no error in the console, no request past loopback, every text at 4.5 to 1 or better."""
    a_day(floor)
    three_rollouts(works)
    window = visit(scheme)

    faint = {path: window.see(path).evaluate(LEGIBLE, 4.5) for path in PATHS}

    assert {path: found for path, found in faint.items() if found} == {}
    assert window.trouble == []
    assert {urlsplit(url).hostname for url in window.asked} == {"127.0.0.1"}
    assert any(url.endswith(".woff2") for url in window.asked)


def test_legibility_is_really_measured(visit: Callable[..., Visit]) -> None:
    """The measure finds a text that is too faint."""
    window = visit()
    window.page.evaluate("document.querySelector('h2').style.color = '#999'")

    assert len(window.page.evaluate(LEGIBLE, 4.5)) == 1


def test_nothing_is_cut_off_on_a_small_screen(visit: Callable[..., Visit], floor: Floor, works: Works) -> None:
    """At 1366 by 768 no page is wider than the window, and the account is seen without scrolling."""
    a_day(floor)
    three_rollouts(works)
    window = visit()

    for path in PATHS:
        page = window.see(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1366, path
    box = window.see("/").locator(".equation").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 768


def test_a_figure_changes_without_reloading(visit: Callable[..., Visit], floor: Floor) -> None:
    """What arrives at the hub arrives on an open page: counts, account and a new gateway, the page itself staying."""
    gateway = floor.enrol("press-1", site="Werk Süd")
    window = visit()
    page = window.see("/")
    page.evaluate("window.same = true")

    floor.judge(gateway, "surface", SURFACE, [Verdict.NG] * 321, over_us=1_000_000)
    floor.enrol("press-2", site="Werk Süd")
    floor.clock.advance(1)
    floor.state(gateway)

    expect(page.locator("#row-press-1 .verdicts")).to_contain_text("321", timeout=PATIENCE_MS)
    expect(page.locator("#row-press-1")).to_contain_text("Balanced", timeout=PATIENCE_MS)
    expect(page.locator("#row-press-2")).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("window.same")
    assert window.trouble == []


def test_a_chart_grows_without_reloading(visit: Callable[..., Visit], floor: Floor) -> None:
    """The chart is drawn by the browser from what the server wrote, and drawn again when that changes."""
    gateway = floor.enrol("press-1")
    window = visit()
    page = window.see("/gateways/press-1")
    before = page.locator(".plot canvas").first.screenshot()

    floor.clock.advance(30)
    floor.judge(gateway, "surface", SURFACE, [Verdict.OK] * 300, over_us=29_000_000)
    floor.clock.advance(31)

    expect(page.locator(".chart")).to_have_attribute("data-series", re.compile(r'"OK": \[.*[1-9]'), timeout=PATIENCE_MS)
    expect(page.locator("#gateway-verdicts-press-1")).to_contain_text("P000300", timeout=PATIENCE_MS)
    assert page.locator(".plot canvas").count() == 2
    assert page.locator(".plot canvas").first.screenshot() != before


def test_a_live_update_takes_nothing_out_of_your_hand(visit: Callable[..., Visit], floor: Floor) -> None:
    """Focus and an opened table stay where they are while the figures around them change."""
    gateway = floor.enrol("press-1")
    floor.judge(gateway, "surface", SURFACE, [Verdict.OK] * 30, over_us=20_000_000)
    page = visit().see("/gateways/press-1")
    page.locator("summary").click()
    page.locator(".choice a").nth(1).focus()

    floor.clock.advance(20)
    floor.judge(gateway, "surface", SURFACE, [Verdict.NG] * 77, over_us=20_000_000)
    floor.clock.advance(20)

    expect(page.locator("#gateway-verdicts-press-1")).to_contain_text("P000107", timeout=PATIENCE_MS)
    expect(page.locator(".chart")).to_have_attribute("data-series", re.compile(r'"NG": \[.*[1-9]'), timeout=PATIENCE_MS)
    assert page.evaluate("document.activeElement.textContent") == "2h"
    assert page.locator("details").get_attribute("open") is not None


def test_a_page_that_is_not_live_says_so(visit: Callable[..., Visit], hub: HubContext, server: WebServer) -> None:
    """Without the hub a page never passes old figures off as new ones; with the hub back it is live by itself."""
    page = visit().see("/")

    server.close()
    expect(page.locator("#link")).to_have_text("Not live", timeout=PATIENCE_MS)
    expect(page.locator("#stale")).to_contain_text("these figures are old")
    revived = WebServer(make_app(hub), port=server.port)
    revived.start()

    expect(page.locator("#link")).to_have_text("Live", timeout=PATIENCE_MS)
    expect(page.locator("#stale")).to_be_hidden()
    revived.close()


def test_a_page_that_hears_nothing_says_so(visit: Callable[..., Visit]) -> None:
    """A hub that is there and says nothing, as behind a cable that was pulled, is found out by its silence."""
    window = visit()
    window.page.clock.install()
    page = window.see("/")
    page.route("**/*", lambda _route: None)

    page.evaluate("Object.defineProperty(EventSource.prototype, 'addEventListener', {value() {}})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(14_000)

    expect(page.locator("#link")).to_have_text("Not live", timeout=PATIENCE_MS)


def test_the_login_page_refuses_a_wrong_token(visit: Callable[..., Visit]) -> None:
    """A wrong token is refused in words beside the field; the right one leads to the page that was asked for."""
    window = visit(known=False)
    page = window.page
    page.goto(f"{window.server.url}/drift")

    page.fill("#token", "wrong")
    page.click("button.main")
    expect(page.get_by_role("alert")).to_contain_text("not the owner token", timeout=PATIENCE_MS)
    page.fill("#token", TOKEN)
    page.click("button.main")
    page.wait_for_url("**/drift")

    assert page.title() == "Drift · Lineside"


def test_a_login_link_logs_in_and_is_gone_from_the_address(visit: Callable[..., Visit], owner: httpx.Client) -> None:
    """Whoever opens the printed link sees the fleet, with no secret left in the address."""
    window = visit(known=False)
    link = owner.post("/api/login-links").json()["path"]

    window.page.goto(window.server.url + link)

    assert window.page.url == f"{window.server.url}/"
    assert window.page.title() == "Fleet · Lineside"


def test_everything_is_reached_by_keyboard(visit: Callable[..., Visit], floor: Floor) -> None:
    """The first tab offers to skip the bar; each link, table and button is reached and shows that it is."""
    a_day(floor)
    page = visit().see("/")
    reached = []

    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(e => (e.getAttribute('aria-label') || e.textContent).trim())(document.activeElement)")
        )
        outlined = page.evaluate("(e => getComputedStyle(e).outlineStyle)(document.activeElement)")
        assert outlined != "none" or page.evaluate("document.activeElement === document.body")

    assert reached[0] == "Skip to the content"
    assert {"Fleet", "Drift", "Log out", "press-1", "oven-4"} <= set(reached)


def test_a_reader_of_the_page_hears_what_it_shows(visit: Callable[..., Visit], floor: Floor) -> None:
    """Tables have headed columns and rows, drawings a sentence, landmarks a name: what is seen can be heard."""
    a_day(floor)
    window = visit()

    for path in ("/", "/gateways/press-2", "/drift"):
        page = window.see(path)
        assert page.locator("h1").count() == 1
        assert page.locator("table:not(:has(thead th[scope=col]), [role=img] *)").count() == 0
        assert page.locator("svg:not([aria-hidden=true]):not([aria-label])").count() == 0
        assert page.locator("section.panel:not([aria-label]):not([aria-labelledby])").count() == 0
    row = window.see("/").locator("#row-press-2")
    expect(row.get_by_role("rowheader")).to_contain_text("press-2")
    expect(row.get_by_role("img").nth(1)).to_have_attribute("aria-label", re.compile("OK .*NG .*REVIEW .*UNINSPECTED"))


def test_a_rollout_is_steered_and_followed(visit: Callable[..., Visit], works: Works) -> None:
    """A wave fills on an open page; a button takes a reason, acts, and only what can be asked then is offered."""
    press = [works.gateway(f"press-{i}") for i in (1, 2)]
    works.publish(V2)
    works.create(works.plan(waves=("1", "100%")))
    works.look()
    page = visit().see("/rollouts/1")
    expect(page.locator(".wave.runs")).to_contain_text("0 of 1 updated")
    expect(page.get_by_role("button", name="Resume")).to_be_hidden()

    works.run(press[:1], V2)
    works.look()
    expect(page.locator(".wave.done")).to_contain_text("1 of 1 updated", timeout=PATIENCE_MS)
    page.get_by_label("Reason").fill("the lamp is being changed")
    page.get_by_role("button", name="Pause").click()

    expect(page.locator("h1")).to_contain_text("Paused", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    assert works.rollout().reason == "the lamp is being changed"
