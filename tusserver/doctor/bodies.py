"""How bodies come through: how large, whether as they are sent, and what becomes of those that break off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from tusserver.doctor.public import Answer, Public, arrives
from tusserver.stores.findings import Finding, note, ok, problem, warning
from tusserver.units import about_size

KIB: Final = 1024
HALF: Final = 64 * KIB


def examine(public: Public, largest: int, silence: float) -> Iterator[Finding]:
    """The findings; ``largest``: bytes of the largest body to try. Raises OSError."""
    whole, fits = _taken_whole(public, largest)
    yield whole
    half = min(HALF, fits // 2)
    if half == 0:
        yield note("streaming", "not tried: hardly a byte comes through")
        return
    yield _streamed(public, half)
    yield _cut_off(public, half)
    yield _asked_first(public, half)
    yield _silent(public, half, silence)


def _taken_whole(public: Public, size: int) -> tuple[Finding, int]:
    """And how many bytes pass, as far as that is known."""
    answer = _sent(public, size)
    if answer.status == 204:
        return ok("body size", f"{about_size(size)} in one request pass"), size
    if answer.status not in (0, 413):
        return problem("body size", f"{about_size(size)} in one request: {answer.said}", "See docs/deployment.md."), 0
    fits, fails = 0, size
    while fails - fits > max(1, fails // 10):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if _sent(public, middle).status == 204 else (fits, middle)
    finding = problem(
        "body size",
        f"a body of {about_size(size)} says {answer.said}; up to about {about_size(fits)} pass",
        "nginx: client_max_body_size 0; other proxies, CDNs and firewalls have such a limit too. Until then let "
        "clients send smaller requests (chunkSize).",
    )
    return finding, fits


def _streamed(public: Public, half: int) -> Finding:
    url = public.one_more(2 * half)
    with public.half_sent(url, 2 * half, half):
        time.sleep(0.5)
        found = public.offset(url)
    if not found:
        return problem(
            "streaming",
            "half a body was sent and the server has seen nothing of it: something collects bodies first",
            "nginx: proxy_request_buffering off; proxy_http_version 1.1; Without it a broken connection loses all.",
        )
    return ok("streaming", "bodies pass as they come")


def _cut_off(public: Public, half: int) -> Finding:
    url = public.one_more(2 * half)
    with public.half_sent(url, 2 * half, half):
        time.sleep(0.2)
    found = arrives(public, url, half, 5.0)
    if found < half:
        said = f"{about_size(found)} of {about_size(half)} were kept of a connection that broke"
        return problem("broken off", said, "nginx: proxy_request_buffering off;")
    return ok("broken off", "what had arrived is kept")


def _asked_first(public: Public, half: int) -> Finding:
    url = public.one_more(2 * half)
    with public.half_sent(url, 2 * half, 0, Expect="100-continue") as raw:
        raw.settimeout(3.0)
        try:
            said = raw.recv(64).split(b"\r\n")[0].decode("latin-1")
        except OSError:
            said = "nothing"
    if " 100" in said:
        return ok("100-continue", "is answered")
    advice = "Clients that wait for it (curl) lose a second for each request."
    return warning("100-continue", f"is answered by {said}", advice)


def _silent(public: Public, half: int, seconds: float) -> Finding:
    if not seconds:
        return note("silence", "not tried; --silence 50 would")
    url = public.one_more(2 * half)
    answer = ""
    with public.half_sent(url, 2 * half, half) as raw:
        time.sleep(seconds)
        raw.settimeout(5.0)
        try:
            raw.sendall(bytes(half))
            answer = raw.recv(64).decode("latin-1")
        except OSError:  # cut meanwhile, which is what this is about
            answer = ""
    if answer.startswith("HTTP/1.1 204"):
        return ok("silence", f"{seconds:.0f} s without a byte are borne")
    said = f"after {seconds:.0f} s without a byte: {answer.splitlines()[0] if answer else 'the connection was cut'}"
    advice = "nginx: client_body_timeout 300s; proxy_read_timeout 300s; proxy_send_timeout 300s;"
    return warning("silence", said, advice)


def _sent(public: Public, size: int) -> Answer:
    url = public.one_more(size)
    answer = public.patch(url, 0, bytes(size))
    public.delete(url)
    return answer
