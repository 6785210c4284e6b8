"""Creation-with-upload."""

from __future__ import annotations

from conformance.cases import case
from conformance.target import INTEGER, OCTETS, Target, digest


@case("creation/with-upload/whole", "CWU-02", "CWU-03", "CWU-06", "CWU-07", "CWU-08")
def with_upload(tus: Target) -> None:
    """Bytes that come with the POST are taken, and the answer says how many."""
    tus.needs("creation-with-upload")
    named = tus.named()
    tus.check("CWU-02", "creation-with-upload" in named, "creation-with-upload in Tus-Extension", named)
    tus.check("CWU-03", "creation" in named, "creation announced too", named)
    for body in (b"0123456789", b"0123", b""):
        answer = tus.post(("Upload-Length", "10"), OCTETS, body=body)
        url, found = tus.location(answer), answer.get("Upload-Offset")
        if url is None:
            tus.check("CWU-07", False, f"201 with {len(body)} bytes", answer.status)
            continue
        well = found is not None and INTEGER.fullmatch(found) is not None
        if tus.check("CWU-07", well, f"Upload-Offset with {len(body)} bytes", found, advice=not body):
            tus.check("CWU-06", found == str(len(body)), str(len(body)), found)
            tus.check("CWU-08", found == str(tus.offset(url)), "what HEAD says then", (found, tus.offset(url)))
        if body == b"0123456789":
            tus.same_bytes("CWU-08", url, body)


@case("creation/with-upload/too-much", "CWU-11")
def with_too_much(tus: Target) -> None:
    """More bytes than Upload-Length are refused, and leave no complete upload."""
    tus.needs("creation-with-upload")
    answer = tus.post(("Upload-Length", "5"), OCTETS, body=b"0123456789")
    url = tus.location(answer)
    well = answer.status >= 400 or (url is not None and (tus.offset(url) or 0) <= 5)
    tus.check("CWU-11", answer.status == 413, "413", answer.status)
    tus.check("CWU-11", well, "no upload beyond its length", answer.status)


@case("creation/with-upload/checksum", "CWU-12")
def with_checksum(tus: Target) -> None:
    """A checksum that comes with the POST counts for its bytes."""
    tus.needs("creation-with-upload")
    tus.needs("checksum")
    for summed, well in ((b"hello world", True), (b"something else", False)):
        answer = tus.post(("Upload-Length", "11"), OCTETS, digest("sha1", summed), body=b"hello world")
        url = tus.location(answer)
        kept = tus.offset(url) if url is not None and answer.status < 400 else 0
        expected = "201 and the bytes" if well else "an error, or none of the bytes"
        holds = (answer.status, kept) == (201, 11) if well else kept == 0
        tus.check("CWU-12", holds, expected, (answer.status, kept))


@case("creation/with-upload/content-type", "CWU-05")
def with_wrong_type(tus: Target) -> None:
    """A body of another Content-Type, or of none, is refused, or at least not taken for the upload's bytes."""
    tus.needs("creation-with-upload")
    for said in ([("Content-Type", "text/plain")], []):
        answer = tus.post(("Upload-Length", "10"), *said, body=b"01234")
        url = tus.location(answer)
        kept = tus.offset(url) if url is not None and answer.status < 400 else 0
        what = said[0][1] if said else "no Content-Type"
        tus.check("CWU-05", kept == 0, f"415, or none of the bytes, for {what}", (answer.status, kept), advice=True)
