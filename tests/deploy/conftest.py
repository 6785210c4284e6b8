"""Three servers that share sessions and bytes, and a proxy in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import PROXIES, ProxyProcess
from tests.e2e.server import ServerProcess, wait_for


@pytest.fixture(params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy."""
    return str(request.param)


@pytest.fixture
def settings() -> dict[str, object]:
    """What the pods are told beyond where things are; a test may ask for more."""
    return {"trusted_proxies": "127.0.0.1"}


@pytest.fixture
def pods(tmp_path: Path, settings: dict[str, object]) -> Iterator[list[ServerProcess]]:
    """Three servers."""
    servers = [ServerProcess(tmp_path, settings, name=f"pod-{number}") for number in (1, 2, 3)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def proxy(tmp_path: Path, pods: list[ServerProcess], kind: str) -> Iterator[ProxyProcess]:
    """The proxy in front of the three; it passes requests on already."""
    directory = tmp_path / kind
    directory.mkdir()
    process = ProxyProcess(directory, pods, PROXIES[kind])
    process.start()
    try:
        wait_for(lambda: pods[0].passes(process.url), what="the proxy to pass requests on")
        yield process
    finally:
        process.stop()
