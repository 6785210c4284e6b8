"""``tusserver serve``: uvicorn with the connections of ``tusserver.connection``, and its workers."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import gc
import inspect
import logging
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess

from tusserver.accepting import loop
from tusserver.app import TusApp, build_engine, create_app
from tusserver.connection import PlainProtocol, UploadProtocol
from tusserver.listening import BACKLOG, CannotServe, listening
from tusserver.logs import configure, lean, log_config
from tusserver.protocol.refusals import Refusal
from tusserver.settings import Settings, WrongSetting
from tusserver.shares import make

log = logging.getLogger("tusserver.server")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
COLLECTING = (10_000, 20, 50)
"""After how many new objects the garbage collector looks at the young ones, and how often at older ones with them."""


class Config(uvicorn.Config):
    """uvicorn's. ``shares``: where several workers count their connections; see ``tusserver.accepting``."""

    shares: Path | None = None

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """The event loop of a process."""
        return super().get_loop_factory() if self.shares is None else functools.partial(loop, self.shares)


class Workers(Multiprocess):
    """uvicorn's, for whom nobody waits in vain once they are told to stop."""

    def terminate_all(self) -> None:
        """Tell them; with the last one's socket the queue of those who have connected is closed."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def serve(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code. Raises CannotServe with a sentence."""
    configure(settings.log_format, settings.log_level)
    _check(settings)
    config = Config(
        functools.partial(_application, settings),
        factory=True,
        http=protocol(settings.direct),
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
    with listening(settings) as listener, _common(settings) as config.shares:
        log.info("serving uploads at %s", address(settings, listener))
        try:
            _run(config, listener)
        finally:
            log.info("stopped; uploads that were being received can be continued")
    return 0


def protocol(direct: bool) -> type[asyncio.Protocol] | str:
    """What uvicorn is to speak HTTP with: ours, unless this uvicorn is built differently, and then its own."""
    if not _is_known(HttpToolsProtocol, ServerState):
        log.warning(
            "uvicorn %s is built in another way than tusserver knows; uploads work, but slower, and a shutdown waits "
            "for them. Install the uvicorn that tusserver asks for.",
            uvicorn.__version__,
        )
        return "auto"
    return UploadProtocol if direct else PlainProtocol


def _is_known(connection: type, state: type) -> bool:
    """Whether a protocol class is given what ours leans on."""
    given = inspect.signature(connection).parameters.keys()
    shared = vars(state())
    return {"config", "server_state", "app_state", "_loop"} <= given and all(
        isinstance(shared.get(name), kind)
        for name, kind in {"connections": set, "tasks": set, "default_headers": list}.items()
    )


def _application(settings: Settings) -> TusApp:
    """The application of one process. Each block of a body is a large allocation; unless told otherwise, glibc gives
    its memory back to the kernel and takes it again, and the page faults cost more than the copying. The garbage
    collector leaves what the start has made alone, and looks less often: requests leave next to no cycles behind."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024)
    lean()
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTING)
    return app


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    if config.workers > 1:
        return Workers(config, sockets=[listener]).run()
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
def _common(settings: Settings) -> Iterator[Path | None]:
    """Where several workers count their connections. Their metrics meet beside it, so that /metrics speaks for all of
    them whichever answers."""
    if settings.workers == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tusserver-workers-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        shares = Path(directory) / "connections"
        make(shares, settings.workers)
        yield shares
