"""A real server in a process of its own, and what talks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess


@pytest.fixture
def start(tmp_path: Path, way: str) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers; each keyword is a setting, as the environment variable ``TUSSERVER_<NAME>`` would give it."""
    servers: list[ServerProcess] = []

    def starter(**settings: object) -> ServerProcess:
        server = ServerProcess(tmp_path, {"direct": way == "direct", **settings})
        servers.append(server)
        server.start()
        return server

    yield starter
    for server in servers:
        server.stop()


@pytest.fixture
def server(start: Callable[..., ServerProcess]) -> ServerProcess:
    """One server with its defaults."""
    return start()
