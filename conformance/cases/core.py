"""Core: OPTIONS, versions, HEAD, the method override."""

from __future__ import annotations

import re
from collections.abc import Callable

from conformance.cases import case
from conformance.target import INTEGER, OCTETS, ORDINARY, Pairs, Target
from conformance.wire import Answer

SEMVER = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
EXTENSIONS = frozenset(
    {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
        "concatenation-unfinished",
    }
)
TEXT = ("Content-Type", "text/plain")
UNKNOWN_VERSIONS = ("0.2.2", "2.0.0", "1.0")


@case("core/options/version", "CORE-04", "CORE-05", "CORE-43")
def options_version(tus: Target) -> None:
    """OPTIONS says which versions the server speaks, the best one first."""
    for url in (tus.base, tus.made()):
        answer = tus.options_of(url)
        well = tus.check("CORE-43", answer.status in (200, 204), "200 or 204", answer.status, advice=url != tus.base)
        if not well and url != tus.base:
            return
        said = answer.get("Tus-Version")
        if tus.check("CORE-43", said is not None, "Tus-Version", said):
            versions = [version.strip() for version in str(said).split(",")]
            well = all(SEMVER.fullmatch(version) for version in versions) and "1.0.0" in versions
            tus.check("CORE-04", well, "a list of versions with 1.0.0 in it", said)
            used = tus.head(url).get("Tus-Resumable") if url != tus.base else versions[0]
            tus.check("CORE-05", versions[0] == used, f"{used}, which it answers with, first", said)


@case("core/options/any-version", "CORE-46")
def options_any_version(tus: Target) -> None:
    """OPTIONS is answered whatever Tus-Resumable says."""
    answer = tus.ask("OPTIONS", tus.base, ("Tus-Resumable", "99.0"), version=False)
    well = answer.status in (200, 204) and answer.get("Tus-Version") is not None
    tus.check("CORE-46", well, "200 or 204 with Tus-Version", answer.status)


@case("core/options/extensions", "CORE-12", "CORE-13", "CORE-44")
def options_extensions(tus: Target) -> None:
    """Tus-Extension is a list of extensions, or absent."""
    said = tus.options_of(tus.base).get("Tus-Extension")
    if said is None:
        tus.check("CORE-13", True, "no Tus-Extension without extensions", said)
        return
    tus.check("CORE-13", said.strip() != "", "no empty Tus-Extension", repr(said))
    names = [name.strip() for name in said.split(",")]
    well = all(re.fullmatch(r"[a-z][a-z-]*", name) for name in names) and len(set(names)) == len(names)
    tus.check("CORE-12", well, "names, each once", said)
    tus.check("CORE-44", set(names) <= EXTENSIONS, "extensions of tus 1.0.0", said)


@case("core/options/maximum", "CORE-14", "CREA-26")
def options_maximum(tus: Target) -> None:
    """Tus-Max-Size, where there is one, is a number."""
    said = tus.options_of(tus.base).get("Tus-Max-Size")
    tus.check("CREA-26", said is not None, "Tus-Max-Size", said)
    if said is not None:
        tus.check("CORE-14", INTEGER.fullmatch(said) is not None, "a non-negative integer", said)


@case("core/resumable/on-every-answer", "CORE-07", "CORE-08")
def resumable_on_every_answer(tus: Target) -> None:
    """Every answer but to OPTIONS carries Tus-Resumable: 1.0.0, errors too."""
    url, gone = tus.made(), tus.unknown()
    asking: dict[str, Callable[[], Answer]] = {
        "POST": lambda: tus.post(("Upload-Length", "1")),
        "HEAD": lambda: tus.head(url),
        "PATCH": lambda: tus.patch(url, 0, b"01234"),
        "PATCH at a wrong offset": lambda: tus.patch(url, 3, b"0"),
        "PATCH of a wrong type": lambda: tus.ask("PATCH", url, TEXT, ("Upload-Offset", "5"), body=b"0"),
        "PATCH without Upload-Offset": lambda: tus.ask("PATCH", url, OCTETS, body=b"0"),
        "HEAD of an unknown upload": lambda: tus.head(gone),
        "PATCH of an unknown upload": lambda: tus.patch(gone, 0, b"0"),
        "POST without a length": lambda: tus.post(),
    }
    for what, ask in asking.items():
        found = ask().get("Tus-Resumable")
        if tus.check("CORE-07", found is not None, f"Tus-Resumable on {what}", found):
            tus.check("CORE-08", found == "1.0.0", f"1.0.0 on {what}", found)


@case("core/resumable/unknown-version", "CORE-09", "CORE-10", "CORE-11")
def unknown_version(tus: Target) -> None:
    """A version that the server does not speak is refused with 412, and nothing is done."""
    for version in UNKNOWN_VERSIONS:
        said = ("Tus-Resumable", version)
        url = tus.made()
        append = (OCTETS, ("Upload-Offset", "0"))
        asking: list[tuple[str, str, Pairs, bytes | None]] = [
            ("POST", tus.base, [("Upload-Length", "1"), ORDINARY], None),
            ("HEAD", url, [], None),
            ("PATCH", url, append, b"01234"),
        ]
        if "termination" in tus.announced.extensions:
            asking.append(("DELETE", url, [], None))
        for method, where, headers, body in asking:
            answer = tus.ask(method, where, said, *headers, body=body, version=False)
            what = f"{method} with {version}"
            tus.check("CORE-09", answer.status == 412, f"412 for {what}", answer.status)
            if answer.status == 412:
                versions = answer.get("Tus-Version") or ""
                tus.check("CORE-10", "1.0.0" in versions, f"Tus-Version on the 412 for {what}", versions or "none")
            if method == "POST":
                tus.check("CORE-11", answer.get("Location") is None, f"no Location for {what}", answer.get("Location"))
        tus.check("CORE-11", tus.offset(url) == 0, f"offset 0 after requests with {version}", tus.offset(url))


@case("core/resumable/missing", "CORE-09", "CORE-10")
def missing_version(tus: Target) -> None:
    """A request without Tus-Resumable is refused like one with a version that nobody speaks, and nothing is done."""
    url = tus.made()
    asking: list[tuple[str, str, Pairs, bytes | None]] = [
        ("POST", tus.base, [("Upload-Length", "1"), ORDINARY], None),
        ("HEAD", url, [], None),
        ("PATCH", url, [OCTETS, ("Upload-Offset", "0")], b"01234"),
    ]
    if "termination" in tus.announced.extensions:
        asking.append(("DELETE", url, [], None))
    for method, where, headers, body in asking:
        answer = tus.ask(method, where, *headers, body=body, version=False)
        tus.check("CORE-09", answer.status == 412, f"412 for {method}", answer.status, advice=True)
        if answer.status == 412:
            versions = answer.get("Tus-Version") or "none"
            tus.check("CORE-10", "1.0.0" in versions, f"Tus-Version on the 412 for {method}", versions, advice=True)


@case("core/head/new", "CORE-01", "CORE-19", "CORE-20", "CORE-23", "CORE-24", "CREA-31", "CORE-02", "CORE-03")
def head_new(tus: Target) -> None:
    """HEAD of a new upload says offset 0 and its length, and is not to be cached."""
    url = tus.made(length=10)
    answer = tus.head(url)
    tus.check("CORE-01", answer.status not in (0, 404, 405, 501), "an answer to HEAD", answer.status)
    tus.check("CORE-23", answer.status in (200, 204), "200 or 204", answer.status)
    offset, length = answer.get("Upload-Offset"), answer.get("Upload-Length")
    if tus.check("CORE-19", offset is not None, "Upload-Offset", offset):
        tus.check("CORE-02", INTEGER.fullmatch(str(offset)) is not None, "a plain integer", offset)
        tus.check("CREA-31", offset == "0", "0", offset)
    if tus.check("CORE-20", length is not None, "Upload-Length", length):
        tus.check("CORE-03", INTEGER.fullmatch(str(length)) is not None, "a plain integer", length)
        tus.check("CORE-20", length == "10", "10", length)
    cached = answer.get("Cache-Control") or ""
    tus.check("CORE-24", "no-store" in cached, "Cache-Control: no-store", cached or "none")


@case("core/head/moving", "CORE-19", "CORE-20")
def head_moving(tus: Target) -> None:
    """HEAD says how far an upload is, also when it is complete."""
    url = tus.made(length=6)
    for offset, body in ((0, b"012"), (3, b"345")):
        tus.patch(url, offset, body)
        answer = tus.head(url)
        found = answer.get("Upload-Offset")
        tus.check("CORE-19", found == str(offset + 3), str(offset + 3), found)
        tus.check("CORE-20", answer.get("Upload-Length") == "6", "6", answer.get("Upload-Length"))


@case("core/head/unknown", "CORE-21", "CORE-22")
def head_unknown(tus: Target) -> None:
    """HEAD of an upload that is not there says so, without an offset."""
    answer = tus.head(tus.unknown())
    tus.check("CORE-21", answer.status in (403, 404, 410), "403, 404 or 410", answer.status)
    tus.check("CORE-22", answer.get("Upload-Offset") is None, "no Upload-Offset", answer.get("Upload-Offset"))


@case("core/override/post", "CORE-16")
def override_post(tus: Target) -> None:
    """POST with X-HTTP-Method-Override is what that says."""
    url = tus.made(length=10)
    override = ("X-HTTP-Method-Override", "PATCH")
    answer = tus.ask("POST", url, override, OCTETS, ("Upload-Offset", "0"), body=b"01234")
    tus.check("CORE-16", answer.status == 204, "204, as for PATCH", answer.status)
    tus.check("CORE-16", tus.offset(url) == 5, "offset 5", tus.offset(url))
    answer = tus.ask("POST", url, ("X-HTTP-Method-Override", "HEAD"))
    found = answer.get("Upload-Offset")
    tus.check("CORE-16", found == "5", "Upload-Offset, as for HEAD", found or answer.status, advice=True)
    if "termination" in tus.announced.extensions:
        answer = tus.ask("POST", url, ("X-HTTP-Method-Override", "DELETE"))
        tus.check("CORE-16", answer.status == 204, "204, as for DELETE", answer.status)


@case("core/override/any-method", "CORE-17")
def override_any_method(tus: Target) -> None:
    """The real method does not count, whichever it is."""
    url = tus.made(length=10)
    for number, method in enumerate(("GET", "PUT")):
        override = ("X-HTTP-Method-Override", "PATCH")
        said = (OCTETS, ("Upload-Offset", str(5 * number)))
        answer = tus.ask(method, url, override, *said, body=b"01234")
        tus.check("CORE-17", answer.status == 204, f"204 for {method} that is PATCH", answer.status)


@case("core/features", "CORE-47", "CORE-15")
def features(tus: Target) -> None:
    """What is announced is there, what is not announced is refused."""
    if tus.announced.maximum is not None:
        tus.check("CORE-15", True, "Tus-Max-Size where there is a limit", tus.announced.maximum)
    said = tus.options_of(tus.base).get("Tus-Extension") or ""
    names = {name.strip() for name in said.split(",")}
    if "termination" not in names:
        status = tus.delete(tus.made()).status
        tus.check("CORE-47", status >= 400, "DELETE refused where termination is not announced", status)
    if "creation-defer-length" not in names:
        status = tus.post(("Upload-Defer-Length", "1")).status
        tus.check("CORE-47", status >= 400, "a deferred length refused where that is not announced", status)
    if "creation" in names:
        answer = tus.post(("Upload-Length", "1"))
        tus.check("CORE-47", answer.status == 201, "creation works where it is announced", answer.status)
