"""``tusserver serve``: uvicorn, with a connection that saves uploads at shutdown and loses nothing that it received.

What ``UploadProtocol`` changes of stock uvicorn, each tested against the versions that ``pyproject.toml`` allows:

* A shutdown first interrupts the uploads, which are saved and answered; uvicorn would wait for them to end.
* ``receive()`` hands out what has arrived before it says that the client has gone; uvicorn drops it.
* Request trailers come in a list of their own (the ASGI extension ``tusserver.trailers``); uvicorn adds them to the
  headers, where a client could add any header after these were checked.
* The head of a request is bounded in bytes and in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import os
import signal
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from tusserver.app import TusApp, build_engine, create_app
from tusserver.endpoints import TRAILERS
from tusserver.logs import configure, log_config
from tusserver.protocol.refusals import Refusal
from tusserver.settings import Settings, WrongSetting

log = logging.getLogger("tusserver.server")

MAX_HEAD = 256 * 1024
MAX_TRAILERS = 8 * 1024
HEAD_SECONDS = 30.0
BACKLOG = 2048
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class CannotServe(Exception):
    """Why the server does not start: one sentence that says what to do."""


class UploadCycle(RequestResponseCycle):
    """One request and its response."""

    async def receive(self) -> Any:
        """The next ASGI event; a disconnect only once everything that arrived has been handed out."""
        message = await super().receive()
        if message["type"] == "http.disconnect" and self.body and not self.response_complete:
            body, self.body = bytes(self.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": self.more_body}
        return message


class UploadProtocol(HttpToolsProtocol):
    """One connection."""

    _head: int | None = None
    _trailers: list[tuple[bytes, bytes]] | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; it has HEAD_SECONDS to say what it wants."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._unset_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, "The request's headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0
        self._trailers = None
        if self._deadline is None:
            self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer."""
        if self._trailers is None:
            return super().on_header(name, value)
        self._trailers.append((name.lower(), value))
        if sum(len(each) + len(said) for each, said in self._trailers) > MAX_TRAILERS:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is complete; the application is started."""
        self._head = None
        self._unset_deadline()
        self._trailers = []
        cast(dict[str, Any], self.scope)["extensions"] = {TRAILERS: self._trailers}
        super().on_headers_complete()
        # uvicorn looks its class up in its own module; the instance has not been used yet
        self.cycle.__class__ = UploadCycle

    def shutdown(self) -> None:
        """The server is stopping."""
        super().shutdown()
        app = self.config.loaded_app
        if isinstance(app, TusApp):
            app.begin_drain()

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, "The request's headers did not arrive in time.")

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, message: str) -> None:
        body = message.encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close"
        self.transport.write(head.encode() + b"\r\n\r\n" + body)
        self.transport.close()


def serve(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code. Raises CannotServe with a sentence."""
    configure(settings.log_format, settings.log_level)
    _check(settings)
    config = uvicorn.Config(
        functools.partial(_application, settings),
        factory=True,
        http=UploadProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        workers=settings.workers,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=log_config(settings.log_format, settings.log_level),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        backlog=BACKLOG,
    )
    with _listening(settings) as listener, _shared_metrics(settings):
        log.info("serving uploads at %s", address(settings, listener))
        try:
            _run(config, listener)
        finally:
            log.info("stopped; uploads that were being received can be continued")
    return 0


def _application(settings: Settings) -> TusApp:
    """The application of one process. Each block of a body is a large allocation; unless told otherwise, glibc gives
    its memory back to the kernel and takes it again, and the page faults cost more than the copying."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024)
    return create_app(settings)


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    if config.workers > 1:
        return Multiprocess(config, sockets=[listener]).run()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, _leave)
    uvicorn.Server(config).run(sockets=[listener])


def address(settings: Settings, listener: socket.socket) -> str:
    """The URL of the base path, for a person to open."""
    path = settings.base_path.rstrip("/")
    if settings.public_url:
        return settings.public_url.rstrip("/") + path
    if settings.unix_socket:
        return f"unix:{settings.unix_socket} (path {path or '/'})"
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def _check(settings: Settings) -> None:
    """Find out now, with a sentence, what would otherwise fail in each worker with a stack trace."""

    async def open_stores() -> None:
        engine = build_engine(settings)
        try:
            await engine.start()
        finally:
            await engine.stop()

    try:
        asyncio.run(open_stores())
    except WrongSetting as error:
        raise CannotServe(str(error)) from error
    except Refusal as refusal:
        raise CannotServe(refusal.text) from refusal
    if settings.tls_certificate:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                settings.tls_certificate, settings.tls_key
            )
        except (OSError, ssl.SSLError) as error:
            raise CannotServe(f"The TLS certificate and key cannot be used: {error}.") from error


def _leave(signal_number: int, frame: object) -> None:
    """uvicorn raises the signal again once it has shut down: end in order, so that what was taken is given back."""
    raise SystemExit(0)


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    if settings.unix_socket is None:
        with _listen(settings.host, settings.port) as listener:
            yield listener
        return
    path = Path(settings.unix_socket)
    with _listen_at(path) as listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(where[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotServe(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose others with --host and --port."
        ) from error
    listener.set_inheritable(True)
    return listener


def _listen_at(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotServe(f"Cannot listen on {path}: {error.strerror}. Choose another with --unix-socket.") from error
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def _shared_metrics(settings: Settings) -> Iterator[None]:
    """Where the workers' metrics meet, so that /metrics speaks for all of them whichever answers."""
    if settings.workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tusserver-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        yield
