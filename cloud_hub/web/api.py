"""The HTTP API: what the pages show, as JSON. The schemas are those of the structs themselves, so neither can lie."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.openapi.utils import get_openapi

from cloud_hub.context import HubContext
from cloud_hub.monitoring import views as monitoring
from cloud_hub.storage.objects import Objects
from cloud_hub.telemetry import views as telemetry
from cloud_hub.telemetry.account import Account, account, accounts
from cloud_hub.updates import views as updates
from cloud_hub.updates.rollouts import views as rollouts
from cloud_hub.web.memo import Memo
from cloud_hub.web.page import Reading

MAX_ROWS = 1000
STEPS = (1, 86_400)


class Fault(msgspec.Struct, frozen=True):
    """Why a request was not answered, and what to do about it."""

    error: str
    hint: str = ""


ANSWERS: dict[str, Any] = {
    "fleet": list[telemetry.GatewayView],
    "gateway": telemetry.GatewayView,
    "verdicts": list[telemetry.VerdictView],
    "events": list[telemetry.EventView],
    "series": dict[str, list[int]],
    "drift": list[monitoring.SignalView],
    "alarms": list[monitoring.AlarmView],
    "accounts": list[Account],
    "account": Account,
    "rollouts": list[rollouts.RolloutLine],
    "rollout": rollouts.RolloutView,
    "explanations": list[rollouts.Explanation],
    "models": list[updates.ModelView],
    "fault": Fault,
}
"""What each kind of answer holds."""

_SCHEMAS, _COMPONENTS = msgspec.json.schema_components(ANSWERS.values(), ref_template="#/components/schemas/{name}")
SCHEMA_OF = dict(zip(ANSWERS, _SCHEMAS, strict=True))

Limit = Annotated[int, Query(ge=1, le=MAX_ROWS, description="how many, the newest first")]
Since = Annotated[int, Query(ge=0, description="UTC microseconds")]
Step = Annotated[int, Query(ge=STEPS[0], le=STEPS[1], description="the width of a bucket in seconds")]


router = APIRouter(prefix="/api", tags=["fleet"])
"""The routes under `/api`; the application's state holds the hub."""


def look(request: Request) -> Iterator[Reading]:
    """One look at the hub of the application that was asked."""
    hub: HubContext = request.app.state.hub
    with hub.database.reading() as connection:
        yield Reading(hub, connection, hub.clock.wall_us(), Memo(time.monotonic))


Now = Annotated[Reading, Depends(look)]


def to_json(value: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def answer(kind: str) -> dict[int | str, dict[str, Any]]:
    """The documentation of a route that answers with `kind`."""

    def body(name: str, description: str) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": SCHEMA_OF[name]}}}

    return {200: body(kind, "as asked"), 401: body("fault", "no valid token"), 404: body("fault", "not known here")}


@router.get("/fleet", responses=answer("fleet"))
def fleet(now: Now) -> Response:
    """All gateways, by site, line and name."""
    return to_json(telemetry.fleet(now.connection, now.now_us))


@router.get("/gateways/{name}", responses=answer("gateway"))
def gateway(name: str, now: Now) -> Response:
    """One gateway."""
    return to_json(now.gateway(name))


@router.get("/gateways/{name}/verdicts", responses=answer("verdicts"))
def verdicts(name: str, now: Now, limit: Limit = 50) -> Response:
    """The verdicts of a gateway that arrived last."""
    return to_json(telemetry.recent_verdicts(now.connection, now.gateway(name).id, limit))


@router.get("/gateways/{name}/events", responses=answer("events"))
def events(name: str, now: Now, limit: Limit = 50) -> Response:
    """What happened on a gateway last, in words."""
    return to_json(telemetry.recent_events(now.connection, now.gateway(name).id, limit))


@router.get("/gateways/{name}/series", responses=answer("series"))
def series(name: str, now: Now, since_us: Since, bucket_s: Step = 60) -> Response:
    """The verdicts of a gateway through time."""
    return to_json(telemetry.verdict_series(now.connection, now.gateway(name).id, since_us, bucket_s))


@router.get("/gateways/{name}/account", responses=answer("account"))
def account_of(name: str, now: Now) -> Response:
    """The account of a gateway, every row counted."""
    return to_json(account(now.connection, now.gateway(name).id))


@router.get("/account", responses=answer("accounts"))
def all_accounts(now: Now) -> Response:
    """The accounts of all gateways, every row counted."""
    return to_json(accounts(now.connection))


@router.get("/drift", responses=answer("drift"))
def drift(now: Now, gateway: str | None = None) -> Response:
    """Every signal of what runs now, against its reference."""
    return to_json(monitoring.signals(now.connection, gateway))


@router.get("/alarms", responses=answer("alarms"))
def alarms(now: Now, *, active_only: bool = False) -> Response:
    """The alarms, the newest first."""
    return to_json(monitoring.alarms(now.connection, active_only=active_only))


@router.get("/rollouts", responses=answer("rollouts"))
def all_rollouts(now: Now, limit: Limit = 50) -> Response:
    """The rollouts, the newest first."""
    return to_json(rollouts.lines(now.connection, limit))


@router.get("/rollouts/{number}", responses=answer("rollout"))
def rollout(number: int, now: Now) -> Response:
    """One rollout: its plan, its waves with every member's evidence, and what was decided."""
    return to_json(now.rollout(number))


@router.get("/rollouts/{number}/explain", responses=answer("explanations"))
def explain(number: int, now: Now, gateway: str | None = None) -> Response:
    """Why each pipeline, of one gateway or of all, is where it is."""
    now.rollout(number)
    return to_json(rollouts.explain(now.connection, number, gateway, now.now_us))


@router.get("/models", responses=answer("models"))
def models(now: Now) -> Response:
    """The catalogue: every release, what it is made of, where it runs and what it judged."""
    objects = Objects.open(now.hub.config.objects)
    return to_json(updates.models(now.connection, lambda release: updates.facts(objects, release)))


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`, with the structs' schemas and the bearer token."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_COMPONENTS)
    components["securitySchemes"] = {"owner": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"owner": []}]
    return document
