"""What a client would meet on its way through proxies to the upload endpoint, found out by being one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tusserver.doctor.public import TUS, Answer, Public, arrives
from tusserver.stores.findings import Finding, ok, problem, warning
from tusserver.units import about_size

KIB: Final = 1024
HALF: Final = 64 * KIB
ASKED: Final = 20
PAGES: Final = "See docs/deployment.md."
EXPOSED: Final = ("location", "upload-offset", "upload-length", "tus-resumable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """``size``: bytes of the largest body that is tried. ``origin``: a page's, for CORS. ``silence``: seconds that an
    upload is left without a byte, 0 not to try."""

    size: int
    origin: str
    silence: float


def examine(public: Public, question: Question) -> Iterator[Finding]:
    """The findings, one by one. What was made is deleted."""
    try:
        described = public.ask("OPTIONS", public.url, {})
    except OSError as error:
        yield problem("reach", f"no connection to {public.url}: {error}", "Give the URL that clients use.")
        return
    if not described.ours or "tus-version" not in described.headers:
        said = f"OPTIONS says {described.said}, without Tus-Version"
        yield problem("reach", said, "Give the URL of the upload endpoint, and let OPTIONS through to the server.")
        return
    yield ok("reach", f"tus {described.header('tus-version')}")
    largest = int(described.header("tus-max-size") or question.size)
    try:
        yield from _created(public)
        if public.made:
            checks: list[Callable[[], Finding]] = [
                lambda: _inspected(public),
                lambda: _known_everywhere(public),
                lambda: _appended(public),
                lambda: _read(public),
                lambda: _streamed(public),
                lambda: _cut_off(public),
                lambda: _asked_first(public),
                lambda: _taken_whole(public, min(largest, question.size)),
                lambda: _silent(public, question.silence),
                lambda: _preflight(public, question.origin),
                lambda: _seen_by_a_page(public, question.origin),
                lambda: _deleted(public),
            ]
            for check in checks:
                yield check()
    finally:
        public.clean()


def _created(public: Public) -> Iterator[Finding]:
    answer = public.create(HALF)
    location = answer.header("location")
    if answer.status != 201 or location is None:
        advice = "Give --header with what clients send to be let in." if answer.status in (401, 403) else PAGES
        yield problem("POST", f"creating an upload says {answer.said}", advice)
        return
    wanted, found = urlsplit(public.url), urlsplit(location)
    if found.netloc and (found.scheme, found.netloc) != (wanted.scheme, wanted.netloc):
        yield problem(
            "Location",
            f"says {found.scheme}://{found.netloc}, and clients use {wanted.scheme}://{wanted.netloc}",
            "nginx: proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; and name "
            "the proxy in --trusted-proxies. Or give --public-url.",
        )
    elif not found.path.startswith(wanted.path.rstrip("/") + "/"):
        said = f"says {found.path}, which is not below {wanted.path}"
        yield problem("Location", said, "Let the proxy keep the path, or set --base-path to the one outside.")
    else:
        yield ok("Location", "is where clients are")


def _inspected(public: Public) -> Finding:
    answer = public.ask("HEAD", public.made[0], TUS)
    missing = [name for name in ("upload-offset", "upload-length") if name not in answer.headers]
    if answer.status != 200 or missing:
        said = f"says {answer.said}" + (f" without {', '.join(missing)}" if missing else "")
        return problem("HEAD", said, "Let HEAD and the Upload- headers through.")
    if "no-store" not in (answer.header("cache-control") or ""):
        return problem("HEAD", "comes without Cache-Control: no-store", "Take out what caches or rewrites the answers.")
    return ok("HEAD", "tells the offset, and is not cached")


def _known_everywhere(public: Public) -> Finding:
    offsets = [public.offset(public.made[0]) for _ in range(ASKED)]
    unknown = offsets.count(None)
    if unknown:
        return problem(
            "servers",
            f"{unknown} of {ASKED} HEADs on new connections did not know the upload",
            "The servers do not share their sessions: give them all the same MONGO_URL and DB_NAME.",
        )
    return ok("servers", f"{ASKED} of {ASKED} new connections know the upload")


def _appended(public: Public) -> Finding:
    answer = public.patch(public.made[0], 0, bytes(HALF))
    if answer.status == 204:
        return ok("PATCH", "gets through")
    if answer.status in (403, 405, 501) and not answer.ours:
        advice = "Allow PATCH (nginx: no limit_except; firewalls: the list of methods), and HEAD, DELETE and OPTIONS."
        return problem("PATCH", f"says {answer.said}", advice)
    advice = "The servers keep the bytes in different places: run tusserver doctor on each." if answer.ours else PAGES
    return problem("PATCH", f"says {answer.said} {_reason(answer)}".rstrip(), advice)


def _read(public: Public) -> Finding:
    answer = public.ask("GET", public.made[0], {"Range": "bytes=5-9"})
    if answer.status == 206 and answer.body == bytes(5):
        return ok("GET", "serves ranges of finished uploads")
    said = f"a range of a finished upload says {answer.said}"
    return warning("GET", said, "Players cannot seek. If downloads are turned off on purpose, all is well.")


def _streamed(public: Public) -> Finding:
    url = _one_more(public)
    with public.half_sent(url, 2 * HALF, HALF):
        time.sleep(0.5)
        found = public.offset(url)
    if not found:
        return problem(
            "streaming",
            "half a body was sent and the server has seen nothing of it: something collects bodies first",
            "nginx: proxy_request_buffering off; proxy_http_version 1.1; Without it a broken connection loses all.",
        )
    return ok("streaming", "bodies pass as they come")


def _cut_off(public: Public) -> Finding:
    url = _one_more(public)
    with public.half_sent(url, 2 * HALF, HALF):
        time.sleep(0.2)
    found = arrives(public, url, HALF, 5.0)
    if found < HALF:
        said = f"{about_size(found)} of {about_size(HALF)} were kept of a connection that broke"
        return problem("disconnects", said, "nginx: proxy_request_buffering off; proxy_ignore_client_abort off;")
    return ok("disconnects", "what has arrived is kept")


def _asked_first(public: Public) -> Finding:
    url = _one_more(public)
    with public.half_sent(url, 2 * HALF, 0, Expect="100-continue") as raw:
        raw.settimeout(3.0)
        try:
            said = raw.recv(64).split(b"\r\n")[0].decode("latin-1")
        except OSError:
            said = "nothing"
    if " 100" in said:
        return ok("100-continue", "is answered")
    advice = "Clients that wait for it (curl) lose a second for each request."
    return warning("100-continue", f"is answered by {said}", advice)


def _taken_whole(public: Public, size: int) -> Finding:
    answer = _sent(public, size)
    if answer.status == 204:
        return ok("body size", f"{about_size(size)} in one request pass")
    fits, fails = 0, size
    while fails - fits > max(KIB, fails // 10):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if _sent(public, middle).status == 204 else (fits, middle)
    return problem(
        "body size",
        f"a body of {about_size(size)} says {answer.said}; up to about {about_size(fits)} pass",
        "nginx: client_max_body_size 0; other proxies, CDNs and firewalls have such a limit too. Until then let "
        "clients send smaller requests (chunkSize).",
    )


def _silent(public: Public, seconds: float) -> Finding:
    if not seconds:
        return ok("silence", "not tried; --silence 50 would")
    url = _one_more(public)
    with public.half_sent(url, 2 * HALF, HALF) as raw:
        time.sleep(seconds)
        raw.settimeout(5.0)
        raw.sendall(bytes(HALF))
        answer = raw.recv(64).decode("latin-1")
    if answer.startswith("HTTP/1.1 204"):
        return ok("silence", f"{seconds:.0f} s without a byte are borne")
    said = f"after {seconds:.0f} s without a byte: {answer.splitlines()[0] if answer else 'the connection was cut'}"
    return warning(
        "silence", said, "nginx: client_body_timeout 300s; proxy_read_timeout 300s; proxy_send_timeout 300s;"
    )


def _preflight(public: Public, origin: str) -> Finding:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type",
    }
    answer = public.ask("OPTIONS", public.made[0], asked)
    if (wrong := _origin_wrong(answer, origin)) is not None:
        return wrong
    allowed = ",".join(answer.headers.get("access-control-allow-methods", [])).upper()
    if "PATCH" not in allowed:
        advice = "Let the proxy pass OPTIONS on, and leave CORS to the server."
        return problem("CORS", f"the preflight says {answer.said} and does not allow PATCH", advice)
    return ok("CORS", f"pages of {origin} may upload")


def _seen_by_a_page(public: Public, origin: str) -> Finding:
    answer = public.ask("HEAD", public.made[0], {**TUS, "Origin": origin})
    if (wrong := _origin_wrong(answer, origin)) is not None:
        return wrong
    exposed = ",".join(answer.headers.get("access-control-expose-headers", [])).lower()
    hidden = [name for name in EXPOSED if name not in exposed]
    if hidden:
        advice = "nginx: no proxy_hide_header or add_header for Access-Control- headers."
        return problem("CORS", f"pages cannot see {', '.join(hidden)}", advice)
    return ok("CORS", "pages see what clients need")


def _origin_wrong(answer: Answer, origin: str) -> Finding | None:
    allowed = answer.headers.get("access-control-allow-origin", [])
    if len(allowed) > 1 or any("," in each for each in allowed):
        advice = "Server and proxy both set CORS headers, which browsers refuse: leave it to one of them."
        return problem("CORS", f"Access-Control-Allow-Origin came {len(allowed)} times", advice)
    if allowed not in (["*"], [origin]):
        advice = f"Put {origin} into --cors-origins, and let the proxy keep the Access-Control- headers."
        return problem("CORS", f"pages of {origin} are not allowed", advice)
    return None


def _deleted(public: Public) -> Finding:
    answer = public.ask("DELETE", public.made[0], TUS)
    if answer.status == 204:
        return ok("DELETE", "gets through")
    return problem("DELETE", f"says {answer.said}", "Allow DELETE, or cancelled uploads stay until they expire.")


def _one_more(public: Public) -> str:
    answer = public.create(2 * HALF)
    return public.outside(answer.header("location") or "")


def _sent(public: Public, size: int) -> Answer:
    answer = public.create(size)
    return public.patch(public.outside(answer.header("location") or ""), 0, bytes(size))


def _reason(answer: Answer) -> str:
    return answer.body[:200].decode("utf-8", "replace")
