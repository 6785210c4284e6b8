"""The shipped configuration of each proxy, driven for real in front of three servers."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from pathlib import Path

import pytest
import requests

from tests.deploy.proxies import ProxyProcess
from tests.e2e.clients import Client, source, tuspy
from tests.e2e.server import OCTETS, TUS, ServerProcess, metadata, sha256, some_bytes, wait_for

MIB = 1024 * 1024
PROMPT = 20.0
# what the servers answer at, and the proxies do not
INSIDE = ("/metrics", "/healthz", "/readyz", "/dashboard", "/admin/uploads")
RETRIES = {"retries": 8, "retry_delay": 1}


def metric(pod: ServerProcess, name: str) -> float:
    """The sum of one metric of one server, over its labels that match."""
    text = requests.get(f"{pod.origin}/metrics", timeout=PROMPT).text
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}\S* (\S+)$", text, re.MULTILINE))


def patches(pod: ServerProcess) -> float:
    return metric(pod, 'tusserver_requests_total{method="PATCH"')


def bodies(pods: list[ServerProcess]) -> float:
    """Bodies that are being received now."""
    return sum(metric(pod, "tusserver_bodies_in_progress") for pod in pods)


def stored(pods: list[ServerProcess]) -> int:
    """Bytes of uploads on the disk that the servers share."""
    return sum(path.stat().st_size for path in pods[0].uploads.rglob("parts/*") if path.is_file())


def created(proxy: ProxyProcess, length: int, **headers: str) -> str:
    answer = requests.post(proxy.url, headers={**TUS, "Upload-Length": str(length), **headers}, timeout=PROMPT)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def opened(proxy: ProxyProcess, url: str, size: int, *more: str) -> socket.socket:
    """A PATCH of ``size`` bytes through the proxy, of which only the head has been sent."""
    raw = socket.create_connection(("127.0.0.1", proxy.port), timeout=PROMPT)
    head = [
        f"PATCH {url.removeprefix(proxy.origin)} HTTP/1.1",
        f"Host: 127.0.0.1:{proxy.port}",
        *(f"{name}: {value}" for name, value in OCTETS.items()),
        "Upload-Offset: 0",
        f"Content-Length: {size}",
        *more,
    ]
    raw.sendall("\r\n".join([*head, "", ""]).encode())
    return raw


def answered(raw: socket.socket) -> bytes:
    """The first of an answer; nothing when the connection just ends."""
    try:
        return raw.recv(65536)
    except ConnectionError:
        return b""


def test_requests_go_round(shared: ProxyProcess) -> None:
    pods = shared.pods
    before = [metric(pod, "tusserver_uploads_created_total") for pod in pods]
    for _ in range(9):
        created(shared, 1)
    after = [metric(pod, "tusserver_uploads_created_total") for pod in pods]
    assert all(new - old >= 2 for old, new in zip(before, after, strict=True))


def test_parts_of_one_upload_land_on_every_server(shared: ProxyProcess, tmp_path: Path) -> None:
    pods = shared.pods
    path = source(tmp_path, 3 * MIB + 17)
    before = [patches(pod) for pod in pods]
    with Client(tuspy(), {"url": shared.url, "path": str(path), "options": {"chunk_size": 200_000}}) as client:
        url = client.finish()
    assert all(patches(pod) - old >= 2 for pod, old in zip(pods, before, strict=True))
    assert sha256(requests.get(url, timeout=PROMPT).content) == sha256(path.read_bytes())


def test_a_body_passes_as_it_comes_and_survives_its_connection(proxy: ProxyProcess) -> None:
    pods = proxy.pods
    data = some_bytes(64 * MIB)
    url = created(proxy, len(data))
    with opened(proxy, url, len(data)) as raw:
        raw.sendall(data[: 8 * MIB])
        # Far more than the sockets on the way hold has come through, while most has not even been sent
        wait_for(lambda: stored(pods) >= 4 * MIB, what="bytes to reach a server")
    wait_for(lambda: bodies(pods) == 0, what="a server to hear that the client has gone")
    kept = int(requests.head(url, headers=TUS, timeout=PROMPT).headers["Upload-Offset"])
    assert 4 * MIB <= kept <= 8 * MIB
    rest = requests.patch(url, data=data[kept:], headers={**OCTETS, "Upload-Offset": str(kept)}, timeout=60)
    assert rest.status_code == 204
    assert sha256(requests.get(url, timeout=60).content) == sha256(data)


def test_a_chunked_body_passes_as_it_comes(proxy: ProxyProcess) -> None:
    pods = proxy.pods
    url = created(proxy, 2 * MIB)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PROMPT) as raw:
        head = [
            f"PATCH {url.removeprefix(proxy.origin)} HTTP/1.1",
            f"Host: 127.0.0.1:{proxy.port}",
            *(f"{name}: {value}" for name, value in OCTETS.items()),
            "Upload-Offset: 0",
            "Transfer-Encoding: chunked",
        ]
        raw.sendall("\r\n".join([*head, "", ""]).encode() + b"%x\r\n" % MIB + some_bytes(MIB) + b"\r\n")
        wait_for(lambda: stored(pods) >= MIB, what="what was sent to reach a server")


@pytest.mark.parametrize("settings", [{"idle_timeout": "1s"}])
def test_the_server_not_the_proxy_ends_what_stalls(proxy: ProxyProcess, kind: str) -> None:
    pods = proxy.pods
    url = created(proxy, MIB)
    with opened(proxy, url, MIB) as raw:
        raw.sendall(b"x" * 1000)
        timeouts = 'tusserver_refusals_total{code="body_timeout"'
        wait_for(lambda: sum(metric(pod, timeouts) for pod in pods) == 1, what="a server's own timeout")
        # Traefik keeps an early answer back until the client goes on
        assert kind == "traefik" or answered(raw).startswith(b"HTTP/1.1 408")
    assert requests.head(url, headers=TUS, timeout=PROMPT).headers["Upload-Offset"] == "1000"


def test_long_headers_pass(shared: ProxyProcess) -> None:
    assert created(shared, 1, **{"Upload-Metadata": metadata(filename="x" * 6000)})
    partials = " ".join(f"{shared.url}/{number:032}" for number in range(800))
    joined = requests.post(shared.url, headers={**TUS, "Upload-Concat": f"final;{partials}"}, timeout=PROMPT)
    assert joined.headers["Tus-Resumable"] == "1.0.0", joined.text


def test_location_is_as_seen_from_outside(shared: ProxyProcess) -> None:
    said = {
        "Host": f"uploads.example.org:{shared.port}",
        "Forwarded": "host=evil.example;proto=https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "81",
    }
    location = created(shared, 1, **said)
    assert location.startswith(f"http://uploads.example.org:{shared.port}/files/"), location


def status_of(port: int, path: str) -> int:
    """What GET is answered with for a path that is sent as it stands, dots and all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROMPT)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.parametrize("path", INSIDE)
def test_what_is_for_operators_stays_inside(shared: ProxyProcess, path: str) -> None:
    assert status_of(shared.pods[0].port, path) != 404
    assert status_of(shared.port, path) == 404


@pytest.mark.parametrize(
    "way", ["/{}/", "//{}", "/page/../{}", "/page/..%2f{}", "/page//{}", "/files/../{}", "/%2e/{}"]
)
def test_no_detour_leads_inside(shared: ProxyProcess, way: str) -> None:
    answers = {path: status_of(shared.port, way.format(path[1:])) for path in INSIDE}
    # a redirect leads back to the proxy, which says 404 then
    assert set(answers.values()) <= {307, 308, 400, 404, 405}, answers


def test_the_page_is_passed_on_with_what_it_loads(shared: ProxyProcess) -> None:
    page = requests.get(f"{shared.origin}/", timeout=PROMPT)
    direct = requests.get(f"{shared.pods[0].origin}/", timeout=PROMPT)
    assert (page.status_code, page.text) == (200, direct.text)
    assert page.headers["Content-Security-Policy"] == direct.headers["Content-Security-Policy"]
    # the server's own words, not the proxy's, about an asset that is not there
    missing = requests.get(f"{shared.origin}/page/nothing.js", timeout=PROMPT)
    assert (missing.status_code, missing.headers.get("Referrer-Policy")) == (404, "no-referrer")
    for asset in re.findall(r'"(page/[^"]+)"', page.text):
        assert requests.get(f"{shared.origin}/{asset}", timeout=PROMPT).status_code == 200


def test_cors_passes(shared: ProxyProcess) -> None:
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "PATCH"}
    preflight = requests.options(shared.url, headers=asked, timeout=PROMPT)
    assert preflight.ok
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    head = requests.head(created(shared, 1), headers={**TUS, "Origin": "https://page.example"}, timeout=PROMPT)
    assert head.headers["Access-Control-Allow-Origin"] == "*"
    assert "Upload-Offset" in head.headers["Access-Control-Expose-Headers"]
    assert head.headers["Cache-Control"] == "no-store"


def test_a_client_that_waits_for_100_continue_is_told(shared: ProxyProcess) -> None:
    with opened(shared, created(shared, 5), 5, "Expect: 100-continue") as raw:
        answer = raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 100")
        raw.sendall(b"bytes")
        while b"HTTP/1.1 204" not in answer and (more := raw.recv(65536)):
            answer += more
    assert b"HTTP/1.1 204" in answer


def test_what_was_sent_to_a_dead_server_is_not_sent_again(proxy: ProxyProcess) -> None:
    pods = proxy.pods
    url = created(proxy, MIB)
    with opened(proxy, url, MIB) as raw:
        raw.sendall(b"x" * 1000)
        wait_for(lambda: bodies(pods) == 1, what="the PATCH to begin")
        [holder] = [pod for pod in pods if bodies([pod])]
        holder.kill()
        with contextlib.suppress(OSError):
            raw.sendall(b"x" * (MIB - 1000))
        answer = answered(raw)
    assert not answer or re.match(rb"HTTP/1.1 50[234]", answer)
    assert [patches(pod) for pod in pods if pod is not holder] == [0, 0]


def test_a_client_finishes_although_a_server_is_killed(proxy: ProxyProcess, tmp_path: Path) -> None:
    pods = proxy.pods
    path = source(tmp_path, 24 * MIB)
    job = {"url": proxy.url, "path": str(path), "options": {"chunk_size": 100_000, **RETRIES}}
    with Client(tuspy(), job) as client:
        wait_for(lambda: patches(pods[1]) >= 3, what="a part to reach the second server")
        pods[1].kill()
        url = client.finish()
    assert sha256(requests.get(url, timeout=60).content) == sha256(path.read_bytes())


def test_a_dead_server_costs_no_request_for_long(proxy: ProxyProcess) -> None:
    pods = proxy.pods
    pods[0].kill()

    def six_in_a_row() -> bool:
        return all(pods[1].passes(proxy.url) for _ in range(6))

    wait_for(six_in_a_row, what="the dead server to be left out")


def test_a_head_without_any_server_makes_no_client_start_over(proxy: ProxyProcess, kind: str) -> None:
    url = created(proxy, 5)
    for pod in proxy.pods:
        pod.kill()
    status = requests.head(url, headers=TUS, timeout=PROMPT).status_code
    # tus-js-client goes on asking after 423 only; Traefik has nothing to say it with
    assert status == 423 if kind != "traefik" else status in (502, 503, 504)
    answer = requests.patch(url, data=b"hello", headers={**OCTETS, "Upload-Offset": "0"}, timeout=PROMPT)
    assert answer.status_code in (502, 503, 504)
    proxy.pods[0].start()
    wait_for(lambda: proxy.pods[0].passes(proxy.url), what="the proxy to see that the server is back")
    wait_for(lambda: requests.head(url, headers=TUS, timeout=PROMPT).status_code == 200, what="the upload")
