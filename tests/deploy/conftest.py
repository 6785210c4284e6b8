"""Three servers that share sessions and bytes, and a proxy in front of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import PROXIES, ProxyProcess
from tests.e2e.server import ServerProcess, wait_for


@contextlib.contextmanager
def in_front(kind: str, directory: Path, **settings: object) -> Iterator[ProxyProcess]:
    """A proxy that passes requests on to three servers; they are its ``pods``."""
    given = {"trusted_proxies": "127.0.0.1", **settings}
    place = directory / kind
    place.mkdir()
    pods = [ServerProcess(directory, given, name=f"pod-{number}") for number in (1, 2, 3)]
    proxy = ProxyProcess(place, pods, PROXIES[kind])
    try:
        for pod in pods:
            pod.start()
        proxy.start()
        wait_for(lambda: pods[0].passes(proxy.url), what="the proxy to pass requests on")
        yield proxy
    finally:
        proxy.stop()
        for pod in pods:
            pod.stop()


@pytest.fixture(scope="module", params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy whose servers live as long as the module's tests: for those that harm nothing."""
    with in_front(kind, tmp_path_factory.mktemp("deploy"), admin_token="for-operators-only") as proxy:
        yield proxy


@pytest.fixture
def settings() -> dict[str, object]:
    """Settings of the servers that are one test's own."""
    return {}


@pytest.fixture
def proxy(kind: str, tmp_path: Path, settings: dict[str, object]) -> Iterator[ProxyProcess]:
    """A proxy and servers that are one test's own."""
    with in_front(kind, tmp_path, **settings) as process:
        yield process
