"""tus-js-client against the server, over good connections and bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from tests.e2e.clients import Client, assert_same, source, tus_js
from tests.e2e.proxy import Proxy
from tests.e2e.server import ServerProcess, metadata, wait_for

KIB = 1024
MIB = 1024 * KIB
RETRIES = [20] * 200


@pytest.fixture(scope="module")
def command() -> list[str]:
    return tus_js()


def job(url: str, path: Path, more: dict[str, Any] | None = None, **options: object) -> dict[str, Any]:
    return {"path": str(path), "options": {"endpoint": url, "retryDelays": None, **options}, **(more or {})}


def upload_id(url: str) -> str:
    return url.rsplit("/", 1)[1]


def held(server: ServerProcess, url: str) -> list[Path]:
    """What the server keeps of the bytes of this upload."""
    return [path for path in server.uploads.rglob("*") if path.is_file() and upload_id(url) in str(path)]


@pytest.mark.parametrize(
    ("size", "options", "posts", "patches"),
    [
        pytest.param(0, {}, 1, 0, id="empty"),
        pytest.param(10 * MIB + 7, {}, 1, 1, id="plain"),
        pytest.param(2 * MIB + 7, {"chunkSize": 64 * KIB}, 1, 33, id="64-KiB-parts"),
        pytest.param(12 * MIB, {"chunkSize": 5 * MIB}, 1, 3, id="5-MiB-parts"),
        pytest.param(MIB, {"uploadDataDuringCreation": True}, 1, 0, id="all-with-the-creation"),
        pytest.param(MIB, {"uploadDataDuringCreation": True, "chunkSize": 400_000}, 1, 2, id="begun-with-the-creation"),
    ],
)
@pytest.mark.requirement("CREA-13", "CREA-28", "CORE-34", "CORE-35", "CORE-36", "CWU-06", "CWU-07")
def test_the_bytes_arrive(
    command: list[str],
    server: ServerProcess,
    tmp_path: Path,
    size: int,
    options: dict[str, Any],
    posts: int,
    patches: int,
) -> None:
    path = source(tmp_path, size)
    with Client(command, job(server.url, path, **options)) as client:
        url = client.finish()
    assert len(client.seen("response", method="POST", status=201)) == posts
    assert len(client.seen("response", method="PATCH", status=204)) == patches
    assert len(client.seen("response")) == posts + patches
    assert_same(server, url, path)


@pytest.mark.requirement("CORE-16", "CORE-18")
def test_patch_in_the_guise_of_post(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 3 * MIB)
    with Client(command, job(server.url, path, overridePatchMethod=True, chunkSize=MIB)) as client:
        url = client.finish()
    assert len(client.seen("response", method="POST", override="PATCH", status=204)) == 3
    assert client.seen("response", method="PATCH") == []
    assert_same(server, url, path)


@pytest.mark.parametrize("size", [1, 3 * MIB + 7])
@pytest.mark.requirement("CREA-08")
def test_a_stream_of_unknown_length(command: list[str], server: ServerProcess, tmp_path: Path, size: int) -> None:
    path = source(tmp_path, size)
    told = job(server.url, path, {"stream": True}, uploadLengthDeferred=True, chunkSize=MIB)
    with Client(command, told) as client:
        url = client.finish()
    head = server.head(url)
    assert head.headers["Upload-Length"] == str(size)
    assert "Upload-Defer-Length" not in head.headers
    assert_same(server, url, path)


@pytest.mark.requirement("CONC-02", "CONC-04", "CONC-05", "CONC-07", "CONC-12", "CONC-13", "CONC-19", "CONC-22")
def test_in_parallel(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 10 * MIB + 7)
    told = job(
        server.url,
        path,
        parallelUploads=4,
        metadata={"filename": "whole.bin"},
        metadataForPartialUploads={"filename": "partial.bin"},
    )
    with Client(command, told) as client:
        url = client.finish()
    assert len(client.seen("response", method="POST", status=201)) == 5
    assert len(client.seen("response", method="PATCH", status=204)) == 4
    final = server.head(url).headers
    assert final["Upload-Metadata"] == metadata(filename="whole.bin")
    assert final["Upload-Length"] == final["Upload-Offset"] == str(10 * MIB + 7)
    kind, _, partials = final["Upload-Concat"].partition(";")
    assert kind == "final"
    for partial in partials.split():
        headers = server.head(partial).headers
        assert headers["Upload-Concat"] == "partial"
        assert headers["Upload-Metadata"] == metadata(filename="partial.bin")
    assert_same(server, url, path)


@pytest.mark.parametrize(("kind", "shown"), [("text/plain", "inline"), ("application/x-thing", "attachment")])
def test_a_name_that_is_not_ascii(
    command: list[str], server: ServerProcess, tmp_path: Path, kind: str, shown: str
) -> None:
    name = 'Grüße, "文件" 🎈.txt'
    path = source(tmp_path, 10)
    with Client(command, job(server.url, path, metadata={"filename": name, "filetype": kind})) as client:
        url = client.finish()
    disposition = requests.get(url, timeout=20).headers["Content-Disposition"]
    assert disposition.startswith(f"{shown}; filename=")
    encoded = disposition.partition("filename*=UTF-8''")[2]
    assert encoded.isascii()
    assert unquote(encoded, errors="strict") == name
    assert_same(server, url, path)


@pytest.mark.parametrize("options", [{}, {"parallelUploads": 3}], ids=["single", "parallel"])
@pytest.mark.parametrize("crash", [False, True], ids=["aborted", "killed"])
@pytest.mark.requirement("CORE-19", "CORE-20", "CORE-41")
def test_another_process_resumes(
    command: list[str], server: ServerProcess, tmp_path: Path, crash: bool, options: dict[str, Any]
) -> None:
    path = source(tmp_path, 32 * MIB)
    storage = {"storage": str(tmp_path / "urls.json")}
    with Proxy(server.port, rate=16 * MIB) as proxy:
        stop = {} if crash else {"abortAfter": 12 * MIB}
        with Client(command, job(proxy.url, path, {**storage, **stop}, **options)) as client:
            if crash:
                wait_for(lambda: proxy.passed > 8 * MIB)
            else:
                client.until("aborted")
        passed, proxy.rate = proxy.passed, None
        assert passed < 32 * MIB
        with Client(command, job(proxy.url, path, {**storage, "resume": True}, **options)) as client:
            url = client.finish()
        assert len(client.seen("response", method="HEAD", status=200)) == options.get("parallelUploads", 1)
        assert proxy.passed - passed < 30 * MIB  # and not all of it once more
    assert_same(server, url, path)


@pytest.mark.requirement("TERM-03", "TERM-04")
def test_abort_with_termination(command: list[str], server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 32 * MIB)
    with Proxy(server.port, rate=16 * MIB) as proxy:
        told = job(proxy.url, path, {"abortAfter": 12 * MIB, "terminate": True})
        with Client(command, told) as client:
            wait_for(lambda: proxy.passed > 4 * MIB)
            url = client.until("aborted")["url"].replace(proxy.url, server.url)
    assert len(client.seen("response", method="DELETE", status=204)) == 1
    head = server.head(url)
    assert head.status_code in (404, 410)
    assert "Upload-Offset" not in head.headers
    assert held(server, url) == []


@pytest.mark.parametrize("stop", [ServerProcess.kill, ServerProcess.terminate], ids=["kill", "SIGTERM"])
@pytest.mark.requirement("CORE-38")
def test_the_server_restarts_on_the_way(
    command: list[str], server: ServerProcess, tmp_path: Path, stop: Callable[[ServerProcess], object]
) -> None:
    path = source(tmp_path, 32 * MIB)
    with Proxy(server.port, rate=16 * MIB) as proxy:
        with Client(command, job(proxy.url, path, retryDelays=RETRIES)) as client:
            wait_for(lambda: proxy.passed > 20 * MIB)
            stop(server)
            server.start()
            proxy.rate = None
            url = client.finish()
        assert client.seen("retry")
        assert proxy.passed < 50 * MIB  # what had been confirmed is not sent again
    assert_same(server, url, path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunkSize": MIB},
        {"parallelUploads": 4},
        {"uploadDataDuringCreation": True, "overridePatchMethod": True, "chunkSize": 1_000_000},
    ],
    ids=["plain", "parts", "parallel", "odd"],
)
@pytest.mark.requirement("CORE-38", "CORE-41")
def test_through_a_bad_network(
    command: list[str], server: ServerProcess, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = source(tmp_path, 16 * MIB)
    with Proxy(server.port, seed=len(options), reach=3 * MIB) as proxy:
        with Client(command, job(proxy.url, path, {"again": 20}, retryDelays=RETRIES, **options)) as client:
            url = client.finish()
        assert proxy.cuts >= 5
    assert "parallelUploads" in options or not client.seen("again")
    assert client.seen("retry")
    assert_same(server, url, path)
