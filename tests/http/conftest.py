"""One server for a whole module, and a raw connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import server_of
from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess
from tests.http.wire import Wire


@pytest.fixture(scope="module")
def way(request: pytest.FixtureRequest) -> str:
    """That of all tests, for a whole module."""
    return str(getattr(request, "param", "direct"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, way: str) -> Iterator[ServerProcess]:
    """A server with its defaults, but for a maximum size."""
    server = server_of(way, tmp_path_factory.mktemp("server"), {"max_size": "20MB"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Callable[[], Wire]]:
    """Connections below HTTP."""
    wires: list[Wire] = []

    def connector() -> Wire:
        wires.append(Wire(server.port))
        return wires[-1]

    yield connector
    for wire in wires:
        wire.close()
