"""Nobody sees a figure without the token, and no other site can act in its owner's name."""

import re
from http.cookies import SimpleCookie

import httpx
import pytest
from starlette.routing import Route

from cloud_hub.clock import FixedClock
from cloud_hub.context import HubContext
from cloud_hub.web.app import make_app
from cloud_hub.web.door import HEADERS
from cloud_hub.web.login import MAX_FORM_BYTES
from cloud_hub.web.server import WebServer
from cloud_hub.web.sessions import COOKIE, SESSION_S
from tests.cloud_hub.web.conftest import TOKEN
from tests.cloud_hub.web.factory_floor import Floor

OPEN = {"/login", "/favicon.ico", "/health/live", "/health/ready"}
AS_BROWSER = {"accept": "text/html"}


def paths(hub: HubContext) -> list[tuple[str, str]]:
    """Every method and path that the application answers, with something in place of each parameter."""
    routes = [route for route in walk(make_app(hub).routes) if route.methods]
    return [(method, re.sub(r"{[^}]*}", "x", route.path)) for route in routes for method in route.methods or ()]


def walk(routes: object) -> list[Route]:
    """All routes, also those of routers inside."""
    found: list[Route] = []
    for each in routes:  # type: ignore[attr-defined]
        inner = getattr(getattr(each, "original_router", None), "routes", None) or getattr(each, "routes", None)
        found += walk(inner) if inner else [each] if isinstance(each, Route) else []
    return found


def test_nothing_is_told_without_the_token(hub: HubContext, visitor: httpx.Client) -> None:
    """Every address but health, static files and the login page refuses who has no token."""
    closed = [(method, path) for method, path in paths(hub) if path not in OPEN]

    answers = {(method, path): visitor.request(method, path).status_code for method, path in closed}

    assert {("GET", "/"), ("GET", "/api/fleet"), ("GET", "/events"), ("GET", "/metrics")} <= answers.keys()
    assert set(answers.values()) == {401}


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic " + TOKEN, TOKEN, f"Bearer {TOKEN}x"])
def test_a_wrong_token_opens_nothing(visitor: httpx.Client, header: str) -> None:
    """A wrong token, or the right one in a wrong way, is refused with the way to do it."""
    answer = visitor.get("/api/fleet", headers={"authorization": header})

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert "Bearer" in answer.json()["hint"]


def test_the_token_opens_the_api(owner: httpx.Client) -> None:
    """A program with the token is answered."""
    assert owner.get("/api/fleet").json() == []


def test_a_browser_is_sent_to_the_login_page_and_back(visitor: httpx.Client) -> None:
    """Whoever opens a page without a session logs in and lands on that page."""
    sent = visitor.get("/drift?wall=1", headers=AS_BROWSER)
    form = visitor.get(sent.headers["location"])
    fields = {"token": TOKEN, "next": re.search('name="next" value="([^"]*)"', form.text)[1]}
    entered = visitor.post("/login", data=fields)
    page = visitor.get(entered.headers["location"], headers=AS_BROWSER)

    assert (sent.status_code, entered.status_code, page.status_code) == (303, 303, 200)
    assert entered.headers["location"] == "/drift?wall=1"


def test_the_cookie_is_for_our_own_pages_only(visitor: httpx.Client) -> None:
    """No script reads the session, no other site sends it, and the token is not in it."""
    cookie = SimpleCookie(visitor.post("/login", data={"token": TOKEN}).headers["set-cookie"])[COOKIE]

    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert TOKEN not in cookie.value


def test_a_wrong_login_is_told_so_and_gets_nothing(visitor: httpx.Client) -> None:
    """A wrong token at the login page: the reason, what to do, and no cookie."""
    answer = visitor.post("/login", data={"token": "wrong"})

    assert answer.status_code == 403
    assert "not the owner token" in answer.text
    assert "set-cookie" not in answer.headers
    assert "wrong" not in answer.text.partition('id="token"')[2].partition(">")[0]


@pytest.mark.parametrize("target", ["//evil.example/x", "https://evil.example", "/\\evil.example", "x", "/\r\nx: y"])
def test_a_login_leads_to_no_other_site(visitor: httpx.Client, target: str) -> None:
    """Wherever a link wants the login to end, it ends on this hub."""
    answer = visitor.post("/login", data={"token": TOKEN, "next": target})

    assert answer.headers["location"] == "/"


def test_a_form_that_is_too_large_is_no_login(visitor: httpx.Client) -> None:
    """A body larger than any login is not read to its end and lets nobody in."""
    answer = visitor.post("/login", data={"token": TOKEN, "padding": "x" * MAX_FORM_BYTES})

    assert answer.status_code == 403


def test_a_login_link_works_once_and_leaves_no_token_behind(owner: httpx.Client, visitor: httpx.Client) -> None:
    """The link that a program prints logs a person in once; the address they land on holds no secret."""
    link = owner.post("/api/login-links").json()["path"]

    first = visitor.get(link, headers=AS_BROWSER)
    page = visitor.get(first.headers["location"], headers=AS_BROWSER)
    visitor.cookies.clear()
    second = visitor.get(link, headers=AS_BROWSER)

    assert (first.status_code, first.headers["location"], page.status_code) == (303, "/", 200)
    assert second.status_code == 403
    assert "set-cookie" not in second.headers


STRANGERS = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", STRANGERS)
@pytest.mark.parametrize("path", ["/login", "/logout", "/api/login-links"])
def test_another_site_cannot_act_here(visitor: httpx.Client, headers: dict[str, str], path: str) -> None:
    """What another site lets a browser post is refused, cookie or no cookie."""
    visitor.post("/login", data={"token": TOKEN})

    answer = visitor.post(path, data={"token": TOKEN}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_logging_out_takes_the_cookie_away(visitor: httpx.Client, server: WebServer) -> None:
    """After logging out the browser has no session."""
    visitor.post("/login", data={"token": TOKEN})
    before = visitor.get("/", headers=AS_BROWSER).status_code

    visitor.post("/logout", headers={"origin": server.url})

    assert before == 200
    assert visitor.get("/", headers=AS_BROWSER).status_code == 303


def test_a_page_that_stays_open_stays_logged_in(visitor: httpx.Client, clock: FixedClock) -> None:
    """A session in use is renewed in its second half, so a wall screen runs for weeks; one not in use ends."""
    visitor.post("/login", data={"token": TOKEN})
    for _ in range(4):
        clock.advance(SESSION_S * 0.7)
        used = visitor.get("/parts/shell/status").status_code
        assert used == 200

    clock.advance(SESSION_S + 1)

    assert visitor.get("/parts/shell/status").status_code == 401


@pytest.mark.parametrize(
    "path", ["/", "/login", "/nowhere", "/api/fleet", "/api/gateways/x", "/static/app.css", "/x y"]
)
def test_every_answer_carries_the_strict_headers(visitor: httpx.Client, owner: httpx.Client, path: str) -> None:
    """Whatever is answered, to whomever: only our own files load, nobody frames it, nothing is sniffed."""
    for client in (visitor, owner):
        headers = client.get(path).headers

        assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_figures_are_kept_by_no_cache(owner: httpx.Client, floor: Floor) -> None:
    """Pages and data are stored nowhere on the way; files whose address names their digest may be, for ever."""
    floor.enrol("press-1")
    page = owner.get("/", headers=AS_BROWSER)
    file = re.search('href="(/static/app.css[^"]*)"', page.text)[1]

    assert page.headers["cache-control"] == owner.get("/api/fleet").headers["cache-control"] == "no-store"
    assert "immutable" in owner.get(file).headers["cache-control"]


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"])
def test_static_files_end_at_their_folder(visitor: httpx.Client, path: str) -> None:
    """Nothing beside the static files is served as one."""
    assert visitor.get(path).status_code in (401, 404)
