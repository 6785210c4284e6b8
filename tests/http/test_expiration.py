"""The Expiration extension over HTTP."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, wait_for
from tests.http.asking import FIXED_DATE, UNKNOWN, UPLOAD_BYTES, Start, kept, post


def expiry(answer: requests.Response) -> float:
    """The moment that ``Upload-Expires`` says."""
    assert FIXED_DATE.fullmatch(answer.headers["Upload-Expires"])
    return parsedate_to_datetime(answer.headers["Upload-Expires"]).timestamp()


def statuses(url: str, offset: int) -> set[int]:
    """What HEAD, PATCH and DELETE are answered."""
    headers = {**OCTETS, "Upload-Offset": str(offset)}
    return {requests.request(name, url, headers=headers, timeout=5).status_code for name in ("HEAD", "PATCH", "DELETE")}


@pytest.mark.requirement("EXP-02", "EXP-04", "EXP-05", "EXP-10")
def test_an_unfinished_upload_says_when_it_expires(server: ServerProcess) -> None:
    assert "expiration" in requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    created = post(server, Upload_Length="5")
    url = created.headers["Location"]
    begun = post(server, b"abc", Upload_Length="5", Content_Type=UPLOAD_BYTES)
    for answer in (created, begun, server.patch(url, 0, b"abc"), server.patch(url, 3, b""), server.head(url)):
        assert abs(expiry(answer) - time.time() - 24 * 3600) < 60


@pytest.mark.requirement("EXP-04", "EXP-05")
def test_a_finished_upload_does_not_expire(server: ServerProcess) -> None:
    url = server.create(3)
    for answer in (
        server.patch(url, 0, b"abc"),
        server.head(url),
        post(server, Upload_Length="0"),
        post(server, b"abc", Upload_Length="3", Content_Type=UPLOAD_BYTES),
    ):
        assert answer.ok and "Upload-Expires" not in answer.headers


@pytest.mark.requirement("EXP-06")
def test_bytes_put_it_off(server: ServerProcess) -> None:
    created = post(server, Upload_Length="5")
    url = created.headers["Location"]
    first = expiry(created)
    wait_for(lambda: time.time() + 24 * 3600 > first + 1)  # the header has whole seconds
    assert expiry(server.patch(url, 0, b"abc")) > first


@pytest.mark.requirement("EXP-01", "EXP-07", "EXP-08")
def test_amb_20_an_idle_upload_is_gone_and_its_bytes_with_it(start: Start) -> None:
    server = start(expire_after="1s", sweep_every="100ms")
    done, url = server.create(3), server.create(5)
    assert server.patch(done, 0, b"abc").status_code == 204
    assert server.patch(url, 0, b"abc").status_code == 204
    assert kept(server, url)
    wait_for(lambda: server.head(url).status_code == 410)
    assert statuses(url, 3) == {410}
    assert "Upload-Offset" not in server.head(url).headers
    assert requests.get(url, timeout=5).status_code == 410
    wait_for(lambda: not kept(server, url))
    assert server.head(f"{server.url}/{UNKNOWN}").status_code == 404
    assert server.stored(done) == b"abc"


@pytest.mark.requirement("EXP-07", "EXP-08")
def test_an_upload_is_expired_before_anybody_swept(start: Start) -> None:
    server = start(expire_after="500ms", sweep_every="1h")
    url = server.create(5)
    assert server.patch(url, 0, b"abc").status_code == 204
    wait_for(lambda: server.head(url).status_code == 410)
    assert statuses(url, 3) == {410}


@pytest.mark.requirement("EXP-07")
def test_amb_20_what_expired_is_forgotten_in_the_end(start: Start) -> None:
    server = start(expire_after="300ms", sweep_every="50ms", forget_after="1s")
    url = server.create(5)
    wait_for(lambda: server.head(url).status_code == 410)
    wait_for(lambda: server.head(url).status_code == 404)
    assert statuses(url, 0) == {404}


@pytest.mark.requirement("EXP-02", "EXP-05")
def test_where_nothing_expires_nothing_is_said(start: Start) -> None:
    server = start(expire_after="never")
    assert "expiration" not in requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    created = post(server, Upload_Length="5")
    assert "Upload-Expires" not in created.headers
    assert "Upload-Expires" not in server.patch(created.headers["Location"], 0, b"abc").headers


@pytest.mark.requirement("EXP-01")
def test_an_upload_on_which_bytes_arrive_does_not_expire(start: Start) -> None:
    server = start(expire_after="500ms", sweep_every="50ms", progress_every="100ms", lease_ttl="1s")
    url = server.create(40)
    raw = server.opened_patch(url, 0, 40)
    deadline = time.monotonic() + 2
    sent = 0
    while time.monotonic() < deadline and sent < 39:
        raw.sendall(b"x")
        sent += 1
        time.sleep(0.05)  # a slow client: it is the pace that is tested
    raw.sendall(b"x" * (40 - sent))
    assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    assert server.stored(url) == b"x" * 40
    assert requests.delete(url, headers=TUS, timeout=5).status_code == 204
