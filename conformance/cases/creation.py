"""Creation and creation-defer-length."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from conformance.cases import case
from conformance.target import ORDINARY, Target, encoded
from conformance.verdicts import Unsupported, Untested

WRONG_LENGTHS = ("-1", "x", "1e3", "", "1.5", "0x5")
WRONG_METADATA = {
    "CREA-15": ["key  dmFs", "a b c"],
    "CREA-16": [",a dmFs", "a dmFs,", ","],
    "CREA-18": ["filename not!!base64", "filename dmF"],
    "CREA-19": ["a Yg==,a Yw=="],
}


@case("creation/post", "CREA-01", "CREA-02", "CREA-27", "CREA-28", "CREA-29", "CORE-47")
def post(tus: Target) -> None:
    """POST makes an upload: 201 and where it is."""
    tus.needs("creation")
    named = tus.named()
    tus.check("CREA-02", "creation" in named, "creation in Tus-Extension", named)
    answer = tus.post(("Upload-Length", "10"))
    tus.check("CREA-01", answer.status not in (0, 404, 405, 501), "an answer to POST", answer.status)
    tus.check("CREA-27", answer.status == 201, "201", answer.status)
    url = tus.location(answer)
    if tus.check("CREA-28", url is not None, "Location", answer.get("Location")):
        found = tus.head(str(url)).status
        tus.check("CREA-28", found in (200, 204), "HEAD of Location says 200 or 204", found)
        absolute = str(answer.get("Location")).startswith(("http://", "https://"))
        tus.check("CREA-29", absolute, "an absolute Location", answer.get("Location"))


@case("creation/no-length", "CREA-04", "CORE-03")
def no_length(tus: Target) -> None:
    """POST with neither, with both, or with a wrong length is refused, and makes nothing."""
    tus.needs("creation")
    for wrong in WRONG_LENGTHS:
        answer = tus.post(("Upload-Length", wrong))
        well = 400 <= answer.status < 500 and answer.get("Location") is None
        tus.check("CORE-03", well, f"a 4xx without Location for Upload-Length: {wrong!r}", answer.status)
    answer = tus.post()
    tus.check("CREA-04", 400 <= answer.status < 500, "a 4xx without any length", answer.status, advice=True)
    both = tus.post(("Upload-Length", "5"), ("Upload-Defer-Length", "1"))
    tus.check("CREA-04", 400 <= both.status < 500, "a 4xx for a length that is also deferred", both.status, advice=True)


@case("creation/empty", "CREA-12", "CREA-13")
def empty(tus: Target) -> None:
    """An upload of length 0 is complete at once."""
    tus.needs("creation")
    answer = tus.post(("Upload-Length", "0"))
    tus.check("CREA-12", answer.status == 201, "201", answer.status)
    url = tus.location(answer)
    if url is not None:
        told = tus.head(url)
        found = (told.get("Upload-Offset"), told.get("Upload-Length"))
        tus.check("CREA-13", found == ("0", "0"), "offset 0 of 0", found)


@case("creation/length-stays", "CREA-09")
def length_stays(tus: Target) -> None:
    """A length that was set at creation is not changed by a PATCH that says another, with bytes or without."""
    tus.needs("creation")
    for body in (b"", b"01234"):
        for length in ("20", "5"):
            url = tus.made(length=10)
            tus.patch(url, 0, body, ("Upload-Length", length))
            found = tus.head(url).get("Upload-Length")
            tus.check("CREA-09", found == "10", f"Upload-Length: 10 after a PATCH with {length}", found)


@case("creation/alike", "CREA-28")
def alike(tus: Target) -> None:
    """Two POSTs that are alike, at the same time, make two uploads; what goes to one is not in the other."""
    tus.needs("creation")
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: tus.made(length=10), range(2))
    tus.check("CREA-28", one != two, "a Location of its own for each", two)
    tus.patch(one, 0, b"01234")
    tus.check("CREA-28", tus.offset(two) == 0, "offset 0 for the other upload", tus.offset(two))


@case("creation/maximum", "CREA-25")
def maximum(tus: Target) -> None:
    """A length above Tus-Max-Size is refused with 413, one that is just that is not."""
    tus.needs("creation")
    limit = tus.announced.maximum
    if limit is None or limit == 0:
        raise Unsupported("no Tus-Max-Size is announced")
    answer = tus.post(("Upload-Length", str(limit + 1)))
    tus.check("CREA-25", answer.status == 413, "413", answer.status)
    tus.check("CREA-25", answer.get("Location") is None, "no Location", answer.get("Location"))
    answer = tus.post(("Upload-Length", str(limit)))
    tus.check("CREA-25", answer.status in (201, 507), "201 for just the maximum", answer.status)


@case("creation/metadata/echo", "CREA-14", "CREA-20", "CREA-24")
def metadata_echo(tus: Target) -> None:
    """HEAD gives Upload-Metadata back as it was, with its order and its empty values."""
    tus.needs("creation")
    z, a = encoded("z"), encoded("f\u00fcr\U0001f600")
    for said in (f"zeta {z},alpha {a}", f"b {z},is_confidential,a {a}", f"only {a}"):
        answer = tus.post(("Upload-Length", "5"), ("Upload-Metadata", said))
        if answer.status != 201:
            tus.check("CREA-24", False, f"201 for Upload-Metadata: {said}", answer.status)
            continue
        found = tus.head(str(tus.location(answer))).get("Upload-Metadata")
        if not tus.check("CREA-24", found is not None, f"Upload-Metadata: {said}", found):
            continue
        pairs = [pair.strip(" ") for pair in str(found).split(",")]
        tus.check("CREA-14", all(pairs), "pairs of a key and a value", found)
        tus.check("CREA-24", pairs == said.split(","), f"the pairs in their order: {said}", found)
        tus.check("CREA-24", found == said, f"to the letter: {said}", found, advice=True)
    answer = tus.post(("Upload-Length", "5"), ("Upload-Metadata", "is_confidential"))
    tus.check("CREA-20", answer.status == 201, "201 for a key without a value", answer.status)


@case("creation/metadata/long", "CREA-24")
def metadata_long(tus: Target) -> None:
    """Metadata of six kilobytes are kept to the last letter, or refused; they are not cut off."""
    tus.needs("creation")
    short = f"{ORDINARY[1]},notes {encoded('some words')}"
    if _pairs(tus, tus.made(("Upload-Metadata", short))) != set(short.split(",")):
        raise Untested("short metadata do not come back as they were either")
    said = f"{ORDINARY[1]},notes {encoded('some words ' * 410)}"
    answer = tus.post(("Upload-Length", "5"), ("Upload-Metadata", said))
    url = tus.location(answer)
    if answer.status != 201 or url is None:
        refused = 400 <= answer.status < 500
        tus.check("CREA-24", refused, f"201 or a 4xx for {len(said)} bytes of metadata", answer.status, advice=True)
        return
    found = _pairs(tus, url)
    size = len(",".join(found))
    tus.check("CREA-24", found == set(said.split(",")), f"all {len(said)} bytes of Upload-Metadata", f"{size} bytes")


@case("creation/metadata/wrong", "CREA-15", "CREA-16", "CREA-18", "CREA-19")
def metadata_wrong(tus: Target) -> None:
    """Upload-Metadata that is none is refused, or is not handed out again as it was."""
    tus.needs("creation")
    for requirement, wrongs in WRONG_METADATA.items():
        for wrong in wrongs:
            answer = tus.post(("Upload-Length", "5"), ("Upload-Metadata", wrong))
            refused = 400 <= answer.status < 500
            url = tus.location(answer)
            found = tus.head(url).get("Upload-Metadata") if url is not None and not refused else None
            well = refused or (answer.status == 201 and found != wrong.strip())
            expected = f"a 4xx for {wrong!r}, or it is not echoed"
            tus.check(requirement, well, expected, f"{answer.status}, HEAD says {found!r}")


@case("creation/metadata/ascii", "CREA-17")
def metadata_ascii(tus: Target) -> None:
    """A key that is not ASCII is refused."""
    tus.needs("creation")
    answer = tus.post(("Upload-Length", "5"), ("Upload-Metadata", "n\u00e4me dmFs"))
    tus.check("CREA-17", 400 <= answer.status < 500, "a 4xx", answer.status)


@case("creation/metadata/headers", "CREA-21")
def metadata_headers(tus: Target) -> None:
    """What a client says of its file never becomes a header line of its own."""
    tus.needs("creation")
    said = f"filename {encoded('a.txt' + chr(13) + chr(10) + 'X-Smuggled: yes')},filetype {encoded('text/x' + chr(10))}"
    answer = tus.post(("Upload-Length", "3"), ("Upload-Metadata", said))
    url = tus.location(answer)
    if url is None:
        tus.check("CREA-21", 400 <= answer.status < 500, "201 or a 4xx", answer.status)
        return
    tus.patch(url, 0, b"abc")
    for told in (tus.head(url), tus.ask("GET", url)):
        tus.check("CREA-21", told.get("X-Smuggled") is None, "no header X-Smuggled", told.get("X-Smuggled"))


@case("creation/defer/post", "CREA-06", "CREA-07", "CREA-08", "CREA-10", "CREA-11", "CORE-20", "CORE-25")
def defer(tus: Target) -> None:
    """A length may come later: HEAD says that it is deferred until a PATCH declares it."""
    tus.needs("creation-defer-length")
    named = tus.named()
    tus.check("CREA-11", "creation-defer-length" in named, "creation-defer-length in Tus-Extension", named)
    url = tus.made(("Upload-Defer-Length", "1"), length=None)
    for offset in (0, 3):
        told = tus.head(url)
        found = told.get("Upload-Defer-Length")
        if tus.check("CREA-10", found is not None, f"Upload-Defer-Length at {offset}", found):
            tus.check("CREA-06", found == "1", "1", found)
        tus.check("CORE-20", told.get("Upload-Length") is None, "no Upload-Length yet", told.get("Upload-Length"))
        if offset == 0:
            answer = tus.patch(url, 0, b"012")
            tus.check("CORE-25", answer.status == 204, "204 for bytes before the length is known", answer.status)
    at = tus.offset(url) or 0
    answer = tus.patch(url, at, b"01234"[at:], ("Upload-Length", "5"))
    tus.check("CREA-08", answer.status == 204, "204 for a PATCH that declares the length", answer.status)
    told = tus.head(url)
    tus.check("CREA-08", told.get("Upload-Length") == "5", "Upload-Length: 5", told.get("Upload-Length"))
    for upload in (url, tus.made()):
        found = tus.head(upload).get("Upload-Defer-Length")
        tus.check("CREA-07", found is None, "no Upload-Defer-Length where the length is known", found)


@case("creation/defer/wrong", "CREA-05", "CREA-09")
def defer_wrong(tus: Target) -> None:
    """Upload-Defer-Length is 1 or nothing, and a length that is set stays."""
    tus.needs("creation-defer-length")
    for wrong in ("0", "2", "true", "01", ""):
        answer = tus.post(("Upload-Defer-Length", wrong))
        tus.check("CREA-05", answer.status == 400, f"400 for {wrong!r}", answer.status)
    url = tus.made(("Upload-Defer-Length", "1"), length=None)
    tus.patch(url, 0, b"012", ("Upload-Length", "10"))
    for length in ("5", "20"):
        tus.patch(url, 3, b"", ("Upload-Length", length))
        found = tus.head(url).get("Upload-Length")
        tus.check("CREA-09", found == "10", f"Upload-Length: 10 after a PATCH with {length}", found)


def _pairs(tus: Target, url: str) -> set[str]:
    """Those of Upload-Metadata that HEAD gives back."""
    return set((tus.head(url).get("Upload-Metadata") or "").split(","))
