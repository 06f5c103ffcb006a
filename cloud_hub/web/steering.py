"""The buttons of a rollout: pause, resume, abort, revert, each with a reason. The door has let only the owner in.

A form of another site never gets here: the door refuses it, and the cookie does not travel with it.
"""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from cloud_hub.access.audit import Actor
from cloud_hub.context import HubContext
from cloud_hub.updates.rollouts import orders
from cloud_hub.web.login import read_form

ACTOR = "owner (pages)"
MAX_REASON = 300

router = APIRouter(include_in_schema=False)


@router.post("/rollouts/{number}/{verb}")
async def steer(number: int, verb: str, request: Request) -> Response:
    """Do as the button says and come back to the rollout."""
    reason = (await read_form(request)).get("reason", "").strip().replace("\0", "")[:MAX_REASON]
    hub: HubContext = request.app.state.hub

    def act() -> None:
        with hub.database.writing() as connection:
            actor = Actor(ACTOR, reason, hub.config.settings.hub.tenant)
            orders.order(connection, number, verb, actor, hub.clock.wall_us())

    await run_in_threadpool(act)
    return RedirectResponse(f"/rollouts/{number}", status_code=303)
