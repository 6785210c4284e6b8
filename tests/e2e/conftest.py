"""A real server in a process of its own, and what talks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.measured import MeasuredServer
from tests.e2e.server import ServerProcess


def server_of(way: str, directory: Path, settings: dict[str, object]) -> ServerProcess:
    """A server that takes bodies in by this way (see the fixture of that name), not started yet."""
    if way == "claimed":
        return MeasuredServer(directory, settings, claims_all=True)
    return ServerProcess(directory, {"direct": way == "direct", **settings})


@pytest.fixture
def start(tmp_path: Path, way: str) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers; each keyword is a setting, as the environment variable ``TUSSERVER_<NAME>`` would give it."""
    servers: list[ServerProcess] = []

    def starter(**settings: object) -> ServerProcess:
        server = server_of(way, tmp_path, settings)
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
