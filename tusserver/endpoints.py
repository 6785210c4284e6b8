"""ASGI request -> dialect -> engine -> dialect -> ASGI response, for the base path and every upload below it.

The one place where statuses, headers, CORS, the log line and the metrics of a request come together. Nothing of a
body is read before the request has been accepted, so that ``Expect: 100-continue`` is answered only then, and a
refused body does not cost the client its upload time (AMB-35).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

from tusserver import downloads
from tusserver.body import RequestBody
from tusserver.cors import Cors
from tusserver.engine import Engine
from tusserver.exchange import (
    DIRECT,
    TRAILERS,
    Exchange,
    Scope,
    Send,
    awaits_continue,
    decoded,
    has_body,
    on_the_wire,
    sent_whole,
)
from tusserver.hooks import NOBODY, Caller
from tusserver.logs import tell
from tusserver.metrics import Metrics
from tusserver.origin import Origin
from tusserver.protocol.commands import (
    Append,
    Command,
    Create,
    Describe,
    Described,
    Inspect,
    Inspected,
    Outcome,
    Terminate,
)
from tusserver.protocol.dialect import Dialect
from tusserver.protocol.headers import is_upload_id
from tusserver.protocol.messages import Request, Response, by_name
from tusserver.protocol.refusals import HeadersTooLarge, Refusal, ShuttingDown, UploadNotFound
from tusserver.protocol.tus1 import method_of
from tusserver.protocol.upload import Upload
from tusserver.recent import Recent

log = logging.getLogger("tusserver.requests")

Receive = Callable[[], Awaitable[Any]]

LINGER_BYTES = 1024 * 1024
LINGER_SECONDS = 1.0


class Uploads:
    """The ASGI application of the base path. Give it as the endpoint of routes with the path parameter
    ``upload_id`` (empty on the base path itself). ``max_header`` bounds the bytes of all request headers together."""

    def __init__(
        self,
        engine: Engine,
        dialects: Sequence[Dialect],
        *,
        origin: Origin,
        cors: Cors,
        metrics: Metrics,
        recent: Recent,
        base_path: str,
        idle_timeout: float,
        max_header: int,
        inline_types: frozenset[str] | None,
    ) -> None:
        self._engine = engine
        engine.made = recent.receiving  # not only once the body that came along has ended
        self._dialects = dialects
        self._origin = origin
        self._cors = cors
        self._metrics = metrics
        self._recent = recent
        self._base_path = base_path
        self._idle_timeout = idle_timeout
        self._max_header = max_header
        self._inline_types = inline_types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is."""
        exchange = self._exchange(scope, receive)
        dialect = self._dialect(exchange.request)
        try:
            self._check_size(scope)
            if exchange.method == "GET" and self._inline_types is not None and exchange.request.upload_id:
                return await self._download(exchange, dialect, receive, send)
            response = await self._carry_out(exchange, dialect)
        except Refusal as refusal:
            exchange.code = refusal.code
            response = dialect.refuse(refusal, exchange.request)
            if refusal.upload is not None:
                exchange.until = refusal.upload.offset
        except Exception:
            log.exception("request failed", extra={"method": exchange.method, "upload": exchange.upload_id})
            exchange.code = "internal_error"
            response = _internal_error()
        await self._answer(exchange, response, send)

    # Reading the request

    def _dialect(self, request: Request) -> Dialect:
        for dialect in self._dialects:
            if dialect.speaks(request):
                return dialect
        return self._dialects[0]

    def _exchange(self, scope: Scope, receive: Receive) -> Exchange:
        fields, repeated = by_name(decoded(scope["headers"]))
        extensions = scope.get("extensions", {})
        request = Request(
            method=scope["method"],
            upload_id=scope["path_params"]["upload_id"] or None,
            fields=fields,
            repeated=repeated,
            base_url=self._origin.base_url(scope, fields, self._base_path),
            has_body=has_body(fields),
            trailers=TRAILERS in extensions,
        )
        return Exchange(
            scope=scope,
            request=request,
            method=method_of(request),
            client=self._origin.client(scope),
            body=RequestBody(receive, idle_timeout=self._idle_timeout, direct=extensions.get(DIRECT)),
        )

    def _check_size(self, scope: Scope) -> None:
        if sum(map(len, chain.from_iterable(scope["headers"]))) > self._max_header:
            raise HeadersTooLarge

    # Carrying it out

    async def _carry_out(self, exchange: Exchange, dialect: Dialect) -> Response:
        request = exchange.request
        command = dialect.parse(request)
        if request.trailers and "trailer" in request.fields:  # what was not announced counts for nothing
            trailers = exchange.scope["extensions"][TRAILERS]
            exchange.body.trailer = lambda: dialect.parse_trailers(decoded(trailers))
        try:
            outcome = await self._outcome(command, exchange)
        except asyncio.CancelledError:
            # At the end of the grace period the server cancels what still waits, most likely for a store
            if self._engine.draining:
                raise ShuttingDown from None
            raise
        response = dialect.render(outcome, request)
        if isinstance(outcome, Inspected) and outcome.upload.completed and self._inline_types is not None:
            response = response.with_headers(downloads.representation(outcome.upload, self._inline_types))
        return response

    async def _outcome(self, command: Command, exchange: Exchange) -> Outcome:
        caller = self._caller(exchange)
        match command:
            case Create():
                if caller is NOBODY:
                    caller = Caller(client=exchange.client)
                created = await self._engine.create(command, exchange.body, caller)
                self._note(exchange, created.upload, since=0)
                return created
            case Append():
                exchange.upload_id = command.upload_id
                self._recent.receiving(command.upload_id, exchange.client)
                appended = await self._engine.append(command, exchange.body, caller)
                self._note(exchange, appended.upload, since=command.offset)
                return appended
            case Inspect():
                exchange.upload_id = command.upload_id
                inspected = await self._engine.inspect(command, caller)
                self._note(exchange, inspected.upload)
                return inspected
            case Terminate():
                exchange.upload_id = command.upload_id
                terminated = await self._engine.terminate(command, caller)
                self._note(exchange, terminated.upload)
                return terminated
            case Describe():
                return Described()

    async def _download(self, exchange: Exchange, dialect: Dialect, receive: Receive, send: Send) -> None:
        upload_id = exchange.request.upload_id or ""
        if not is_upload_id(upload_id):
            raise UploadNotFound
        upload = self._engine.place.reachable(await self._engine.find(upload_id, self._caller(exchange)))
        self._note(exchange, upload)
        plan = downloads.plan(upload, exchange.request.fields, self._inline_types or frozenset())
        inspected = dialect.render(Inspected(upload=upload), exchange.request)
        plan = plan.with_headers(
            (name.lower().encode(), value.encode()) for name, value in inspected.headers if name != "Cache-Control"
        )
        plan = plan.with_headers(on_the_wire(self._cors.headers(exchange.request)))
        blocks = self._engine.storage.read(upload, plan.start, plan.stop)
        await downloads.send(plan, blocks, receive, send)
        self._record(exchange, plan.status)

    def _caller(self, exchange: Exchange) -> Caller:
        if not self._engine.heard:
            return NOBODY
        return Caller(
            method=exchange.method,
            client=exchange.client,
            headers=dict(exchange.request.fields),
            scope=exchange.scope,
        )

    # Answering

    async def _answer(self, exchange: Exchange, response: Response, send: Send) -> None:
        request = exchange.request
        headers = [*response.headers, *self._cors.headers(request)]
        if response.status not in (204, 304) and request.method != "HEAD":
            headers.append(("Content-Length", str(len(response.body))))
        self._record(exchange, response.status)
        unread = request.has_body and not exchange.body.complete
        if not unread and sent_whole(send, response.status, headers, response.body):
            return
        if unread and exchange.scope.get("http_version", "1.1").startswith("1"):
            headers.append(("Connection", "close"))
        await send({"type": "http.response.start", "status": response.status, "headers": on_the_wire(headers)})
        if unread and not awaits_continue(exchange):
            await send({"type": "http.response.body", "body": response.body, "more_body": True})
            seconds = LINGER_SECONDS / 4 if self._engine.draining else LINGER_SECONDS
            await exchange.body.drain(LINGER_BYTES, seconds)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send({"type": "http.response.body", "body": response.body, "more_body": False})

    def _note(self, exchange: Exchange, upload: Upload, since: int | None = None) -> None:
        exchange.upload_id = upload.id
        exchange.since = since
        exchange.until = upload.offset

    def _record(self, exchange: Exchange, status: int) -> None:
        seconds = time.perf_counter() - exchange.started
        self._metrics.requested(exchange.method, status, seconds, exchange.code)
        if exchange.code is not None:
            asked = exchange.upload_id or exchange.request.upload_id
            known = asked if asked and is_upload_id(asked) else None
            self._recent.refused(
                exchange.code, status=status, method=exchange.method, upload=known, client=exchange.client
            )
        fields: dict[str, Any] = {} if exchange.upload_id is None else {"upload": exchange.upload_id}
        fields["status"] = status
        fields["outcome"] = exchange.code or "ok"
        if exchange.since is not None:
            fields["since"] = exchange.since
        if exchange.until is not None:
            fields["until"] = exchange.until
        if exchange.body.received:
            fields["bytes"] = exchange.body.received
        fields["seconds"] = int(seconds * 10_000) / 10_000
        fields["client"] = exchange.client
        tell(log, exchange.method, fields)


def _internal_error() -> Response:
    message = "Something went wrong here; it has been logged. Try again later."
    return Response(
        status=500,
        headers=(("Tus-Resumable", "1.0.0"), ("Content-Type", "application/json"), ("Cache-Control", "no-store")),
        body=json.dumps({"error": "internal_error", "message": message}).encode(),
    )
