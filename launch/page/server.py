"""The web server of a study's page: three addresses to read from, on this machine alone.

It answers from what `launch.page.watch` keeps ready and opens no file for a request.
"""

import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from analysis.live.page import document, policy
from launch.page.watch import Watch

HERE = "127.0.0.1"
NAMES = (HERE, "localhost")  # by which a browser may call it; a foreign name that leads here is refused
HEADERS = {
    "content-security-policy": policy(),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def bound(port: int) -> socket.socket:
    """A listening place on the loopback address. Raises ValueError where the port is taken; 0 takes a free one."""
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((HERE, port))
        place.listen()
    except (OSError, OverflowError) as error:
        place.close()
        raise ValueError(f"--port {port}: {error}; give another, or 0 for any that is free") from None
    return place


def server(watch: Watch, study: str) -> uvicorn.Server:
    """Runs the page's app; give `run` the sockets of `bound`."""
    config = uvicorn.Config(
        app(watch, study),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http="h11",  # whatever else is installed: what is tested is what runs
        loop="asyncio",
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def app(watch: Watch, study: str) -> App:
    """The addresses: the page, the marks of its parts, and each part."""

    async def page(_: Request) -> Response:
        watch.asked()
        parts = {name: (part.mark, part.html) for name, part in watch.parts.items()}
        return HTMLResponse(document(study, parts, _clock(watch)))

    async def state(_: Request) -> Response:
        watch.asked()
        marks = {name: part.mark for name, part in watch.parts.items()}
        return JSONResponse({"marks": marks, "looked": _clock(watch)})

    async def part(request: Request) -> Response:
        found = watch.parts.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such part", status_code=404)
        return HTMLResponse(found.html, headers={"x-mark": found.mark})

    routes = [Route("/", page), Route("/state", state), Route("/part/{name}", part)]
    inner = Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES))])
    inner.router.redirect_slashes = False
    return _guarded(inner)


def _guarded(inner: App) -> App:
    """Only GET, and on every answer, refusals included, the headers that bind a browser."""

    async def outer(scope: Scope, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        if scope["type"] == "http" and scope["method"] != "GET":
            refusal = PlainTextResponse("this page is only read: GET", status_code=405, headers={"allow": "GET"})
            return await refusal(scope, receive, sent)
        await inner(scope, receive, sent)

    return outer


def _clock(watch: Watch) -> str:
    return time.strftime("%H:%M:%S", time.localtime(watch.looked))
