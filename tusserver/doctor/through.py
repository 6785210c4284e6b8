"""What a client would meet on its way through proxies to the upload endpoint, found out by being one.

What cannot be said because something else has to work first is not tried: one mistake is one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from tusserver.doctor import bodies
from tusserver.doctor.public import TUS, Answer, Public
from tusserver.stores.findings import Finding, Level, note, ok, problem, warning

PROBE: Final = 1024
ASKED: Final = 20
PAGES: Final = "See docs/deployment.md."
EXPOSED: Final = ("location", "upload-offset", "upload-length", "tus-resumable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """``size``: bytes of the largest body that is tried. ``origin``: a page's, to try CORS with; None: don't.
    ``silence``: seconds that an upload is left without a byte, 0 not to try."""

    size: int
    origin: str | None
    silence: float


def examine(public: Public, question: Question) -> Iterator[Finding]:
    """The findings, one by one. What was made is deleted."""
    try:
        yield from _examined(public, question)
    except OSError as error:
        yield problem("reach", f"no connection to {public.url}: {error}", "Give the URL that clients use.")
    finally:
        left = public.clean()
    if left:
        said = f"{left} uploads of this examination could not be deleted"
        yield warning("probes", said, "They go when they expire; or cancel them with tusserver sessions cancel.")


def _examined(public: Public, question: Question) -> Iterator[Finding]:
    described = public.ask("OPTIONS", public.url, {})
    if not described.ours or "tus-version" not in described.headers:
        said = f"OPTIONS says {described.said}, without Tus-Version"
        yield problem("reach", said, "Give the URL of the upload endpoint, and let OPTIONS through to the server.")
        return
    yield ok("reach", f"tus {described.header('tus-version')}")
    largest = min(int(described.header("tus-max-size") or question.size), question.size)
    made = _created(public, min(PROBE, largest))
    yield made
    if not public.made:
        return
    sound = True
    for check in (_known_everywhere, _inspected, _appended):
        finding = check(public)
        yield finding
        if finding.level is Level.PROBLEM:
            sound = False
            break
    if sound:
        yield _read(public)
        yield from bodies.examine(public, largest, question.silence)
    else:
        yield note("bodies", "not tried: what is wrong above has to be mended first")
    if question.origin is None:
        yield note("CORS", "not tried; --origin https://app.example.org would")
    else:
        yield from _cors(public, question.origin)
    yield _deleted(public)


def _cors(public: Public, origin: str) -> Iterator[Finding]:
    checks: tuple[Callable[[Public, str], Finding], ...] = (_preflight, _seen_by_a_page)
    for check in checks:
        finding = check(public, origin)
        yield finding
        if finding.level is Level.PROBLEM:
            return


def _created(public: Public, length: int) -> Finding:
    answer = public.create(length)
    location = answer.header("location")
    if answer.status != 201 or location is None:
        advice = "Give --header with what clients send to be let in." if answer.status in (401, 403) else PAGES
        return problem("POST", f"creating an upload says {answer.said}", advice)
    wanted, found = urlsplit(public.url), urlsplit(urljoin(f"{public.url}/", location))
    if _origin(found) != _origin(wanted):
        return problem(
            "Location",
            f"says {found.scheme}://{found.netloc}, and clients use {wanted.scheme}://{wanted.netloc}",
            "nginx: proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; and name "
            "the proxy in --trusted-proxies. Or give --public-url.",
        )
    if not found.path.startswith(wanted.path.rstrip("/") + "/"):
        said = f"says {found.path}, which is not below {wanted.path}"
        return problem("Location", said, "Let the proxy keep the path, or set --base-path to the one outside.")
    return ok("Location", "is where clients are")


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)


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
    answers = [public.ask("HEAD", public.made[0], TUS) for _ in range(ASKED)]
    unknown = sum(answer.ours and answer.status in (404, 410) for answer in answers)
    if unknown:
        return problem(
            "servers",
            f"{unknown} of {ASKED} HEADs on new connections did not know the upload",
            "The servers do not share their sessions: give them all the same MONGO_URL and DB_NAME.",
        )
    return ok("servers", f"{ASKED} of {ASKED} new connections know the upload")


def _appended(public: Public) -> Finding:
    answer = public.patch(public.made[0], 0, bytes(public.length))
    if answer.status == 204:
        return ok("PATCH", "gets through")
    if answer.status in (403, 405, 501) and not answer.ours:
        advice = "Allow PATCH (nginx: no limit_except; firewalls: the list of methods), and HEAD, DELETE and OPTIONS."
        return problem("PATCH", f"says {answer.said}", advice)
    advice = "The servers keep the bytes in different places: run tusserver doctor on each." if answer.ours else PAGES
    return problem("PATCH", f"says {answer.said} {_reason(answer)}".rstrip(), advice)


def _read(public: Public) -> Finding:
    answer = public.ask("GET", public.made[0], {"Range": "bytes=0-0"})
    if answer.status == 206 and answer.body == bytes(1):
        return ok("GET", "serves ranges of finished uploads")
    said = f"a range of a finished upload says {answer.said}"
    return warning("GET", said, "Players cannot seek. If downloads are turned off on purpose, all is well.")


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
    answer = public.delete(public.made[0])
    if answer.status == 204:
        return ok("DELETE", "gets through")
    return problem("DELETE", f"says {answer.said}", "Allow DELETE, or cancelled uploads stay until they expire.")


def _reason(answer: Answer) -> str:
    return answer.body[:200].decode("utf-8", "replace")
