"""Makes the web application of a hub: pages, parts, events, API, health and static files behind one door."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from cloud_hub.context import HubContext
from cloud_hub.errors import HubError
from cloud_hub.web import api, health, login, publishing, steering
from cloud_hub.web.door import Door, wants_page
from cloud_hub.web.live import Parts, Streams
from cloud_hub.web.page import NotHere, Page
from cloud_hub.web.pages import FRAME, PAGES
from cloud_hub.web.renderer import STATIC, Renderer
from cloud_hub.web.sessions import Sessions


def make_app(hub: HubContext) -> FastAPI:
    """The application; `app.state.streams.close()` ends the event streams before a server stops."""
    renderer = Renderer(PAGES)
    parts = Parts(hub, renderer, (*PAGES, FRAME))
    streams = Streams(parts, hub.clock.wall_us)
    sessions = Sessions(hub.owner_token, lambda: hub.clock.wall_us() / 1e6)
    app = FastAPI(
        title="Lineside hub",
        version=version("lineside"),
        summary="What the fleet judged, and the proof that nothing of it is lost",
        docs_url=None,  # both documentation pages load their scripts from another site
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_closing(streams),
    )
    app.state.hub = hub
    app.state.streams = streams
    app.state.sessions = sessions
    for router in (
        api.router,
        publishing.router,
        steering.router,
        health.make_router(hub),
        login.make_router(sessions, renderer),
        _live_routes(parts, streams),
        *(_page_route(page, parts, renderer) for page in PAGES),
    ):
        app.include_router(router)
    app.mount("/static", Static(directory=STATIC))
    app.openapi = lambda: api.describe(app)  # type: ignore[method-assign]
    _answer_errors(app, renderer)
    app.add_middleware(Door, sessions=sessions)
    return app


class Static(StaticFiles):
    """Files that a browser may keep for ever: their address carries their digest."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with how long it may be kept."""
        response = await super().get_response(path, scope)
        is_versioned = b"v=" in scope["query_string"]
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if is_versioned else "no-cache"
        return response


def _page_route(page: Page, parts: Parts, renderer: Renderer) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def show(request: Request, subject: str = "") -> Response:
        def live(name: str) -> Markup:
            return Markup(parts.piece(name).html)  # noqa: S704 — rendered by our own template

        query = request.query_params
        values = {"page": page, "subject": subject, "live": live, "wall": query.get("wall") == "1"}
        scheme = query.get("scheme", "")
        frame = {"scheme": scheme if scheme in {"dark", "light"} else "", **page.chosen(query)}
        return renderer.page(page.template, values | frame)

    router.add_api_route(page.path, show, methods=["GET"], name=page.name, response_model=None)
    return router


def _live_routes(parts: Parts, streams: Streams) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/parts/{name:path}")
    def part(name: str) -> Response:
        return HTMLResponse(parts.piece(name).html)

    @router.get("/events")
    async def events(watch: list[str] = Query(default=[])) -> Response:  # noqa: FAST002
        if streams.is_full:
            return api.to_json(api.Fault("too many pages are open", "close some, or wait a moment"), 503)
        shown = {name: digest for name, _, digest in (each.rpartition("~") for each in watch)}
        return StreamingResponse(streams.events(shown), media_type="text/event-stream")

    @router.get("/favicon.ico")
    def favicon() -> Response:
        return RedirectResponse("/static/favicon.svg", status_code=308)

    return router


def _answer_errors(app: FastAPI, renderer: Renderer) -> None:
    def say(request: Request, status: int, error: str, hint: str) -> Response:
        if wants_page(request) and not request.url.path.startswith("/api/"):
            return renderer.page("error.html", {"status": status, "error": error, "hint": hint}, status)
        return api.to_json(api.Fault(error, hint), status)

    @app.exception_handler(NotHere)
    def not_here(request: Request, error: NotHere) -> Response:
        return say(request, 404, str(error), "the fleet page lists what is enrolled")

    @app.exception_handler(HubError)
    def cannot(request: Request, error: HubError) -> Response:
        return say(request, 503 if error.retry else 400, str(error), error.hint)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return say(request, 422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "/api/openapi.json says more")

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return say(request, error.status_code, str(error.detail), "")


def _closing(streams: Streams) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        streams.close()

    return lifespan
