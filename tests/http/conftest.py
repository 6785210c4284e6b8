"""One server for a whole module, and a raw connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess
from tests.http.wire import Wire


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with its defaults, but for a maximum size."""
    server = ServerProcess(tmp_path_factory.mktemp("server"), {"max_size": "20MB"})
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
