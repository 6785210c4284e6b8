"""Concatenation and concatenation-unfinished."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from conformance.cases import case
from conformance.target import Target, encoded
from conformance.verdicts import Unsupported, Untested

PARTIAL = ("Upload-Concat", "partial")
ONE, TWO = b"first part", b"and the second"


def parts(tus: Target) -> tuple[str, str]:
    """Two finished partial uploads."""
    tus.needs("concatenation")
    return tus.filled(ONE, PARTIAL), tus.filled(TWO, PARTIAL)


def final(tus: Target, *urls: str) -> str:
    """A final upload over these. Raises Untested."""
    answer = tus.post(("Upload-Concat", f"final;{' '.join(urls)}"))
    url = tus.location(answer)
    if answer.status != 201 or url is None:
        raise Untested(f"a final upload could not be created: POST says {answer.status}")
    return url


def joined(tus: Target, url: str) -> bool:
    """Whether it is, in time."""
    return tus.until(lambda: tus.offset(url) is not None)


@case("concatenation/partial", "CONC-01", "CONC-02", "CONC-20", "CONC-22")
def partial(tus: Target) -> None:
    """A partial upload says that it is one, and how far it is."""
    tus.needs("concatenation")
    named = tus.named()
    tus.check("CONC-01", "concatenation" in named, "concatenation in Tus-Extension", named)
    answer = tus.post(("Upload-Length", "10"), PARTIAL)
    tus.check("CONC-02", answer.status == 201, "201", answer.status)
    url = tus.location(answer)
    if url is not None:
        tus.patch(url, 0, b"01234")
        told = tus.head(url)
        tus.check("CONC-22", told.get("Upload-Concat") == "partial", "partial", told.get("Upload-Concat"))
        tus.check("CONC-20", told.get("Upload-Offset") == "5", "Upload-Offset: 5", told.get("Upload-Offset"))


@case("concatenation/final", "CONC-04", "CONC-07", "CONC-14", "CONC-19", "CONC-21", "CONC-22")
def whole(tus: Target) -> None:
    """A final upload has the bytes of its parts, in the order of the list."""
    for data in (ONE + TWO, TWO + ONE):
        one, two = parts(tus)
        said = f"final;{one} {two}" if data.startswith(ONE) else f"final;{two} {one}"
        answer = tus.post(("Upload-Concat", said))
        url = tus.location(answer)
        if url is None:
            raise Untested(f"a final upload could not be created: POST says {answer.status}")
        joined(tus, url)
        told = tus.head(url)
        length, offset = told.get("Upload-Length"), told.get("Upload-Offset")
        tus.check("CONC-04", length == str(len(data)), f"Upload-Length: {len(data)}", length)
        tus.check("CONC-21", length is not None, "Upload-Length", length)
        tus.check("CONC-19", offset == length is not None, "Upload-Offset and Upload-Length, equal", (offset, length))
        tus.check("CONC-22", told.get("Upload-Concat") == said, said, told.get("Upload-Concat"))
        tus.same_bytes("CONC-07", url, data)
    tus.check("CONC-14", tus.head(one).status in (200, 204), "the parts may stay", tus.head(one).status)


@case("concatenation/hundred", "CONC-07", "CONC-19")
def hundred(tus: Target) -> None:
    """A hundred partial uploads that come all at once are joined in their order."""
    tus.needs("concatenation")
    pieces = [f"part {number:02};".encode() for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        urls = list(pool.map(lambda piece: tus.filled(piece, PARTIAL), pieces))
    url = final(tus, *(urlsplit(each).path for each in urls))
    joined(tus, url)
    tus.check("CONC-19", tus.offset(url) == 800, "offset 800", tus.offset(url))
    tus.same_bytes("CONC-07", url, b"".join(pieces))


@case("concatenation/fixed", "CONC-16", "CONC-17")
def fixed(tus: Target) -> None:
    """PATCH of a final upload is refused with 403, whatever its offset, and nothing changes."""
    one, two = parts(tus)
    url = final(tus, one, two)
    joined(tus, url)
    size = len(ONE + TWO)
    for offset in (0, size, 3):
        answer = tus.patch(url, offset, b"x")
        tus.check("CONC-16", answer.status == 403, f"403 for a PATCH at {offset}", answer.status)
    tus.check("CONC-17", tus.offset(url) == size, f"offset {size}", tus.offset(url))
    tus.same_bytes("CONC-17", url, ONE + TWO)


@case("concatenation/wrong", "CONC-06")
def wrong(tus: Target) -> None:
    """Upload-Concat is partial, or final and a list; nothing else makes an upload."""
    tus.needs("concatenation")
    for said in ("foo", "final", "final;", "Final;/x"):
        answer = tus.post(("Upload-Length", "5"), ("Upload-Concat", said))
        unknown = not said.startswith("final")
        tus.check("CONC-06", 400 <= answer.status < 500, f"a 4xx for {said!r}", answer.status, advice=unknown)


@case("concatenation/length", "CONC-04", "CONC-09")
def length(tus: Target) -> None:
    """A final upload that comes with an Upload-Length is refused; where it is not, it is as long as its parts."""
    tus.needs("concatenation")
    for said in (len(ONE), 999):
        part = tus.filled(ONE, PARTIAL)
        answer = tus.post(("Upload-Concat", f"final;{part}"), ("Upload-Length", str(said)))
        well = 400 <= answer.status < 500
        tus.check("CONC-09", well, f"a 4xx with Upload-Length: {said}", answer.status, advice=True)
        url = tus.location(answer)
        if answer.status == 201 and url is not None:
            joined(tus, url)
            found = tus.head(url).get("Upload-Length")
            tus.check("CONC-04", found == str(len(ONE)), f"Upload-Length: {len(ONE)}", found)


@case("concatenation/unknown", "CONC-06")
def unknown(tus: Target) -> None:
    """A part that is not there, or not any more, makes no final upload."""
    tus.needs("concatenation")
    part = tus.filled(ONE, PARTIAL)
    gone = {"an unknown part": tus.unknown()}
    if "termination" in tus.announced.extensions:
        gone["a terminated part"] = tus.filled(TWO, PARTIAL)
        tus.delete(gone["a terminated part"])
    for what, url in gone.items():
        answer = tus.post(("Upload-Concat", f"final;{part} {url}"))
        tus.check("CONC-06", 400 <= answer.status < 500, f"a 4xx for {what}", answer.status, advice=True)
        tus.check("CONC-06", answer.get("Location") is None, "no Location", answer.get("Location"), advice=True)


@case("concatenation/metadata", "CONC-12")
def metadata(tus: Target) -> None:
    """The metadata of parts do not move to the final upload."""
    tus.needs("concatenation")
    part = tus.filled(ONE, PARTIAL, ("Upload-Metadata", f"filename {encoded('part.bin')}"))
    url = final(tus, part)
    found = tus.head(url).get("Upload-Metadata") or ""
    tus.check("CONC-12", encoded("part.bin") not in found, "no metadata of the part", found or "none")


@case("concatenation/addresses", "CONC-24", "CONC-15")
def addresses(tus: Target) -> None:
    """Parts may be named by path, and more than once."""
    one, _ = parts(tus)
    path = urlsplit(one).path
    answer = tus.post(("Upload-Concat", f"final;{path}"))
    tus.check("CONC-24", answer.status == 201, "201 for a path", answer.status)
    answer = tus.post(("Upload-Concat", f"final;{one} {one}"))
    tus.check("CONC-15", answer.status == 201, "201 for one part twice", answer.status)


@case("concatenation/unfinished", "CONC-11", "CONC-18", "CONC-19", "CONC-21")
def unfinished(tus: Target) -> None:
    """A final upload over an unfinished part: only where that is announced, and then it is joined later."""
    tus.needs("concatenation")
    open_part = tus.made(PARTIAL, length=10)
    done = tus.filled(ONE, PARTIAL)
    answer = tus.post(("Upload-Concat", f"final;{done} {open_part}"))
    if "concatenation-unfinished" not in tus.named():
        tus.check("CONC-11", 400 <= answer.status < 500, "a 4xx", answer.status)
        return
    url = tus.location(answer)
    if not tus.check("CONC-11", answer.status == 201 and url is not None, "201", answer.status) or url is None:
        return
    told = tus.head(url)
    tus.check("CONC-18", told.get("Upload-Offset") is None, "no Upload-Offset yet", told.get("Upload-Offset"))
    tus.check("CONC-21", told.get("Upload-Length") == "20", "Upload-Length: 20 already", told.get("Upload-Length"))
    tus.patch(open_part, 0, b"0123456789")
    joined(tus, url)
    tus.check("CONC-19", tus.offset(url) == 20, "offset 20 once all is there", tus.offset(url))
    tus.same_bytes("CONC-19", url, ONE + b"0123456789")


@case("concatenation/maximum", "CONC-26")
def maximum(tus: Target) -> None:
    """Parts that are more than Tus-Max-Size together are refused."""
    tus.needs("concatenation")
    tus.needs("concatenation-unfinished")
    if not tus.announced.maximum:
        raise Unsupported("no Tus-Max-Size is announced")
    halves = [tus.made(PARTIAL, length=tus.announced.maximum // 2 + 1) for _ in range(2)]
    answer = tus.post(("Upload-Concat", f"final;{' '.join(halves)}"))
    tus.check("CONC-26", answer.status == 413, "413", answer.status)
