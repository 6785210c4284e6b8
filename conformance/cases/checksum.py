"""Checksum and checksum-trailer."""

from __future__ import annotations

import hashlib
import re

from conformance.cases import case
from conformance.target import Target, digest, encoded
from conformance.wire import NoAnswer

VECTOR = ("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
DATA = b"hello world"
WRONG = ("Upload-Checksum", f"sha1 {encoded(hashlib.sha1(b'something else').digest())}")


@case("checksum/announced", "CSUM-02", "CSUM-10", "CSUM-11", "CSUM-12")
def announced(tus: Target) -> None:
    """OPTIONS says which algorithms there are, sha1 among them."""
    tus.needs("checksum")
    answer = tus.options_of(tus.base)
    named = tus.named()
    tus.check("CSUM-02", "checksum" in named, "checksum in Tus-Extension", named)
    said = answer.get("Tus-Checksum-Algorithm")
    if tus.check("CSUM-12", said is not None, "Tus-Checksum-Algorithm", said):
        names = [name.strip() for name in str(said).split(",")]
        tus.check("CSUM-10", "sha1" in names, "sha1 in it", said)
        well = all(re.fullmatch(r"[!-@\[-~]+", name) for name in names)
        tus.check("CSUM-11", well, "names in ASCII without upper case", said)


@case("checksum/right", "CSUM-03", "CSUM-04", "CSUM-07", "CSUM-13")
def right(tus: Target) -> None:
    """A body that has its checksum is taken, with each algorithm that is announced."""
    tus.needs("checksum")
    answer = tus.patch(tus.made(length=11), 0, DATA, VECTOR)
    tus.check("CSUM-04", answer.status == 204, "204 for the specification's own example", answer.status)
    tus.check("CSUM-07", answer.status == 204, "204", answer.status)
    for name in tus.announced.algorithms:
        if name in hashlib.algorithms_available:
            url = tus.made(length=11)
            well = tus.patch(url, 0, DATA, digest(name, DATA)).status == 204 and tus.offset(url) == 11
            wrong = tus.patch(tus.made(length=11), 0, DATA, digest(name, b"other")).status
            tus.check("CSUM-13", well and wrong != 204, f"{name} verifies", (well, wrong))
    answer = tus.patch(tus.made(length=11), 0, DATA)
    tus.check("CSUM-03", answer.status == 204, "204 without a checksum", answer.status)


@case("checksum/wrong", "CSUM-04", "CSUM-05", "CSUM-06", "CSUM-08", "CSUM-09")
def wrong(tus: Target) -> None:
    """A body that has another checksum, or one that nobody knows, is thrown away."""
    tus.needs("checksum")
    url = tus.made(length=11)
    answer = tus.patch(url, 0, b"HELLO WORLD", WRONG)
    tus.check("CSUM-04", answer.status >= 400, "an error", answer.status)
    tus.check("CSUM-06", answer.status == 460, "460", answer.status)
    tus.check("CSUM-09", tus.offset(url) == 0, "offset 0", tus.offset(url))
    answer = tus.patch(url, 0, DATA, ("Upload-Checksum", "foo AAAA"))
    tus.check("CSUM-05", answer.status == 400, "400 for an unknown algorithm", answer.status)
    tus.check("CSUM-09", tus.offset(url) == 0, "offset 0", tus.offset(url))
    answer = tus.patch(url, 0, DATA, VECTOR)
    tus.check("CSUM-08", answer.status == 204, "204 for the right body at the same offset", answer.status)
    tus.same_bytes("CSUM-08", url, DATA)


@case("checksum/nonsense", "CSUM-04", "CSUM-09")
def nonsense(tus: Target) -> None:
    """An Upload-Checksum that is none is refused."""
    tus.needs("checksum")
    url = tus.made(length=11)
    for said in ("sha1", "sha1 ", "sha1 %%%", "sha1 AAAA"):
        answer = tus.patch(url, 0, DATA, ("Upload-Checksum", said))
        tus.check("CSUM-04", 400 <= answer.status < 500, f"a 4xx for {said!r}", answer.status)
        if not tus.check("CSUM-09", tus.offset(url) == 0, f"offset 0 after {said!r}", tus.offset(url)):
            return


@case("checksum/empty", "CSUM-04", "CSUM-09")
def empty(tus: Target) -> None:
    """A body without a byte has a checksum too: the right one is taken, another one is not."""
    tus.needs("checksum")
    url = tus.made(length=11)
    answer = tus.patch(url, 0, b"", digest("sha1", b""))
    tus.check("CSUM-04", answer.status == 204, "204 for the checksum of nothing", answer.status, advice=True)
    answer = tus.patch(url, 0, b"", WRONG)
    tus.check("CSUM-04", answer.status >= 400, "an error for another one", answer.status)
    tus.check("CSUM-09", tus.offset(url) == 0, "offset 0", tus.offset(url))


@case("checksum/two", "CSUM-04", "CSUM-09")
def two(tus: Target) -> None:
    """Two Upload-Checksum headers are not one; where both are wrong the body never counts."""
    tus.needs("checksum")
    for both, advice in (((WRONG, WRONG), False), ((VECTOR, WRONG), True), ((WRONG, VECTOR), True)):
        url = tus.made(length=11)
        answer = tus.patch(url, 0, DATA, *both)
        what = "two that are wrong" if both == (WRONG, WRONG) else "a right one and a wrong one"
        tus.check("CSUM-04", answer.status >= 400, f"an error for {what}", answer.status, advice=advice)
        tus.check("CSUM-09", tus.offset(url) == 0, f"offset 0 after {what}", tus.offset(url), advice=advice)


@case("checksum/interrupted", "CSUM-09")
def interrupted(tus: Target) -> None:
    """Half of a body that has a checksum is never counted."""
    tus.needs("checksum")
    url = tus.made(length=11)
    with_half = tus.begin(url, 0, 11, VECTOR)
    with_half.send(DATA[:6])
    with_half.close()
    seen = {tus.offset(url)}

    def free() -> bool:
        seen.add(tus.offset(url))
        return tus.patch(url, 0, b"").status == 204

    tus.until(free)
    seen.discard(None)
    tus.check("CSUM-09", seen <= {0}, "offset 0 all the time", seen)


@case("checksum/trailer", "CSUM-15", "CSUM-16")
def trailer(tus: Target) -> None:
    """A checksum may come behind a chunked body."""
    tus.needs("checksum-trailer")
    named = tus.named()
    tus.check("CSUM-16", "checksum-trailer" in named, "checksum-trailer in Tus-Extension", named)
    for value, well in ((VECTOR[1], True), (WRONG[1], False)):
        url = tus.made(length=11)
        connection = tus.begin(url, 0, None, ("Trailer", "Upload-Checksum"))
        connection.send(b"b\r\n" + DATA + b"\r\n0\r\nUpload-Checksum: " + value.encode() + b"\r\n\r\n")
        try:
            status = connection.answer("PATCH").status
        except NoAnswer:
            status = 0
        offset = tus.offset(url)
        expected = "204 and offset 11" if well else "an error and offset 0"
        holds = (status, offset) == (204, 11) if well else (status >= 400 and offset == 0)
        tus.check("CSUM-16", holds, f"{expected} where trailers are announced", (status, offset))
        tus.check("CSUM-15", holds, expected, (status, offset))
