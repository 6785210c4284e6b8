"""Core: PATCH."""

from __future__ import annotations

from conformance.cases import case
from conformance.target import INTEGER, OCTETS, Target

WRONG_OFFSETS = ("-1", "abc", "1.5", "", "0x0", "1e1", "0 0", "\u0660")


@case("core/patch/pieces", "CORE-01", "CORE-25", "CORE-34", "CORE-35", "CORE-36")
def pieces(tus: Target) -> None:
    """An upload in three pieces: 204 each time, with the new offset, and the bytes are those that were sent."""
    data = bytes(range(256)) * 40
    url = tus.made(length=len(data))
    for start, stop in ((0, 100), (100, 5000), (5000, len(data))):
        answer = tus.patch(url, start, data[start:stop])
        tus.check("CORE-01", answer.status not in (0, 404, 405, 501), "an answer to PATCH", answer.status)
        tus.check("CORE-34", answer.status == 204 and not answer.body, "204 without a body", answer.status)
        found = answer.get("Upload-Offset")
        if tus.check("CORE-35", found is not None and INTEGER.fullmatch(found) is not None, "Upload-Offset", found):
            tus.check("CORE-36", found == str(stop), str(stop), found)
    tus.check("CORE-25", tus.offset(url) == len(data), str(len(data)), tus.offset(url))
    tus.same_bytes("CORE-25", url, data)


@case("core/patch/one-byte-each", "CORE-33", "CORE-36")
def one_byte_each(tus: Target) -> None:
    """Thirty PATCHes of one byte make an upload of thirty."""
    data = bytes(range(65, 95))
    url = tus.made(length=len(data))
    for at in range(len(data)):
        found = tus.patch(url, at, data[at : at + 1]).get("Upload-Offset")
        if not tus.check("CORE-36", found == str(at + 1), str(at + 1), found):
            return
    tus.check("CORE-33", tus.offset(url) == len(data), str(len(data)), tus.offset(url))
    tus.same_bytes("CORE-36", url, data)


@case("core/patch/nothing", "CORE-34", "CORE-35", "CORE-36")
def nothing(tus: Target) -> None:
    """A PATCH without a byte moves nothing, and says where the upload is."""
    url = tus.made(length=5)
    tus.patch(url, 0, b"012")
    answer = tus.patch(url, 3, b"")
    tus.check("CORE-34", answer.status == 204, "204", answer.status)
    if tus.check("CORE-35", answer.get("Upload-Offset") is not None, "Upload-Offset", answer.get("Upload-Offset")):
        tus.check("CORE-36", answer.get("Upload-Offset") == "3", "3", answer.get("Upload-Offset"))


@case("core/patch/offset-mismatch", "CORE-30", "CORE-31")
def offset_mismatch(tus: Target) -> None:
    """An offset that is not the upload's is refused with 409, and the upload stays as it is."""
    url = tus.made(length=10)
    tus.patch(url, 0, b"01234")
    for wrong in (0, 4, 6, 10, 11, 2**40):
        answer = tus.patch(url, wrong, b"wrong"[: max(0, 10 - wrong)] or b"w")
        tus.check("CORE-30", answer.status == 409, f"409 for {wrong} instead of 5", answer.status)
        found = tus.offset(url)
        if not tus.check("CORE-31", found == 5, f"offset 5 after {wrong} was refused", found):
            return
    if tus.patch(url, 5, b"56789").status == 204:
        tus.same_bytes("CORE-31", url, b"0123456789")


@case("core/patch/wrong-offset", "CORE-02")
def wrong_offset(tus: Target) -> None:
    """An Upload-Offset that is no non-negative integer, or none, is refused, and nothing moves."""
    url = tus.made(length=10)
    for wrong in WRONG_OFFSETS:
        answer = tus.patch(url, wrong, b"01234")
        well = 400 <= answer.status < 500
        tus.check("CORE-02", well, f"a 4xx for Upload-Offset: {wrong!r}", answer.status)
        if not well and tus.offset(url) != 0:
            return
    answer = tus.ask("PATCH", url, OCTETS, body=b"01234")
    tus.check("CORE-02", 400 <= answer.status < 500, "a 4xx without Upload-Offset", answer.status)
    tus.check("CORE-02", tus.offset(url) == 0, "offset 0", tus.offset(url))


@case("core/patch/content-type", "CORE-27")
def content_type(tus: Target) -> None:
    """Any other Content-Type, or none, is refused with 415, and nothing moves."""
    url = tus.made(length=10)
    for wrong in ("text/plain", "application/octet-stream", "application/offset+octet-streamx"):
        answer = tus.ask("PATCH", url, ("Content-Type", wrong), ("Upload-Offset", "0"), body=b"01234")
        tus.check("CORE-27", answer.status == 415, f"415 for {wrong}", answer.status)
    answer = tus.ask("PATCH", url, ("Upload-Offset", "0"), body=b"01234")
    tus.check("CORE-27", answer.status == 415, "415 without Content-Type", answer.status)
    tus.check("CORE-27", tus.offset(url) == 0, "offset 0", tus.offset(url))


@case("core/patch/unknown", "CORE-37")
def unknown(tus: Target) -> None:
    """PATCH of an upload that is not there is 404."""
    answer = tus.patch(tus.unknown(), 0, b"01234")
    tus.check("CORE-37", answer.status == 404, "404", answer.status)


@case("core/patch/too-much", "CORE-31", "CORE-36")
def too_much(tus: Target) -> None:
    """More bytes than the length leaves room for never make an upload longer than its length."""
    url = tus.made(length=10)
    tus.patch(url, 0, b"01234")
    answer = tus.patch(url, 5, b"0123456789")
    tus.check("CORE-36", answer.status >= 400, "an error for ten bytes where five are missing", answer.status)
    found = tus.offset(url)
    tus.check("CORE-31", found is not None and found <= 10, "an offset of 10 at most", found)


@case("core/patch/complete", "CORE-25", "CORE-30", "CORE-36")
def complete(tus: Target) -> None:
    """A complete upload stays as it is: a PATCH at its end adds nothing, with a body or without."""
    data = b"0123456789"
    url = tus.filled(data)
    for body in (b"", b"more"):
        answer = tus.patch(url, len(data), body)
        well = answer.status == 204 or 400 <= answer.status < 500
        tus.check("CORE-25", well, f"204 or a 4xx for {len(body)} bytes at the end", answer.status)
        if answer.status == 204:
            found = answer.get("Upload-Offset")
            tus.check("CORE-36", found == "10", f"10 after {len(body)} bytes at the end", found)
        tus.check("CORE-36", tus.offset(url) == len(data), str(len(data)), tus.offset(url))
    answer = tus.patch(url, 0, data)
    tus.check("CORE-30", answer.status == 409, "409 for the same bytes from the start", answer.status, advice=True)
    tus.same_bytes("CORE-36", url, data)
