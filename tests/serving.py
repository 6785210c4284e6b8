"""An application served by stock uvicorn in a thread, as an embedding application would be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from tests.e2e.server import wait_for


async def _nothing() -> None:
    return None


@contextlib.contextmanager
def serving(
    app: Any,
    *,
    lifespan: bool = True,
    http: Any = "auto",
    keep_alive: int = 5,
    before: Callable[[], Awaitable[None]] = _nothing,
    after: Callable[[], Awaitable[None]] = _nothing,
) -> Iterator[str]:
    """Serve on a free port; the URL of the root. ``http``: the connection's class, where it is not uvicorn's own.
    ``keep_alive``: seconds after which one that is not used is closed. ``before`` and ``after`` run in the server's
    event loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        http=http,
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        await before()
        await server.serve(sockets=[listener])
        await after()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), what="uvicorn to start")
        assert server.started
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the application did not end"
