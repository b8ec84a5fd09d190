"""The page's server: on the loopback interface, for those who know the token in its address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lifstream.boards.play.worker import Busy, Worker
from lifstream.golden.contract.errors import InputError
from lifstream.golden.files import parse_json

__all__ = ["BODY_MAX", "CONNECTIONS_MAX", "Server", "application", "parse_body", "parse_drawing"]

BODY_MAX = 1 << 17
"""Bytes of a request's body, at most."""

CONNECTIONS_MAX = 32
"""Connections at a time; further ones are answered by 503."""

DRAWING_SIDES = 8, 256
"""Smallest and largest side of a drawing in pixels."""

_BODY_SECONDS, _STATE_SECONDS, _LOOK_SECONDS = 10.0, 15.0, 0.03
_PAGE = Path(__file__).with_name("page")
_FILES = {"": ("index.html", "text/html"), "play.css": ("play.css", "text/css"),
          "play.js": ("play.js", "text/javascript")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}


def parse_body(body: bytes, fields: dict[str, type]) -> dict[str, Any]:
    """The fields of a request's JSON object: all of them, and no others.

    Parameters
    ----------
    body
        As it came.
    fields
        Names, and types of the values: ``int``, ``bool`` or ``str``; a bool is no int.

    Raises
    ------
    InputError
        It is no JSON object, or its fields are others.
    """
    try:
        found = parse_json(body or b"{}")
    except ValueError:      # of Unicode, too
        raise InputError("body: is no JSON") from None
    if not isinstance(found, dict):
        raise InputError("body: is no JSON object")
    if set(found) != set(fields):
        raise InputError(f"body: has other fields than {', '.join(fields) or 'none'}")
    for name, kind in fields.items():
        if type(found[name]) is not kind:
            raise InputError(f"{name}: is no {kind.__name__}")
    return found


def parse_drawing(body: dict[str, Any]) -> NDArray[np.uint8]:
    """A drawing, uint8 (n, n), of ``size`` n and ``pixels``, base64 of a byte per pixel; raises InputError when it is
    none."""
    low, high = DRAWING_SIDES
    size = body["size"]
    if not low <= size <= high:
        raise InputError(f"size: {size} is out of bounds, must be {low}..{high}")
    try:
        pixels = base64.b64decode(body["pixels"], validate=True)
    except (binascii.Error, ValueError):
        raise InputError("pixels: are no base64") from None
    if len(pixels) != size * size:
        raise InputError(f"pixels: {len(pixels)} bytes, expected {size * size}")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(size, size)


class _Guard:
    """Lets through what comes from this page: by name of the host, origin, and token in the path."""

    def __init__(self, app: ASGIApp, *, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = app, token.encode(), hosts

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        request = Request(scope)
        headers = request.headers
        if len(headers.getlist("host")) != 1 or headers["host"].lower() not in self._hosts:
            return 403, "the Host is none of this page's"    # a name that was made to point here (DNS rebinding)
        origins = {f"http://{host}" for host in self._hosts}
        if any(origin.lower() not in origins for origin in headers.getlist("origin")):
            return 403, "the request comes from another page"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "the request comes from another page"
        given = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
        if not hmac.compare_digest(given.encode(errors="replace"), self._token):
            return 403, "the address lacks the token that 'lifstream play' printed"
        if request.method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "the body is not said to be application/json"
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await JSONResponse({"error": refusal[1]}, refusal[0], headers=_HEADERS)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _BodyTooLarge(Exception):
    pass


async def _body(request: Request) -> bytes:
    """The body, if it is no larger than it may be and comes in time."""
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        async for part in request.stream():
            body += part
            if len(body) > BODY_MAX:
                raise _BodyTooLarge
    return bytes(body)


def application(worker: Worker, *, token: str, hosts: frozenset[str],
                ending: Callable[[], bool] = lambda: False) -> ASGIApp:
    """The page and what it asks for, as an ASGI application.

    Parameters
    ----------
    worker
        Does what is asked for.
    token
        First part of every path.
    hosts
        Values of the header ``Host`` that are let through, in lower case.
    ending
        Whether requests that wait should come to an end.
    """
    def reply(values: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(values, status, headers=_HEADERS)

    def file(name: str) -> Callable[[Request], Awaitable[Response]]:
        path, kind = _FILES[name]
        content = (_PAGE / path).read_bytes()

        async def answer(_: Request) -> Response:
            return Response(content, media_type=kind, headers=_HEADERS)
        return answer

    def view(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            return reply(worker.view(name))
        return answer

    async def state(request: Request) -> Response:
        """The state, as soon as its revision is another than that the page has, or after some seconds."""
        try:
            known = int(request.query_params.get("known", "0")[:18])
        except ValueError:
            return reply({"error": "known: is no number"}, 400)
        worker.looked()
        for _ in range(round(_STATE_SECONDS / _LOOK_SECONDS)):
            if worker.state["revision"] != known or ending():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return reply(worker.state)

    def command(fields: dict[str, type], do: Callable[[dict[str, Any]], None]
                ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                do(parse_body(await _body(request), fields))
            except InputError as error:
                return reply({"error": str(error)}, 400)
            except _BodyTooLarge:
                return reply({"error": f"body: more than {BODY_MAX:,} bytes"}, 413)
            except TimeoutError:
                return reply({"error": "body: came too slowly"}, 408)
            except ClientDisconnect:
                return reply({"error": "body: incomplete"}, 400)
            except Busy as busy:
                return reply({"error": str(busy)}, 409)
            return reply({}, 202)
        return answer

    def label(given: dict[str, Any]) -> int:
        classes = worker.state["model"]["classes"]
        if not 0 <= given["label"] < classes:
            raise InputError(f"label: {given['label']} is out of bounds, must be 0..{classes - 1}")
        return int(given["label"])

    def rate_shift(given: dict[str, Any]) -> int:
        low, high = worker.state["model"]["rate_shifts"]
        if not low <= given["rate_shift"] <= high:
            raise InputError(f"rate_shift: {given['rate_shift']} is out of bounds, must be {low}..{high}")
        return int(given["rate_shift"])

    commands = {
        "draw": command({"size": int, "pixels": str}, lambda given: worker.ask(parse_drawing(given))),
        "test-image": command({}, lambda _: worker.ask_test_image()),
        "teach": command({"label": int, "until_known": bool},
                         lambda given: worker.teach(label(given), until_known=given["until_known"])),
        "end-lesson": command({}, lambda _: worker.end_lesson()),
        "undo": command({}, lambda _: worker.undo()),
        "reset": command({}, lambda _: worker.reset()),
        "load": command({}, lambda _: worker.load()),
        "save": command({}, lambda _: worker.save()),
        "meter": command({"running": bool}, lambda given: worker.measure(given["running"])),
        "rate": command({"rate_shift": int}, lambda given: worker.set_rate_shift(rate_shift(given))),
    }
    app = Starlette(routes=[
        *(Route(f"/{token}/{name}", file(name), methods=["GET"]) for name in _FILES),
        Route(f"/{token}/state", state, methods=["GET"]),
        *(Route(f"/{token}/{name}", view(name), methods=["GET"]) for name in ("answer", "weights", "lessons")),
        *(Route(f"/{token}/{name}", answer, methods=["POST"]) for name, answer in commands.items()),
    ])
    return _Guard(app, token=token, hosts=hosts)


class Server:
    """The page, served on 127.0.0.1.

    Parameters
    ----------
    worker
        Does what is asked for; not started here.
    port
        TCP port; 0 takes a free one.

    Raises
    ------
    InputError
        The port is taken.
    """

    def __init__(self, worker: Worker, *, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", port))
            self._socket.listen(CONNECTIONS_MAX)    # whoever is told the address may come before run()
        except OSError as error:
            self._socket.close()
            raise InputError(f"port {port}: cannot be served ({error.strerror}); choose another, or none") from None
        self.port: int = self._socket.getsockname()[1]
        self.token = secrets.token_urlsafe(24)
        self.address = f"http://127.0.0.1:{self.port}/{self.token}/"
        """Where the page is; whoever knows it may use it."""
        app = application(worker, token=self.token,
                          hosts=frozenset(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")),
                          ending=lambda: self._server.should_exit)
        self._server = uvicorn.Server(uvicorn.Config(
            app, log_config=None, log_level="critical", access_log=False, lifespan="off", ws="none", http="h11",
            loop="asyncio", proxy_headers=False, server_header=False, limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=10, timeout_graceful_shutdown=2, h11_max_incomplete_event_size=1 << 14))

    def run(self) -> None:
        """Serve until :meth:`stop`, or an interrupt."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Let :meth:`run` end; may be called from any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
