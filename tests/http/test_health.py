"""What an operator's probes and scraper are told."""

from __future__ import annotations

import re
import time

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, wait_for
from tests.http.asking import UNKNOWN, Start, post


def figure(server: ServerProcess, name: str) -> float:
    """A figure of /metrics, 0 where it has not been counted yet."""
    page = requests.get(f"{server.origin}/metrics", timeout=5)
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/plain")
    found = re.search(rf"^{re.escape(name)} (\S+)$", page.text, re.M)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_that_is_well(server: ServerProcess, path: str) -> None:
    answer = requests.get(server.origin + path, timeout=5)
    assert answer.status_code == 200 and answer.json() == {"status": "ok"}


@pytest.fixture
def bereft(start: Start) -> tuple[ServerProcess, str]:
    """A server whose storage has gone, and an upload that it began before."""
    server = start()
    url = server.create(10)
    assert server.patch(url, 0, b"abc").status_code == 204
    server.uploads.rename(server.uploads.with_name("gone"))
    return server, url


def test_without_its_storage_a_server_lives_but_is_not_ready(bereft: tuple[ServerProcess, str]) -> None:
    server, _ = bereft
    assert requests.get(f"{server.origin}/healthz", timeout=5).status_code == 200
    answer = requests.get(f"{server.origin}/readyz", timeout=5)
    assert answer.status_code == 503 and answer.json()["status"] == "unavailable"
    assert figure(server, 'tusserver_uploads{status="active"}') == 1
    server.uploads.with_name("gone").rename(server.uploads)
    assert requests.get(f"{server.origin}/readyz", timeout=5).status_code == 200


def test_without_its_storage_a_server_takes_no_upload(bereft: tuple[ServerProcess, str]) -> None:
    server, _ = bereft
    wait_for(lambda: post(server, Upload_Length="5").status_code == 503, 5, "the server to ask its storage again")
    answer = post(server, Upload_Length="5")
    assert answer.status_code == 503 and answer.json()["error"] == "store_unavailable"
    assert int(answer.headers["Retry-After"]) > 0 and "Location" not in answer.headers


def test_without_its_storage_an_upload_can_still_be_continued_later(bereft: tuple[ServerProcess, str]) -> None:
    server, url = bereft
    answer = server.patch(url, 3, b"defghij")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0 and answer.headers["Upload-Offset"] == "3"
    server.uploads.with_name("gone").rename(server.uploads)
    assert server.offset(url) == 3
    assert server.patch(url, 3, b"defghij").status_code == 204
    assert server.stored(url) == b"abcdefghij"


def test_sessions_that_are_none_are_told_at_start(start: Start) -> None:
    server = start()
    server.kill()
    for path in server.directory.glob("sessions.db*"):
        path.write_bytes(b"no database" * 100)
    with pytest.raises(AssertionError, match=r"sessions\.db"):
        server.start()
    assert "Traceback" not in server.log.read_text()


def test_requests_and_refusals_are_counted(server: ServerProcess) -> None:
    counted = [
        'tusserver_requests_total{method="POST",status="201"}',
        'tusserver_requests_total{method="PATCH",status="204"}',
        'tusserver_requests_total{method="PATCH",status="409"}',
        'tusserver_refusals_total{code="offset_mismatch"}',
        'tusserver_refusals_total{code="upload_not_found"}',
        "tusserver_uploads_created_total",
        "tusserver_uploads_finished_total",
        "tusserver_uploads_terminated_total",
    ]
    before = [figure(server, name) for name in counted]
    received, commits = (figure(server, f"tusserver_{name}_total") for name in ("received_bytes", "offset_commits"))
    url = server.create(3)
    assert server.patch(url, 0, b"abc").status_code == 204
    assert server.patch(url, 0, b"abc").status_code == 409
    assert server.head(f"{server.url}/{UNKNOWN}").status_code == 404
    assert requests.delete(url, headers=TUS, timeout=5).status_code == 204
    assert [figure(server, name) - was for name, was in zip(counted, before, strict=True)] == [1.0] * len(counted)
    assert figure(server, "tusserver_received_bytes_total") == received + 3
    assert figure(server, "tusserver_offset_commits_total") > commits
    assert figure(server, 'tusserver_request_seconds_count{method="PATCH"}') > 0


def test_who_takes_over_is_counted(server: ServerProcess) -> None:
    saved = figure(server, 'tusserver_preemptions_total{result="saved"}')
    url = server.create(10)
    raw = server.opened_patch(url, 0, 10)
    raw.sendall(b"abc")
    wait_for(lambda: figure(server, "tusserver_bodies_in_progress") == 1)
    assert server.offset(url) == 3
    assert figure(server, 'tusserver_preemptions_total{result="saved"}') == saved + 1
    assert figure(server, "tusserver_bodies_in_progress") == 0


def test_metrics_can_be_turned_off(start: Start) -> None:
    server = start(metrics="false")
    assert requests.get(f"{server.origin}/metrics", timeout=5).status_code == 404


def test_more_uploads_at_once_than_are_taken_are_told_to_wait(start: Start) -> None:
    server = start(max_uploads="1")
    first, second = server.create(3), server.create(3)
    raw = server.opened_patch(first, 0, 3)
    wait_for(lambda: figure(server, "tusserver_bodies_in_progress") == 1)
    answer = server.patch(second, 0, b"abc")
    assert answer.status_code == 503 and answer.json()["error"] == "too_many_uploads"
    assert int(answer.headers["Retry-After"]) > 0 and answer.headers["Upload-Offset"] == "0"
    raw.sendall(b"abc")
    assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    headers = {**OCTETS, "Upload-Offset": "0"}
    deadline = time.monotonic() + 10
    while requests.patch(second, data=b"abc", headers=headers, timeout=5).status_code != 204:
        assert time.monotonic() < deadline
    assert server.stored(second) == b"abc"
