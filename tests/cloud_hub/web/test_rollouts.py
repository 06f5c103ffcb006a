"""What the pages say of rollouts and of the catalogue, and what their buttons do."""

import httpx
import pytest
from sqlalchemy import select

from cloud_hub.storage.schema import audit
from cloud_hub.web import numbers
from cloud_hub.web.drawings import members_bar
from cloud_hub.web.server import WebServer
from tests.cloud_hub.updates.rollouts.works import V1, V2, Works
from tests.cloud_hub.web.conftest import TOKEN
from tests.cloud_hub.web.rolled_out import V4, three_rollouts
from tests.cloud_hub.web.test_pages import text_of


@pytest.fixture
def browser(server: WebServer, visitor: httpx.Client) -> httpx.Client:
    """Somebody who has logged in and asks for pages."""
    visitor.post("/login", data={"token": TOKEN})
    visitor.headers["accept"] = "text/html"
    return visitor


def test_empty_pages_say_how_to_begin(browser: httpx.Client) -> None:
    """Before the first release both pages name the commands that bring one."""
    assert "cloud-hub rollout create" in text_of(browser.get("/rollouts").text)
    models = text_of(browser.get("/models").text)
    assert "cloud-hub publish" in models
    assert "expires" not in models


def test_what_expires_is_told_where_the_releases_are(browser: httpx.Client, works: Works) -> None:
    """A hub whose roots end soon says so above its releases, with the command that signs new ones."""
    works.clock.advance(340 * 86_400)
    browser.post("/login", data={"token": TOKEN}, headers={"accept": "text/html"})

    page = text_of(browser.get("/models").text)

    assert page.count("models root expires soon") == 1
    assert "cloud-hub keys rotate" in page


def test_the_list_says_where_each_rollout_stands(browser: httpx.Client, works: Works) -> None:
    """The newest first, each with its state, its wave, its members by state and the reason."""
    three_rollouts(works)

    page = text_of(browser.get("/rollouts").text)

    assert page.index("1.4.0") < page.index("1.2.0") < page.index("1.1.0")
    assert "Stopped 1 of 2" in page
    assert "stamp-1 seal: SelfTestFailed" in page
    assert "Finished 2 of 2" in page
    assert "5 of 5 updated" in page


def test_a_rollout_shows_waves_evidence_and_decisions(browser: httpx.Client, works: Works) -> None:
    """Each member stands with its signed verdicts, its gates and its time; the plan and what was decided beside it."""
    three_rollouts(works)

    html = browser.get("/rollouts/3").text
    page = text_of(html)

    assert "Wave 1 done 1 of 1 updated" in page
    assert "Wave 2 now 0 of 2 updated" in page
    assert "Wave 3 waits 0 of 2 updated" in page
    assert "10 of 20 needed" in page
    assert "reports: staged" in page
    assert "stamp-6 : it has never said what it runs" in page
    assert "10 % failed or 20 % unknown or a wave without success: pause" in page
    assert "wave 2 begins: 1 of 1 of the one before are updated" in page
    assert 'title="0 of 10 (0.0%), limit 0.05"' in html


def test_a_stopped_rollout_says_why(browser: httpx.Client, works: Works) -> None:
    """The reason stands at the top, at the member and among the decisions."""
    three_rollouts(works)

    page = text_of(browser.get("/rollouts/2").text)

    assert page.count("SelfTestFailed: normalise differs first: 0.71, the golden has 0.12") == 2
    assert page.count("wave 1: 1 of 1 failed, limit 10 %; stamp-1 seal: SelfTestFailed") == 2
    assert "Wave 1 stopped 0 of 1 updated" in page


@pytest.mark.parametrize("path", ["/rollouts/9", "/rollouts/x", "/rollouts/-1", "/rollouts/99999999999999999999"])
def test_a_rollout_that_is_not_there_is_a_page_too(browser: httpx.Client, path: str) -> None:
    """A number that is none, or nobody's, leads back."""
    assert browser.get(path).status_code == 404


def test_the_catalogue_shows_what_a_release_is(browser: httpx.Client, works: Works) -> None:
    """Signature, floor, variants with sizes, licences, lineage, card, where it runs and what it judged."""
    three_rollouts(works)

    page = text_of(browser.get("/models").text)
    newest = page.partition("1.4.0")[2].partition("1.3.0")[0]

    assert page.index("1.4.0") < page.index("1.3.0") < page.index("1.0.0")
    assert "Signed by vision" in newest
    assert "stamp-1 seal · u8s8-vnni" in newest
    assert "fp32 320kB any processor" in newest
    assert "EfficientNet-Lite0 Apache-2.0 tensorflow/tpu" in newest
    assert "from 1.1.0" in newest
    assert "Finds scratches on pressed parts." in newest
    assert "Goldens 2" in newest
    assert "Not signed" in page.partition("1.3.0")[2].partition("1.2.0")[0]
    assert "Runs now nowhere" in page.partition("1.2.0")[2].partition("1.1.0")[0]


def test_a_floor_and_a_lost_file_are_said(browser: httpx.Client, works: Works) -> None:
    """Below its publisher's floor a release is marked; one whose manifest the store lost says so and breaks no page."""
    works.publish(V2)
    works.publish(V4, floor="1.4.0")
    next(works.folder.rglob(V2.target.digest)).unlink()

    page = text_of(browser.get("/models").text)

    assert "floor 1.4.0 : nothing below it runs" in page
    assert "Below the floor" in page.partition("1.1.0")[2]
    assert "is not in the object store" in page


def test_a_button_acts_with_its_reason(browser: httpx.Client, works: Works) -> None:
    """Pause, resume and abort do what they say; who and why stands in the audit chain."""
    three_rollouts(works)
    states = []

    for verb in ("pause", "resume", "abort"):
        answer = browser.post(f"/rollouts/3/{verb}", data={"reason": f"{verb}, because"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/rollouts/3")
        states.append(works.rollout(3).state)

    assert states == ["paused", "running", "stopped"]
    with works.database.reading() as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.reason).order_by(audit.c.id.desc()).limit(1)).one()
    assert tuple(rows) == ("owner (pages)", "abort, because")


def test_a_button_of_a_rollout_that_is_over_is_refused(browser: httpx.Client, works: Works) -> None:
    """What cannot be done is said in words, and nothing changes."""
    three_rollouts(works)

    answer = browser.post("/rollouts/1/pause", data={"reason": "late"})

    assert answer.status_code == 400
    assert "Cannot pause rollout 1: it is finished" in text_of(answer.text)
    assert browser.post("/rollouts/3/explode").status_code == 400
    assert works.rollout(1).state == "finished"


def test_a_stranger_steers_nothing(visitor: httpx.Client, browser: httpx.Client, works: Works) -> None:
    """Without a session nothing is asked for, and a form of another site is refused even with one."""
    three_rollouts(works)
    foreign = {"sec-fetch-site": "cross-site", "origin": "http://elsewhere.example"}

    there = browser.post("/rollouts/3/abort", data={"reason": "x"}, headers=foreign)
    visitor.cookies.clear()
    alone = visitor.post("/rollouts/3/abort", data={"reason": "x"})

    assert there.status_code == 403
    assert alone.status_code in (303, 401)
    assert works.rollout(3).state == "running"


def test_names_from_outside_are_text(browser: httpx.Client, works: Works) -> None:
    """What gateways and actors write is never markup."""
    evil = "<script>alert(1)</script>"
    works.publish(V1, V2)
    works.gateway("press-1", evil, labels={evil: evil})
    works.create(works.plan(waves=("100%",)))
    works.look()
    browser.post("/rollouts/1/pause", data={"reason": evil})

    pages = [browser.get(path).text for path in ("/rollouts", "/rollouts/1", "/models")]

    assert all("&lt;script&gt;alert(1)" in page for page in pages)
    assert not any("<script>alert" in page for page in pages)


def test_members_are_drawn_by_their_shares() -> None:
    """A bar is as long as its members are many; who takes no part has no share and stands in the words."""
    bar = str(members_bar({"pending": 1, "updated": 3, "excluded": 5}))

    assert 'class="updated" x="0.00" y="0" width="75.00"' in bar
    assert 'class="pending" x="75.00" y="0" width="25.00"' in bar
    assert 'aria-label="1 pending, 3 updated, 5 excluded"' in bar
    assert "nobody" in members_bar({})


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (812, "812 B"), (14_200, "14.2 kB"), (320_000, "320 kB"), (3_140_000, "3.1 MB")]
)
def test_sizes_are_written_in_their_unit(value: int, text: str) -> None:
    """Bytes in the unit that says something."""
    assert numbers.size(value).replace(numbers.THIN_SPACE, " ") == text
