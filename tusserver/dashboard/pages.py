"""The dashboard over HTTP: its page, what the page is made of, the events, and what its buttons do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tusserver.admin import Answer, Operations, answered, json_answer, said
from tusserver.admin_token import TooManyGuesses
from tusserver.dashboard.access import Access
from tusserver.dashboard.feed import Feed
from tusserver.engine import Engine

PATH: Final = "/dashboard"
STATIC: Final = Path(__file__).parent / "static"
ASSETS: Final = {
    "app.js": "text/javascript",
    "chart.js": "text/javascript",
    "text.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
LARGEST_FORM: Final = 4096
FORM_SECONDS: Final = 10.0
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
CLOSING: Final = {"Connection": "close"}
WRONG_TOKEN: Final = "That is not the admin token of this server."
NOT_LOCAL: Final = (
    "Without an admin token the dashboard opens only on the server's own machine, at localhost and without a proxy: "
    "start the server with --admin-token, and open it again."
)

Endpoint = Callable[[Request], Awaitable[Response]]


class EventStream(StreamingResponse):
    """The events for one viewer, who counts as watching while the answer lasts."""

    def __init__(self, feed: Feed) -> None:
        # A proxy that collects an answer before it passes it on would show nothing
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        super().__init__(feed.events(), media_type="text/event-stream", headers=headers)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the viewer leaves or the server stops."""
        with self._feed.watched():
            await super().__call__(scope, receive, send)


class Dashboard:
    """The routes; they raise TooManyGuesses."""

    def __init__(self, engine: Engine, feed: Feed, access: Access) -> None:
        self._operations = Operations(engine)
        self._feed = feed
        self._access = access
        self._texts = {path.name: path.read_bytes() for path in STATIC.iterdir()}

    def routes(self) -> list[Route]:
        """What to mount at the root."""
        one = f"{PATH}/uploads/{{upload_id}}"
        do = self._operations
        return [
            Route(PATH, self._page, methods=["GET"]),
            Route(f"{PATH}/login", self._login, methods=["POST"]),
            Route(f"{PATH}/logout", self._logout, methods=["POST"]),
            Route(f"{PATH}/events", self._events, methods=["GET"]),
            Route(f"{PATH}/uploads", self._reading(do.list), methods=["GET"]),
            Route(one, self._reading(do.show), methods=["GET"]),
            Route(f"{one}/cancel", self._acting(do.cancel), methods=["POST"]),
            Route(f"{one}/unlock", self._acting(do.unlock), methods=["POST"]),
            Route(f"{PATH}/{{asset}}", self._asset, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        if self._access.may_see(request):
            return self._html("index.html", "" if self._access.by_token else "hidden")
        return self._login_page() if self._access.by_token else self._html("denied.html", NOT_LOCAL, 403)

    async def _login(self, request: Request) -> Response:
        if not self._access.may_act(request):
            return _forbidden()
        try:
            async with asyncio.timeout(FORM_SECONDS):
                body = await _form(request)
        except TimeoutError:
            return json_answer(said("timeout", "The form did not arrive in time; send it again."), 408, CLOSING)
        if body is None:
            return json_answer(said("too_large", "Send the form with the admin token, and nothing else."), 413, CLOSING)
        form = parse_qs(body.decode("utf-8", "replace"))
        try:
            if not self._access.knows(form.get("token", [""])[0], request):
                return self._login_page(WRONG_TOKEN)
        except TooManyGuesses as error:
            return self._html("login.html", error.text, 429, error.headers)
        response = self._back()
        self._access.let_in(request, response)
        return response

    async def _logout(self, request: Request) -> Response:
        if not self._access.may_act(request):
            return _forbidden()
        response = self._back()
        self._access.let_out(request, response)
        return response

    async def _events(self, request: Request) -> Response:
        if not self._access.may_see(request):
            return _unauthorized()
        if self._feed.full:
            return json_answer(said("too_many_viewers", "Too many people watch; close a dashboard and try again."), 503)
        return EventStream(self._feed)

    def _reading(self, work: Callable[[Request], Awaitable[Answer]]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await answered(work, request) if self._access.may_see(request) else _unauthorized()

        return endpoint

    def _acting(self, work: Callable[[Request], Awaitable[Answer]]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            if not self._access.may_see(request):
                return _unauthorized()
            return await answered(work, request) if self._access.may_act(request) else _forbidden()

        return endpoint

    async def _asset(self, request: Request) -> Response:
        """The same for everybody: there is nothing in it that is not in the package."""
        name = str(request.path_params["asset"])
        if name not in ASSETS:
            return json_answer(said("not_found", "There is no such thing here."), 404)
        return Response(self._texts[name], media_type=ASSETS[name], headers={**HEADERS, "Cache-Control": "no-cache"})

    def _login_page(self, error: str = "") -> Response:
        return self._html("login.html", error, 401)

    def _html(
        self, name: str, sentence: str = "", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        text = self._texts[name].decode().replace("{{sentence}}", sentence)
        return Response(text, status, media_type="text/html", headers={**HEADERS, **(headers or {})})

    def _back(self) -> Response:
        """To the page, wherever this application is mounted: both forms are sent to what lies beside the events."""
        headers: dict[str, Any] = {"Cache-Control": "no-store"}
        return RedirectResponse("../dashboard", 303, headers=headers)


async def _form(request: Request) -> bytes | None:
    """The body; None where it is too large."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > LARGEST_FORM:
            return None
    return body


def _unauthorized() -> Response:
    return json_answer(said("unauthorized", "Open the dashboard and enter the admin token."), 401)


def _forbidden() -> Response:
    return json_answer(said("forbidden", "Press the button on the dashboard's own page."), 403)
