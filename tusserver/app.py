"""create_app: wiring, no logic."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tusserver.admin import Admin
from tusserver.admin_token import AdminToken, TooManyGuesses, slow_down
from tusserver.bulletin import Board
from tusserver.cors import Cors
from tusserver.dashboard.access import Access
from tusserver.dashboard.feed import Feed
from tusserver.dashboard.pages import Dashboard
from tusserver.endpoints import Uploads
from tusserver.engine import Engine
from tusserver.hooks import Hooks
from tusserver.keeper import Timing
from tusserver.metrics import Metrics
from tusserver.origin import Origin
from tusserver.page import Page
from tusserver.protocol.refusals import Refusal
from tusserver.protocol.rules import Limits
from tusserver.protocol.tus1 import Tus1
from tusserver.recent import Recent
from tusserver.settings import Settings, WrongSetting
from tusserver.stores import open_byte_store, open_mongo, open_session_store
from tusserver.stores.base import ByteStore, SessionStore
from tusserver.sweeper import Sweeper


class TusApp(Starlette):
    """A Starlette application that serves uploads. Make one with ``create_app``.

    Served by itself, its lifespan starts and stops it. Mounted in another application, either enter ``app.running()``
    in that application's lifespan, or call ``start`` and ``stop``; a request that comes before is answered after a
    ``start`` of its own.
    """

    def __init__(self, settings: Settings, hooks: Hooks, mongo_client: Any = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.recent = Recent()
        self.engine = build_engine(settings, hooks, self.metrics, mongo_client)
        self.sweeper = build_sweeper(settings, self.engine.sessions, self.engine.storage, self.metrics)
        self.board = Board(
            self.engine.sessions, self.recent, holder=self.engine.holder, receiving=self.engine.receiving
        )
        self.feed = Feed(self.engine.sessions, self.board)
        self._starting = asyncio.Lock()
        self._sweeping: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._origin = Origin(settings.public_url, settings.trusted_proxies)
        base = settings.base_path.rstrip("/")
        self._below = _Below(base, self._receive_uploads)
        self._uploads = self._endpoint(base)
        routes = self._routes(base)
        self._overlaps = any(f"{getattr(route, 'path', '')}/".startswith(f"{base}/") for route in routes)
        super().__init__(
            routes=[*routes, self._below],
            exception_handlers={TooManyGuesses: slow_down},
            lifespan=lambda app: self.running(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Uploads go past Starlette's routing and error handling, which they do not need, unless somebody has added
        middleware."""
        if not self._overlaps and not self.user_middleware and scope["type"] == "http":
            upload_id = self._below.upload_id(scope)
            if upload_id is not None:
                scope["app"] = self
                scope["path_params"] = {"upload_id": upload_id}
                return await self._receive_uploads(scope, receive, send)
        await super().__call__(scope, receive, send)

    async def start(self) -> None:
        """Start what serves the requests; starting twice is fine. Raises StoreUnavailable."""
        if self._sweeping is not None:
            return
        async with self._starting:
            if self._sweeping is None:
                self.metrics.hand_over()  # what an event loop that has ended was about to
                await self.engine.start()
                self._sweeping = asyncio.create_task(self.sweeper.run())
                if self.settings.dashboard:
                    self._telling = asyncio.create_task(self.board.run())

    def begin_drain(self) -> None:
        """Refuse more work from now on, and have what is being received saved and answered (``ShuttingDown``), so
        that the process can end. ``stop`` waits for it."""
        self.feed.close()
        if self._draining is None:
            self._draining = asyncio.create_task(self.engine.drain())

    async def stop(self) -> None:
        """Drain, and stop everything; stopping what never started is fine."""
        self.feed.close()
        if self._telling is not None:
            self._telling.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await self.engine.stop()
            self._sweeping = None
            self.metrics.hand_over()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started inside, stopped after."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def _routes(self, base: str) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        if self.settings.metrics:
            routes.append(Route("/metrics", self._metrics, methods=["GET"]))
        named = self.settings.admin_token
        token = None if named is None else AdminToken(named, self._origin.client)
        if token is not None:
            routes += Admin(self.engine, token).routes()
        if self.settings.dashboard:
            routes += Dashboard(self.engine, self.feed, self._access(token)).routes()
        # uploads at the root leave no room for it
        if self.settings.page and base:
            routes += Page(base, self.settings.public_url).routes()
        return routes

    def _access(self, token: AdminToken | None) -> Access:
        settings = self.settings
        proxied = settings.public_url is not None or bool(settings.trusted_proxies)
        return Access(token, proxied=proxied, secure=(settings.public_url or "").startswith("https:"))

    async def _receive_uploads(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sweeping is None:
            await self.start()
        await self._uploads(scope, receive, send)

    def _endpoint(self, base: str) -> Uploads:
        settings = self.settings
        expires = settings.expire_after is not None or settings.expire_completed_after is not None
        return Uploads(
            self.engine,
            [Tus1(max_size=settings.max_size, max_metadata=settings.max_metadata, expires=expires)],
            origin=self._origin,
            cors=Cors(settings.cors_origins, settings.cors_credentials),
            metrics=self.metrics,
            recent=self.recent,
            base_path=base,
            idle_timeout=settings.idle_timeout,
            max_header=settings.max_header,
            inline_types=frozenset(settings.inline_types) if settings.downloads else None,
        )

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        try:
            await self.engine.ping()
        except Refusal as refusal:
            return JSONResponse({"status": "unavailable", "error": refusal.code, "message": refusal.text}, 503)
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        content_type, page = await self.metrics.render(self.engine.sessions)
        return Response(page, media_type=content_type)


class _Below(BaseRoute):
    """The base path, and whatever is below it: path patterns stop at line ends, which a path may have."""

    def __init__(self, base: str, app: ASGIApp) -> None:
        self._base = base
        self._below = f"{base}/"
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is the base path or below it; what is below is the path parameter ``upload_id``."""
        upload_id = self.upload_id(scope) if scope["type"] == "http" else None
        return (Match.NONE, {}) if upload_id is None else (Match.FULL, {"path_params": {"upload_id": upload_id}})

    def upload_id(self, scope: Scope) -> str | None:
        """What is below the base path in this request's path; None where it is another path."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(self._below):
            return path[len(self._below) :]
        return "" if path == self._base else None

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """There are no names here."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request over."""
        await self._app(scope, receive, send)


def create_app(settings: Settings | None = None, hooks: Hooks | None = None, *, mongo_client: Any = None) -> TusApp:
    """The tus server as a Starlette application. ``settings``: from the environment when left out. ``mongo_client``:
    the application's own client for what the settings keep in MongoDB, PyMongo's ``AsyncMongoClient`` or a Motor
    one. Raises WrongSetting."""
    return TusApp(settings or Settings(), hooks or Hooks(), mongo_client)


def build_engine(
    settings: Settings, hooks: Hooks | None = None, metrics: Metrics | None = None, mongo_client: Any = None
) -> Engine:
    """An engine over the stores that the settings name, not started yet. Raises WrongSetting."""
    sessions, storage = open_stores(settings, mongo_client)
    return Engine(
        sessions,
        storage,
        holder=f"{pod()}:{secrets.token_hex(4)}",
        limits=Limits(
            max_size=settings.max_size,
            expire_after=settings.expire_after,
            expire_completed_after=settings.expire_completed_after,
        ),
        timing=Timing(ttl=settings.lease_ttl, beat=settings.progress_every, patience=settings.patience),
        hooks=hooks or Hooks(),
        metrics=metrics or Metrics(),
        max_bodies=settings.max_uploads,
    )


def pod() -> str:
    """How people tell this process from others: its machine, and its number there."""
    return f"{socket.gethostname()}:{os.getpid()}"


def open_stores(settings: Settings, mongo_client: Any = None) -> tuple[SessionStore, ByteStore]:
    """The stores that the settings name, not started yet; they share one connection to MongoDB. Raises
    WrongSetting."""
    durable = settings.durability == "safe"
    client = mongo_client if mongo_client is not None else settings.mongo_url
    try:
        mongo = None if client is None else open_mongo(client, settings.db_name, durable=durable)
        return (
            open_session_store(settings.sessions, durable=durable, mongo=mongo, forget_after=settings.forget_after),
            open_byte_store(settings.storage, durable=durable, mongo=mongo),
        )
    except ValueError as error:
        raise WrongSetting(f"{error}.") from error


def build_sweeper(
    settings: Settings, sessions: SessionStore, storage: ByteStore, metrics: Metrics | None = None
) -> Sweeper:
    """A sweeper over these stores."""
    return Sweeper(
        sessions,
        storage,
        forget_after=settings.forget_after,
        every=settings.sweep_every,
        expired=metrics.expired if metrics else lambda: None,
    )
