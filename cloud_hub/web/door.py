"""The one way in: every request passes here, gets in by cookie or bearer token, and leaves with the strict headers.

Only health, static files, the favicon and the login page are open. It never reads a request's body.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_hub.web.sessions import COOKIE, SESSION_S, Sessions

OPEN_FOLDERS = ("/health/", "/static/")
OPEN_PATHS = frozenset({"/login", "/favicon.ico"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
}
"""Only our own files load, nobody frames us, and an address of ours is told to nobody else."""


class Door:
    """ASGI middleware that asks `Sessions` about everyone."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        request = HTTPConnection(scope)
        left_s = self._sessions.left_s(request.cookies.get(COOKIE, ""))
        refusal = self._refusal(request, scope["method"], has_session=left_s > 0)
        renew = 0 < left_s < SESSION_S / 2 and scope["path"] != "/logout"
        extra = {"set-cookie": cookie_header(self._sessions.cookie(), scope["scheme"])} if renew else {}
        await (refusal or self._app)(scope, receive, _with_headers(send, scope["path"], extra))

    def _refusal(self, request: HTTPConnection, method: str, *, has_session: bool) -> Response | None:
        by_token = self._has_token(request.headers)
        if method not in READS and not by_token and not is_same_origin(request.headers):
            return JSONResponse({"error": "the request comes from another site"}, status_code=403)
        path = request.url.path
        if by_token or has_session or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return None
        if wants_page(request):
            target = quote(f"{path}?{request.url.query}" if request.url.query else path, safe="")
            return RedirectResponse(f"/login?next={target}", status_code=303)
        return JSONResponse(
            {"error": "the owner token is missing or wrong", "hint": "send it as `Authorization: Bearer …`"},
            status_code=401,
            headers={"www-authenticate": "Bearer"},
        )

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._sessions.is_owner(token.strip())


def wants_page(request: HTTPConnection) -> bool:
    """Whether a person's browser asks for a whole page, rather than a script or a program for data."""
    return "text/html" in request.headers.get("accept", "") and "hx-request" not in request.headers


def is_same_origin(headers: Headers) -> bool:
    """Whether a browser's request comes from one of our own pages.

    A request with neither header is not from a browser, so no cookie can have been lent to it.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def cookie_header(value: str, scheme: str) -> str:
    """The header that gives a browser its session: for our own pages only, out of reach of any script."""
    secure = "; Secure" if scheme == "https" else ""
    return f"{COOKIE}={value}; Max-Age={SESSION_S}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _with_headers(send: Send, path: str, extra: Mapping[str, str]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in {**HEADERS, **extra}.items():
                headers[name] = value
            if not path.startswith("/static/"):
                headers["cache-control"] = "no-store"
        await send(message)

    return wrapped
