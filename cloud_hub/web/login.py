"""Logging in and out: the owner token by form, or a one-time code by link, becomes a session cookie."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cloud_hub.web.door import cookie_header
from cloud_hub.web.renderer import Renderer
from cloud_hub.web.sessions import CODE_S, COOKIE, Sessions

MAX_FORM_BYTES = 4096
"""A token and a path; more is nobody's login."""

WRONG = "That is not the owner token of this hub."
WRONG_HINT = "Look at the file that `cloud-hub init` named; `cloud-hub serve` uses the same one."
USED = "This link has already been used, or is older than an hour."
USED_HINT = "Ask for a new one, or log in with the owner token."


def make_router(sessions: Sessions, renderer: Renderer) -> APIRouter:
    """The routes `/login`, `/logout` and `/api/login-links`."""
    router = APIRouter(include_in_schema=False)

    def page(target: str, error: str = "", hint: str = "", status: int = 200) -> Response:
        return renderer.page("login.html", {"target": target, "error": error, "hint": hint}, status)

    @router.get("/login")
    def form(request: Request, token: str = "", next: str = "/") -> Response:  # noqa: A002
        target = local_path(next)
        if not token:
            return page(target)
        if sessions.redeem(token):
            return _with_cookie(RedirectResponse(target, status_code=303), request, sessions.cookie())
        return page(target, USED, USED_HINT, 403)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        fields = await read_form(request)
        target = local_path(fields.get("next", "/"))
        if sessions.is_owner(fields.get("token", "").strip()):
            return _with_cookie(RedirectResponse(target, status_code=303), request, sessions.cookie())
        return page(target, WRONG, WRONG_HINT, 403)

    @router.post("/logout")
    def log_out() -> Response:
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    @router.post("/api/login-links")
    def new_link() -> Response:
        return JSONResponse({"path": f"/login?token={sessions.new_code()}", "valid_s": CODE_S}, status_code=201)

    return router


def local_path(target: str) -> str:
    """`target` when it is a path on this hub, else `/`: a login never sends anyone to another site."""
    is_local = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_local else "/"


def _with_cookie(response: Response, request: Request, value: str) -> Response:
    response.headers["set-cookie"] = cookie_header(value, request.url.scheme)
    return response


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form; of a larger one, none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
