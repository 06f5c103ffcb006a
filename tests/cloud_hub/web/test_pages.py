"""What the pages say of a fleet, of its absence, and of what is wrong with it."""

import re

import httpx
import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.monitoring import alarms
from cloud_hub.web.server import WebServer
from edge_protocol.codes import ClockState, Stream, Verdict
from edge_protocol.messages import Started
from tests.cloud_hub.web.conftest import TOKEN
from tests.cloud_hub.web.factory_floor import SURFACE, Floor, a_day, mixture


@pytest.fixture
def browser(server: WebServer, visitor: httpx.Client) -> httpx.Client:
    """Somebody who has logged in and asks for pages."""
    visitor.post("/login", data={"token": TOKEN})
    visitor.headers["accept"] = "text/html"
    return visitor


def text_of(html: str) -> str:
    """What a reader reads: without markup, blanks as one blank."""
    main = html.partition("<main")[2] or html
    return " ".join(re.sub(r"<[^>]*>", " ", main).replace("&#39;", "'").replace("\u202f", "").split())


def test_an_empty_hub_says_how_to_begin(browser: httpx.Client) -> None:
    """Before the first gateway the pages say what to do, and claim no balance."""
    fleet, drift = browser.get("/"), browser.get("/drift")

    assert "edge-agent identity new" in text_of(fleet.text)
    assert "cloud-hub enrol" in text_of(fleet.text)
    assert "Balanced" not in fleet.text
    assert "Nothing is counted yet" in text_of(drift.text)


def test_the_fleet_is_shown_by_site_and_line(browser: httpx.Client, floor: Floor) -> None:
    """Each gateway stands once, below its site and its line."""
    a_day(floor)

    page = text_of(browser.get("/").text)

    order = ["Werk Nord", "Hall 1 Coating", "oven-3", "oven-4", "Werk Süd", "Hall 2 Press line", "press-1", "press-2",
             "Hall 5 Pump test", "pump-1"]  # fmt: skip
    after = page.partition("The account Hall 1")[0].rfind("Werk Nord")
    places = [page.index(each, after) for each in order]
    assert places == sorted(places)


def test_the_fleet_page_adds_up(browser: httpx.Client, floor: Floor) -> None:
    """The sums at the top are those of the lines below: verdicts, account, gateways that answer."""
    gateways = a_day(floor)
    judged = sum(n for each in gateways.values() for totals in each.totals.values() for n in totals.values())
    produced = sum(n for each in gateways.values() for n in each.produced.values())

    page = text_of(browser.get("/").text)

    assert f"{judged - 412} archived in all" in page
    assert f"{produced} produced = {produced - 412} archived + 412 buffered + 0 declared" in page
    assert "Gateways online 3 of 5" in page
    assert "press-2 · surface Brightness and model score no longer look like the reference." in page


def test_what_is_lost_is_shown_as_lost(browser: httpx.Client, floor: Floor) -> None:
    """An account that does not balance says so on every page, with how many and what to do."""
    gateways = a_day(floor)
    floor.state(gateways["press-1"], lose=17)

    fleet, gateway = browser.get("/").text, text_of(browser.get("/gateways/press-1").text)
    drift = browser.get("/drift").text

    assert fleet.count("17 lost") == 4  # in the bar, at the top, twice in the gateway's line
    assert "Balanced · 0 lost" in fleet  # the other gateways are whole
    assert "0 declared + 17 lost" in gateway
    assert "17 records are neither archived, nor buffered, nor declared" in gateway
    assert "17 lost" in drift.partition("<main")[0]


def test_a_gateway_that_never_spoke_claims_nothing(browser: httpx.Client, floor: Floor) -> None:
    """Enrolled and silent: no balance, no rates, and the page says what is missing."""
    floor.enrol("press-1", site="Werk Süd")

    fleet, page = text_of(browser.get("/").text), text_of(browser.get("/gateways/press-1").text)

    assert "never seen" in fleet
    assert "Nothing yet" in fleet
    assert "Nothing heard of its pipelines yet" in page
    assert "Nothing has arrived yet" in page


def test_a_silent_gateway_is_shown_as_offline(browser: httpx.Client, floor: Floor, clock: FixedClock) -> None:
    """A gateway that stopped speaking is offline, and its page says what that means."""
    gateway = floor.enrol("press-1")
    floor.record(gateway, Stream.EVENTS, Started(agent_version="0.1.0", clean=True))
    floor.state(gateway)
    clock.advance(3600)

    page = text_of(browser.get("/gateways/press-1").text)

    assert "press-1 Offline" in page
    assert "they arrive when it returns" in page


def test_every_verdict_is_said_in_words(browser: httpx.Client, floor: Floor) -> None:
    """Each of the four verdicts stands as a word with its number, its reason and its part, newest first."""
    gateway = floor.enrol("press-1", timezone="Europe/Berlin")
    floor.judge(gateway, "surface", SURFACE, list(Verdict), over_us=4_000_000)
    floor.state(gateway, clock=ClockState.BEHIND)

    page = text_of(browser.get("/gateways/press-1").text)

    latest = page.partition("Latest verdicts")[2]
    assert re.search(
        r"4 P000004 surface UNINSPECTED UNREADABLE –.*3 P000003 surface REVIEW SCORE_REVIEW 0\.\d{3}", latest
    )
    assert re.search(r"2 P000002 surface NG SCORE_REJECT.*1 P000001 surface OK –", latest)
    assert "behind: times are marked" in page
    assert "01:00:59" in latest  # Berlin is an hour ahead of UTC in winter


def test_a_chart_is_also_a_table(browser: httpx.Client, floor: Floor) -> None:
    """Who cannot see the chart reads the same rates; a span that is not offered is answered with the default."""
    gateway = floor.enrol("press-1")
    floor.judge(gateway, "surface", SURFACE, mixture(600, ng=6))

    page = browser.get("/gateways/press-1?span=2h").text
    odd = browser.get("/gateways/press-1?span=9999y").text

    rows = re.findall(r'<th scope="row">([\d:]+)</th><td class="n">([^<]+)</td>', page)
    assert float(rows[0][1]) == 594
    assert 'aria-current="true">15min' in odd


def test_drift_is_said_in_words(browser: httpx.Client, floor: Floor) -> None:
    """A drifting signal says which way it went, by how much, since when, and what to look at first."""
    a_day(floor)

    page = text_of(browser.get("/drift").text)

    notice = page.partition("press-2 · surface")[2].partition("press-2 surface")[0]
    assert re.search(
        r"Brightness luma_mean [\d.]+ Darker\. [\d.]+% of the samples lie below [\d.]+; in the reference", notice
    )
    assert "Check the lamp" in notice
    assert "2 of 6 signals drift" in page
    assert "χ²" in page
    assert "212 of 500 samples" in page
    assert page.index("2 of 6 signals drift") < page.index("oven-3")


def test_counters_that_cannot_be_right_are_called_so(browser: httpx.Client, floor: Floor) -> None:
    """A gateway that counts on other bins than its reference has breaks no page; the page says not to trust it."""
    gateway = floor.enrol("press-1")
    floor.pane(gateway, "surface", SURFACE, 600, dict.fromkeys(SURFACE.signals, (300, 300, 0)))

    page = text_of(browser.get("/drift").text)

    assert "Integrity fault" in page
    assert "do not trust them" in page


def test_an_alarm_of_another_kind_is_told_as_it_was_written(browser: httpx.Client, floor: Floor) -> None:
    """What is not drift keeps its own words, on the fleet's page and on its gateway's, without a way to drift."""
    floor.enrol("press-1")
    with floor.database.writing() as connection:
        alarms.raise_alarm(connection, alarms.Subject("press-1", alarms.CLONED), "press-1: two cards speak", 1)

    fleet, gateway = browser.get("/").text, browser.get("/gateways/press-1").text

    assert "press-1 two cards speak" in text_of(fleet)
    assert "press-1 two cards speak" in text_of(gateway)
    assert "What to do" not in fleet


def test_names_from_outside_are_text(browser: httpx.Client, floor: Floor) -> None:
    """What a gateway calls itself, its pipelines or its parts is never markup."""
    evil = "<script>alert(1)</script>\"'"
    gateway = floor.enrol("press-1", site=evil, line=evil, labels={evil: evil})
    floor.judge(gateway, evil, SURFACE, mixture(10), over_us=1_000_000)
    floor.count(gateway, evil, SURFACE, luma_mean=3)
    floor.alarm(gateway, evil, SURFACE, evil, {evil: 1.0})
    floor.state(gateway)

    pages = [browser.get(path).text for path in ("/", "/gateways/press-1", "/drift")]

    assert all("&lt;script&gt;alert(1)" in page for page in pages)
    assert not any("<script>alert" in page for page in pages)


@pytest.mark.parametrize("path", ["/gateways/nobody", "/nowhere", "/parts/nothing/at/all"])
def test_what_is_not_there_is_a_page_too(browser: httpx.Client, path: str) -> None:
    """An address that leads nowhere says so and leads back."""
    answer = browser.get(path)

    assert answer.status_code == 404
    assert "To the fleet" in answer.text


def test_a_wall_is_a_choice_of_the_address(browser: httpx.Client) -> None:
    """`?wall=1` enlarges, `?scheme=dark` darkens, anything else is left out."""
    wall = browser.get("/?wall=1&scheme=dark").text
    plain = browser.get('/?wall="><b>&scheme="><b>').text

    assert '<html lang="en" data-wall data-scheme="dark">' in wall
    assert '<html lang="en">' in plain
