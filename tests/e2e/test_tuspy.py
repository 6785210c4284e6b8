"""tuspy against the server, over good connections and bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import Client, assert_same, source, tuspy
from tests.e2e.proxy import Proxy
from tests.e2e.server import ServerProcess, metadata, wait_for

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture(scope="module")
def command() -> list[str]:
    return tuspy()


def job(url: str, path: Path, more: dict[str, Any] | None = None, **options: object) -> dict[str, Any]:
    return {"url": url, "path": str(path), "options": options, **(more or {})}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        pytest.param(0, {}, id="empty"),
        pytest.param(5 * MIB + 7, {}, id="plain"),
        pytest.param(200 * KIB + 7, {"chunk_size": 4 * KIB}, id="4-KiB-parts"),
        pytest.param(5 * MIB + 7, {"chunk_size": 2 * MIB}, id="2-MiB-parts"),
        pytest.param(5 * MIB + 7, {"upload_checksum": True}, id="checksum"),
        pytest.param(5 * MIB + 7, {"upload_checksum": True, "chunk_size": MIB}, id="checksums"),
    ],
)
@pytest.mark.requirement("CREA-13", "CREA-28", "CORE-35", "CORE-36")
def test_the_bytes_arrive(
    command: list[str],
    server: ServerProcess,
    tmp_path: Path,
    size: int,
    options: dict[str, Any],
    asynchronous: bool,
) -> None:
    path = source(tmp_path, size)
    with Client(command, job(server.url, path, {"asynchronous": asynchronous}, **options)) as client:
        url = client.finish()
    assert client.events[-1]["offset"] == size
    assert_same(server, url, path)


@pytest.mark.parametrize(
    ("values", "echoed"),
    [({}, ""), ({"filename": "Grüße.bin", "note": "a"}, metadata(filename="Grüße.bin", note="a"))],
    ids=["none", "some"],
)
@pytest.mark.requirement("CREA-24")
def test_metadata(
    command: list[str], server: ServerProcess, tmp_path: Path, values: dict[str, str], echoed: str
) -> None:
    """tuspy sends the header always, empty when there is nothing to say."""
    with Client(command, job(server.url, source(tmp_path, 10), metadata=values)) as client:
        url = client.finish()
    assert server.head(url).headers.get("Upload-Metadata", "") == echoed


@pytest.mark.requirement("CORE-19", "CORE-25")
def test_another_process_resumes_what_was_stopped(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 5 * MIB)
    storage = {"storage": str(tmp_path / "urls.json")}
    with Client(command, job(server.url, path, {**storage, "stop_at": 2 * MIB + 1})) as client:
        first = client.until("stopped")
    assert server.offset(first["url"]) == 2 * MIB + 1
    with Client(command, job(server.url, path, storage)) as client:
        assert client.until("begun")["offset"] == 2 * MIB + 1
        assert client.finish() == first["url"]
    assert_same(server, first["url"], path)


@pytest.mark.requirement("CORE-38", "CORE-41")
def test_another_process_resumes_what_was_killed(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 32 * MIB)
    storage = {"storage": str(tmp_path / "urls.json")}
    with Proxy(server.port, rate=16 * MIB) as proxy:
        with Client(command, job(proxy.url, path, storage)):
            wait_for(lambda: proxy.passed > 12 * MIB)
        proxy.rate = None
        with Client(command, job(proxy.url, path, storage)) as client:
            assert client.until("begun")["offset"] > 10 * MIB
            url = client.finish()
    assert_same(server, url, path)


@pytest.mark.requirement("CORE-38")
def test_the_server_restarts_on_the_way(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 32 * MIB)
    with Proxy(server.port, rate=16 * MIB) as proxy:
        with Client(command, job(proxy.url, path, retries=100, retry_delay=0.1)) as client:
            wait_for(lambda: proxy.passed > 20 * MIB)
            server.kill()
            server.start()
            proxy.rate = None
            url = client.finish()
        assert proxy.passed < 50 * MIB  # what had been confirmed is not sent again
    assert_same(server, url, path)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize(
    ("reach", "options"),
    [(3 * MIB, {}), (3 * MIB // 2, {"chunk_size": MIB, "upload_checksum": True})],
    ids=["plain", "checksums"],
)
@pytest.mark.requirement("CORE-38", "CORE-41")
def test_through_a_bad_network(
    command: list[str],
    server: ServerProcess,
    tmp_path: Path,
    reach: int,
    options: dict[str, Any],
    asynchronous: bool,
) -> None:
    path = source(tmp_path, 16 * MIB)
    told = job(server.url, path, {"asynchronous": asynchronous}, retries=100, retry_delay=0.01, **options)
    with Proxy(server.port, seed=1, reach=reach) as proxy:
        with Client(command, {**told, "url": proxy.url}) as client:
            url = client.finish()
        assert proxy.cuts >= 5
    assert_same(server, url, path)
