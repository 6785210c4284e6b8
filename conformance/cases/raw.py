"""Below HTTP: connections that break, bodies in odd pieces, several requests at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from conformance.cases import case
from conformance.target import OCTETS, VERSION, Target
from conformance.wire import Connection, NoAnswer, head

KIB = 1024


@case("wire/fin", "CORE-38", "CORE-41")
def fin(tus: Target) -> None:
    """A connection that ends in the middle of a body: what arrived is kept, and the upload goes on."""
    _broken(tus, lambda connection: connection.close(), kept=64 * KIB)


@case("wire/rst", "CORE-38")
def rst(tus: Target) -> None:
    """A connection that is reset in the middle of a body: the upload goes on."""
    _broken(tus, lambda connection: connection.reset(), kept=None)


@case("wire/silence", "CORE-38")
def silence(tus: Target) -> None:
    """A connection that falls silent in the middle of a body does not lock its upload."""
    _broken(tus, lambda connection: None, kept=None)


@case("wire/chunked", "CORE-25", "CORE-36")
def chunked(tus: Target) -> None:
    """A chunked body in odd pieces, with an extension of a chunk and a trailer, is a body like any other."""
    data = bytes(range(200)) * 3
    url = tus.made(length=len(data))
    connection = tus.begin(url, 0, None)
    for start, stop in ((0, 1), (1, 3), (3, 300), (300, 600)):
        piece = data[start:stop]
        connection.send(f"{len(piece):x};note=odd\r\n".encode(), piece[:1], piece[1:], b"\r\n")
    connection.send(b"0\r\nX-Trailer: yes\r\n\r\n")
    status, offset = _answered(connection), tus.offset(url)
    if tus.check("CORE-25", status == 204, "204 for a chunked body", status):
        tus.check("CORE-36", offset == len(data), f"offset {len(data)}", offset)
        tus.same_bytes("CORE-36", url, data)


@case("wire/slow-head", "CORE-25", "CORE-38")
def slow_head(tus: Target) -> None:
    """A head that comes letter by letter is a head, and nobody else waits for it."""
    url, other = tus.made(length=5), tus.made(length=5)
    connection = tus.wire.connect(url)
    request = _head(tus, url, 0) + b"01234"
    for at in range(len(request)):
        connection.send(request[at : at + 1])
        if at == len(request) // 2:
            tus.check("CORE-38", tus.offset(other) == 0, "an answer for somebody else meanwhile", tus.offset(other))
    status = _answered(connection)
    tus.check("CORE-25", (status, tus.offset(url)) == (204, 5), "204 and offset 5", (status, tus.offset(url)))


@case("wire/two-offsets", "CORE-02")
def two_offsets(tus: Target) -> None:
    """Two Upload-Offset headers are not one non-negative integer."""
    url = tus.made(length=10)
    connection = tus.begin(url, 0, 5, ("Upload-Offset", "5"))
    connection.send(b"01234")
    status = _answered(connection)
    tus.check("CORE-02", 400 <= status < 500, "a 4xx", status, advice=True)
    tus.check("CORE-02", tus.offset(url) == 0, "offset 0", tus.offset(url), advice=True)


@case("wire/expect", "CWU-10", "CORE-30")
def expect(tus: Target) -> None:
    """Who asks first (Expect: 100-continue) is refused before a byte is sent, and not invited."""
    url = tus.made(length=10)
    connection = tus.begin(url, 7, 3, ("Expect", "100-continue"))
    first = connection.interim(tus.options.patience)
    tus.check("CORE-30", first in (409, 100), "409 at once (or 100 first)", first)
    tus.check("CWU-10", first == 409, "409 without 100", first)


@case("wire/two-writers", "CORE-30", "CORE-31", "CORE-36", "CORE-38")
def two_writers(tus: Target) -> None:
    """Two PATCHes at one offset at the same time: the upload has the bytes of one of them, not a mixture."""
    size = 256 * KIB
    url = tus.made(length=size)
    bodies = [bytes([letter]) * size for letter in b"AB"]
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda body: tus.patch(url, 0, body), bodies))
    tus.check("CORE-30", statuses != [204, 204], "204 for one of them at most", statuses)

    def whole() -> bool:
        at = tus.offset(url)
        return at is not None and (at >= size or tus.patch(url, at, bodies[0][at:]).status == 204)

    tus.check("CORE-38", tus.until(whole), "the upload goes on within the patience", tus.offset(url))
    stored = tus.stored(url)
    if stored is not None and tus.offset(url) == size:
        tus.check("CORE-36", len(stored) == size, f"{size} bytes", len(stored))
        turns = sum(stored[at] != stored[at - 1] for at in range(1, len(stored)))
        tus.check("CORE-31", turns <= 1, "the bytes of one, then of the other", f"{turns} turns")


@case("wire/head-meanwhile", "CORE-19", "CORE-38")
def head_meanwhile(tus: Target) -> None:
    """HEAD while a PATCH hangs is answered, with an offset to go on from."""
    size = 64 * KIB
    data = bytes(range(256)) * (size // 256)
    url = tus.made(length=size)
    connection = tus.begin(url, 0, size)
    connection.send(data[: size // 2])
    told = tus.head(url)
    offset = told.get("Upload-Offset")
    if tus.check("CORE-19", told.status in (200, 204) and offset is not None, "an offset", told.status):
        _goes_on(tus, url, data)
    connection.close()


@case("wire/delete-meanwhile", "TERM-03", "TERM-04")
def delete_meanwhile(tus: Target) -> None:
    """DELETE while a PATCH hangs: the upload is gone, and does not come back."""
    tus.needs("termination")
    url = tus.made(length=64 * KIB)
    connection = tus.begin(url, 0, 64 * KIB)
    connection.send(bytes(32 * KIB))
    answer = tus.delete(url)
    tus.check("TERM-03", answer.status == 204, "204", answer.status)
    connection.send(bytes(32 * KIB))
    connection.close()
    told = tus.head(url).status
    tus.check("TERM-04", told in (404, 410), "404 or 410", told)


@case("wire/pipelined", "CORE-36")
def pipelined(tus: Target) -> None:
    """Two PATCHes behind one another on one connection are two PATCHes."""
    url = tus.made(length=10)
    connection = tus.begin(url, 0, 5)
    connection.send(b"01234" + _head(tus, url, 5) + b"56789")
    first = _answered(connection)
    second = _answered(connection)
    if (first, second) != (204, 204):
        tus.until(lambda: tus.offset(url) is not None)
    found = tus.offset(url)
    well = (first, second, found) == (204, 204, 10) or (first, found) == (204, 5)
    tus.check("CORE-36", well, "204, 204 and offset 10, or an end after the first", (first, second, found))
    if found == 10:
        tus.same_bytes("CORE-36", url, b"0123456789")


@case("wire/lengths-that-conflict", "HTTP-01")
def smuggled(tus: Target) -> None:
    """Lengths that contradict one another never smuggle a request past the one that it came with."""
    for framing in (("Transfer-Encoding", "chunked"), ("Content-Length", "5")):
        url, victim = tus.made(length=10), tus.made(length=10)
        hidden = (b"0\r\n\r\n" if framing[1] == "chunked" else b"01234") + _head(tus, victim, 0) + b"EVIL!"
        connection = tus.begin(url, 0, len(hidden), framing)
        connection.send(hidden)
        _answered(connection)
        connection.close()
        found = tus.offset(victim)
        what = f"Content-Length: {len(hidden)} and {': '.join(framing)}"
        tus.check("HTTP-01", found in (0, None), f"the other upload is untouched by {what}", found)


def _head(tus: Target, url: str, offset: int) -> bytes:
    """The head of a PATCH of five bytes."""
    where = urlsplit(url)
    said = [("Host", where.netloc), *tus.options.headers, VERSION, OCTETS]
    return head("PATCH", where, [*said, ("Upload-Offset", str(offset)), ("Content-Length", "5")])


def _broken(tus: Target, breaking: Callable[[Connection], None], kept: int | None) -> None:
    data = bytes(range(256)) * 512
    url = tus.made(length=len(data))
    connection = tus.begin(url, 0, len(data))
    connection.send(data[: 64 * KIB])
    breaking(connection)
    told = tus.head(url)
    tus.check("CORE-38", told.status != 500, "no 500", told.status)
    if kept is not None:
        found = tus.until(lambda: (tus.offset(url) or 0) >= kept)
        tus.check("CORE-41", found, f"the {kept} bytes that arrived", tus.offset(url))
    _goes_on(tus, url, data)
    connection.close()


def _goes_on(tus: Target, url: str, data: bytes) -> None:
    """As a client does: asks where it is, and sends the rest, again if need be."""

    def whole() -> bool:
        at = tus.offset(url)
        return at is not None and (at == len(data) or tus.patch(url, at, data[at:]).status == 204)

    tus.check("CORE-38", tus.until(whole), "the upload goes on within the patience", tus.offset(url))
    tus.same_bytes("CORE-38", url, data)


def _answered(connection: Connection) -> int:
    try:
        return connection.answer("PATCH").status
    except NoAnswer:
        return 0
