"""The API answers with what its own description says, and refuses in words."""

import re
from pathlib import Path

import httpx
import msgspec
import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.context import HubContext
from cloud_hub.storage.database import Database
from cloud_hub.web.api import ANSWERS
from cloud_hub.web.app import make_app
from tests.cloud_hub.updates.rollouts.works import Works
from tests.cloud_hub.web.conftest import hub_of
from tests.cloud_hub.web.factory_floor import Floor, a_day
from tests.cloud_hub.web.rolled_out import three_rollouts

PATHS = {
    "/api/fleet": "fleet",
    "/api/gateways/press-2": "gateway",
    "/api/gateways/press-2/verdicts?limit=7": "verdicts",
    "/api/gateways/press-2/events": "events",
    "/api/gateways/press-2/series?since_us=0&bucket_s=60": "series",
    "/api/gateways/press-2/account": "account",
    "/api/account": "accounts",
    "/api/drift": "drift",
    "/api/drift?gateway=press-2": "drift",
    "/api/alarms": "alarms",
    "/api/alarms?active_only=true": "alarms",
    "/api/rollouts": "rollouts",
    "/api/rollouts/3": "rollout",
    "/api/rollouts/3/explain?gateway=stamp-3": "explanations",
    "/api/models": "models",
}


@pytest.fixture
def hub(tmp_path: Path, database: Database, clock: FixedClock) -> HubContext:
    """A hub with an empty database, on each engine in turn: every question that the pages ask is asked here."""
    return hub_of(database, clock, tmp_path)


@pytest.fixture
def day(floor: Floor, works: Works) -> Floor:
    """A fleet after a quarter of an hour, and three rollouts."""
    a_day(floor)
    three_rollouts(works)
    return floor


def test_every_answer_is_what_the_description_says(day: Floor, owner: httpx.Client) -> None:
    """Each route answers with the struct that OpenAPI names, and none is empty or undescribed."""
    described = owner.get("/api/openapi.json").json()
    answers = {path: owner.get(path) for path in PATHS}

    for path, kind in PATHS.items():
        assert msgspec.json.decode(answers[path].content, type=ANSWERS[kind])
    subjects = {"{name}": "press-2", "{number}": "3"}
    known = {re.sub("{[^}]*}", lambda found: subjects[found[0]], path) for path in described["paths"]}
    assert {path.partition("?")[0] for path in PATHS} == known


def test_the_description_names_only_what_it_holds(owner: httpx.Client) -> None:
    """Every schema that OpenAPI points at is in it, and the way in is described."""
    raw = owner.get("/api/openapi.json").text
    described = msgspec.json.decode(raw)

    pointed = set(re.findall(r'"#/components/schemas/([^"]+)"', raw))

    assert pointed <= described["components"]["schemas"].keys()
    assert described["security"] == [{"owner": []}]
    assert "GatewayView" in pointed


def test_the_account_is_exact(day: Floor, owner: httpx.Client) -> None:
    """Of each gateway: produced = archived + buffered + declared, each row counted, no verdict doubled."""
    for each in owner.get("/api/account").json():
        assert each["produced"] == each["archived"] + each["buffered"] + each["declared"]
        assert (each["lost"], each["balanced"], each["doubled_verdicts"]) == (0, True, 0)


def test_limits_are_kept(day: Floor, owner: httpx.Client) -> None:
    """A list is as long as was asked for, and no request asks for everything."""
    assert len(owner.get("/api/gateways/press-1/verdicts?limit=7").json()) == 7
    assert owner.get("/api/gateways/press-1/verdicts?limit=1000000").status_code == 422


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/gateways/nobody", 404),
        ("/api/gateways/nobody/verdicts", 404),
        ("/api/gateways/nobody/series?since_us=0", 404),
        ("/api/gateways/x/series", 422),
        ("/api/gateways/x/series?since_us=x", 422),
        ("/api/nothing", 404),
        ("/api/rollouts/7", 404),
        ("/api/rollouts/7/explain", 404),
        ("/api/rollouts/x", 422),
    ],
)
def test_a_refusal_says_why(owner: httpx.Client, path: str, status: int) -> None:
    """What cannot be answered is refused as JSON with a sentence, also to a browser."""
    answer = owner.get(path, headers={"accept": "text/html"})

    assert answer.status_code == status
    assert answer.json()["error"]


def test_only_reading_needs_no_more_than_a_reading(hub: HubContext) -> None:
    """The API changes nothing: every described route is a GET."""
    methods = {method for path in make_app(hub).openapi()["paths"].values() for method in path}

    assert methods == {"get"}
