"""HTTP server of the explorer: its page, and the answers to the page's requests, for this machine alone.

The server listens on 127.0.0.1 alone. Every request must name that host, against DNS rebinding, must come from the
explorer's own page, and must carry the token of the page's address. Only the files of the page are served.
"""

import asyncio
import json
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentcli.errors import ConfigError, LatentCLIError, UsageError
from latentcli.explorer.session import Session, Shown
from latentcli.explorer.state import parse
from latentcli.imaging.images import MOST_PIPED

PAGE = Path(__file__).parent / "page"
HOST = "127.0.0.1"
_ASSETS = {"app.js": "text/javascript", "style.css": "text/css"}
_MOST_JSON = 1 << 20  # bytes of a JSON request, at most
_MOST_TABS, _MOST_PILE = 1000, 1000  # browser tabs that are tracked, and pictures of a class for a fit, at most
_BACKLOG = 128  # connections, at most, that wait to be accepted
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]

Handler = Callable[[Session, Any], Shown | dict[str, Any]]
_WORDS_OF_THE_PAGE = {  # advice in error messages that names parameters, and what the page says instead
    "give `box` x,y,width,height or `align=False`": "untick 'find the face' to edit its centre",
    "add `force` to replace it, or choose": "choose",
}
_LONGEST_ERROR = 1000  # characters of an error message, at most


class Stale(Exception):
    """Raised for a request that a newer request of the same browser tab has overtaken."""


class Guard:
    """ASGI middleware that refuses requests from anywhere but the explorer's page, before reading their bodies."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request of the explorer's page, answer any other with 403, and add security headers to answers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self._problem(Request(scope))
        app = JSONResponse({"error": problem}, 403) if problem else self.app

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await app(scope, receive, sending)

    def _problem(self, request: Request) -> str:
        """Reason to refuse a request (wrong host, origin or token), or "" for a request to pass on."""
        if request.headers.get("host") not in self.hosts:
            return "another host was asked for"
        origin = request.headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return "another page asks"
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "another page asks"
        if request.url.path.strip("/") in _ASSETS:
            return ""
        given = request.headers.get("x-token") or request.query_params.get("token", "")
        return "" if secrets.compare_digest(given.encode(), self.token.encode()) else "the token is missing or wrong"


class Queue:
    """Runs requests one at a time, and drops a request that a newer request of the same browser tab has overtaken."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._newest: dict[str, int] = {}

    async def run(self, tab: str, number: int, work: Callable[[], Any]) -> Any:
        """Run `work` in a thread, in turn. Raises Stale if `tab` has sent a number above `number`; 0 is never stale."""
        if number:
            if len(self._newest) > _MOST_TABS:
                self._newest.clear()
            self._newest[tab] = max(number, self._newest.get(tab, 0))
        async with self._lock:
            if number and number < self._newest.get(tab, 0):
                raise Stale
            return await run_in_threadpool(work)


def application(session: Session, port: int, token: str) -> ASGIApp:
    """ASGI application that serves the explorer's page and answers its requests from `session`."""
    queue = Queue()

    async def answer(request: Request) -> Response:
        try:
            handler = HANDLERS[request.url.path.rpartition("/")[2]]
            query = json.loads(await _body(request, _MOST_JSON) or b"{}")
            if not isinstance(query, dict):
                raise UsageError("a request is a JSON object")
            number = query.get("number", 0)
            tab = str(query.get("tab", ""))[:64]
            result = await queue.run(tab, number if type(number) is int else 0, lambda: handler(session, query))
        except Stale:
            return Response(status_code=204)
        except (LatentCLIError, ValueError, RecursionError) as error:
            return _refusal(error)
        return _response(result)

    async def page(request: Request) -> Response:
        name = request.url.path.strip("/") or "index.html"
        return Response((PAGE / name).read_bytes(), media_type=_ASSETS.get(name, "text/html"))

    async def photo(request: Request) -> Response:
        try:
            content = await _body(request, MOST_PIPED)
            name = unquote(request.headers.get("x-name", "photo.png"))[-200:]
            return JSONResponse(await queue.run("", 0, lambda: session.open(name, content)))
        except LatentCLIError as error:
            return _refusal(error)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"the server failed: {type(error).__name__}; its terminal says more"}, 500)

    routes = [
        *(Route(f"/{name}", page) for name in ("", *_ASSETS)),
        Route("/api/photo", photo, methods=["POST"]),
        *(Route(f"/api/{name}", answer, methods=["POST"]) for name in HANDLERS),
    ]
    app = Starlette(routes=routes, exception_handlers={Exception: failed})
    return Guard(app, frozenset({f"{HOST}:{port}", f"localhost:{port}"}), token)


class _TooLarge(LatentCLIError):
    """Raised for a request with more bytes than the limit."""


async def _body(request: Request, most: int) -> bytes:
    """Bytes of a request's body. Raises _TooLarge as soon as more than `most` bytes are announced or received."""
    refusal = _TooLarge(f"that is more than {most >> 20:,} MiB, the limit")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise refusal
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise refusal
    return bytes(content)


def _response(result: Shown | dict[str, Any]) -> Response:
    if isinstance(result, dict):
        return JSONResponse(result)
    name = re.sub(r'[^ -~]|["\\]', "_", result.name)  # printable ASCII alone
    headers = {"content-disposition": f'attachment; filename="{name}"'} if result.name else {}
    return Response(result.content, media_type=result.media_type, headers=headers)


def _refusal(error: Exception) -> Response:
    """Response 400 or 413 with an error's message; advice to set a Python parameter is reworded for the page."""
    text = str(error)
    for of_python, of_page in _WORDS_OF_THE_PAGE.items():
        text = text.replace(of_python, of_page)
    return JSONResponse({"error": text[:_LONGEST_ERROR]}, 413 if isinstance(error, _TooLarge) else 400)


def _fit(session: Session, query: dict[str, Any]) -> dict[str, Any]:
    piles = [query.get(kind) for kind in ("positive", "negative")]
    if not all(isinstance(pile, list) and len(pile) <= _MOST_PILE for pile in piles):
        raise UsageError(f"a pile is a list of up to {_MOST_PILE:,} pictures")
    states = [[parse(state) for state in pile or ()] for pile in piles]
    return session.fit(str(query.get("name", "")), states, query.get("force") is True)


HANDLERS: dict[str, Handler] = {
    "model": lambda session, query: session.describe(),
    "start": lambda session, query: session.start(parse(query.get("state"))),
    "picture": lambda session, query: session.picture(parse(query.get("state"))),
    "strip": lambda session, query: session.strip(parse(query.get("state")), str(query.get("name"))),
    "download": lambda session, query: session.picture(parse(query.get("state")), full_size=True),
    "latents": lambda session, query: session.latents(parse(query.get("state"))),
    "command": lambda session, query: {"command": session.command(parse(query.get("state")))},
    "fit": _fit,
}


def listen(port: int | None, preferred: int) -> socket.socket:
    """Open a socket on 127.0.0.1, at `port` or, if None, at the port `preferred` or any free port.

    Raises ConfigError for a `port` that is taken.
    """
    for wanted in (port,) if port is not None else (preferred, 0):
        # Naming the protocol lets asyncio switch off Nagle's algorithm, which would hold each answer for 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
            listener.listen(_BACKLOG)  # a browser that is opened now waits until requests are answered
        except OSError as error:
            listener.close()
            if port is not None:
                raise ConfigError(f"port {port} cannot be used ({error.strerror}); give another `port`") from error
            continue
        return listener
    raise ConfigError("no port is free on 127.0.0.1; give a `port`")


def serve(session: Session, listener: socket.socket, token: str) -> None:
    """Serve the explorer on the socket `listener` until Ctrl-C."""
    import uvicorn

    app = application(session, listener.getsockname()[1], token)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
