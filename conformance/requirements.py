"""The normative lines of tus 1.0.0, in words of our own; the protocol's text is what counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SPECIFICATION: Final = "https://tus.io/protocols/resumable-upload"


class Level(StrEnum):
    """How strongly a line binds. What the text says without a keyword counts as SHOULD here: nobody is accused of
    breaking a rule that is only implied."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


@dataclass(frozen=True, slots=True)
class Requirement:
    """``said``: the keyword as the text has it. ``side``: whom it binds, the server (S), the client (C) or both (B).
    ``section``: where to look it up."""

    id: str
    said: str
    side: str
    section: str
    text: str

    @property
    def level(self) -> Level:
        """The level, of which MUST NOT and SHALL NOT are MUST, and SHOULD NOT is SHOULD."""
        word = self.said.split()[0]
        if word in ("MUST", "SHALL"):
            return Level.MUST
        return Level.MAY if word == "MAY" else Level.SHOULD

    @property
    def source(self) -> str:
        """Where to look it up, in words."""
        return self.section if self.section.startswith("RFC") else f"{SPECIFICATION} ({self.section})"

    @property
    def binds_a_server(self) -> bool:
        """Whether a server can break it."""
        return self.side in ("S", "B")


_ROWS: Final = (
    (
        "HTTP-01",
        "ought to",
        "S",
        "RFC 9112, section 6.3",
        "A request whose lengths contradict one another is an error, and nothing behind it on its connection counts.",
    ),
    ("CORE-01", "MUST", "B", "Core Protocol", "Core is not optional: HEAD, PATCH, OPTIONS all work."),
    ("CORE-02", "MUST", "B", "Headers/Upload-Offset", "The value of `Upload-Offset` is a non-negative integer."),
    ("CORE-03", "MUST", "B", "Headers/Upload-Length", "`Upload-Length` is a non-negative integer."),
    ("CORE-04", "MUST", "S", "Headers/Tus-Version", "`Tus-Version` is a comma list of supported versions."),
    ("CORE-05", "MUST", "S", "Headers/Tus-Version", "The list is ordered by server preference, best first."),
    ("CORE-06", "MUST", "C", "Headers/Tus-Resumable", "Every request except OPTIONS carries `Tus-Resumable`."),
    ("CORE-07", "MUST", "S", "Headers/Tus-Resumable", "Every response except to OPTIONS carries `Tus-Resumable`."),
    ("CORE-08", "MUST", "B", "Headers/Tus-Resumable", "The value of `Tus-Resumable` is the version in use."),
    ("CORE-09", "MUST", "S", "Headers/Tus-Resumable", "Client version not supported → 412."),
    (
        "CORE-10",
        "MUST",
        "S",
        "Headers/Tus-Resumable",
        "A 412 for a version that the server does not speak carries `Tus-Version`.",
    ),
    (
        "CORE-11",
        "MUST NOT",
        "S",
        "Headers/Tus-Resumable",
        "A request with a version that the server does not speak is not carried out.",
    ),
    ("CORE-12", "MUST", "S", "Headers/Tus-Extension", "`Tus-Extension` is a comma list of the supported extensions."),
    ("CORE-13", "MUST", "S", "Headers/Tus-Extension", "No extensions → header absent (not empty)."),
    (
        "CORE-14",
        "MUST",
        "S",
        "Headers/Tus-Max-Size",
        "`Tus-Max-Size` is a non-negative integer = max size of a whole upload.",
    ),
    ("CORE-15", "SHOULD", "S", "Headers/Tus-Max-Size", "Send it when a hard limit is known."),
    (
        "CORE-16",
        "MUST",
        "S",
        "Headers/X-HTTP-Method-Override",
        "If `X-HTTP-Method-Override` is there, its value is the method.",
    ),
    ("CORE-17", "MUST", "S", "Headers/X-HTTP-Method-Override", "The real method is then ignored."),
    ("CORE-18", "SHOULD", "C", "Headers/X-HTTP-Method-Override", "Clients use it when PATCH/DELETE are unavailable."),
    ("CORE-19", "MUST", "S", "Requests/HEAD", "HEAD success always has `Upload-Offset`, also at 0 and when complete."),
    ("CORE-20", "MUST", "S", "Requests/HEAD", "HEAD has `Upload-Length` when the size is known."),
    ("CORE-21", "SHOULD", "S", "Requests/HEAD", "Unknown resource → 404, 410 or 403."),
    (
        "CORE-22",
        "SHOULD",
        "S",
        "Requests/HEAD",
        "The answer to HEAD for an upload that is not there has no `Upload-Offset`.",
    ),
    ("CORE-23", "SHOULD", "S", "Requests/HEAD", "A HEAD that succeeds is answered with 200 or 204."),
    ("CORE-24", "MUST", "S", "Requests/HEAD", "HEAD response has `Cache-Control: no-store`."),
    ("CORE-25", "SHOULD", "S", "Requests/PATCH", "PATCH accepted on any upload URL, bytes applied at `Upload-Offset`."),
    ("CORE-26", "MUST", "C", "Requests/PATCH", "PATCH uses `application/offset+octet-stream`."),
    ("CORE-27", "SHOULD", "S", "Requests/PATCH", "Any other/missing content type → 415."),
    ("CORE-28", "MUST", "C", "Requests/PATCH", "Client's `Upload-Offset` equals the current offset."),
    ("CORE-29", "MAY", "C", "Requests/PATCH", "Parallelism goes through Concatenation."),
    ("CORE-30", "MUST", "S", "Requests/PATCH", "Offset mismatch → 409."),
    ("CORE-31", "MUST", "S", "Requests/PATCH", "A PATCH whose offset does not match leaves the upload as it is."),
    ("CORE-32", "SHOULD", "C", "Requests/PATCH", "One PATCH for all the rest."),
    ("CORE-33", "MAY", "C", "Requests/PATCH", "Many small PATCHes are allowed."),
    ("CORE-34", "MUST", "S", "Requests/PATCH", "A PATCH that succeeds is answered with 204."),
    ("CORE-35", "MUST", "S", "Requests/PATCH", "The answer to a PATCH that succeeds carries `Upload-Offset`."),
    (
        "CORE-36",
        "MUST",
        "S",
        "Requests/PATCH",
        "New offset = old offset + bytes received and processed/stored in this request.",
    ),
    ("CORE-37", "SHOULD", "S", "Requests/PATCH", "PATCH on an unknown upload → 404."),
    ("CORE-38", "SHOULD", "B", "Requests/PATCH", "Detect and handle network errors predictably."),
    ("CORE-39", "MAY", "B", "Requests/PATCH", "By socket errors / read-write timeouts."),
    ("CORE-40", "SHOULD", "B", "Requests/PATCH", "A timeout closes the connection."),
    ("CORE-41", "SHOULD", "S", "Requests/PATCH", "Store as much of what arrived as possible."),
    ("CORE-42", "MAY", "C", "Requests/OPTIONS", "OPTIONS may be used to read the server's configuration."),
    ("CORE-43", "MUST", "S", "Requests/OPTIONS", "A successful OPTIONS (200 or 204) has `Tus-Version`."),
    ("CORE-44", "MAY", "S", "Requests/OPTIONS", "May have `Tus-Extension` and `Tus-Max-Size`."),
    ("CORE-45", "SHOULD NOT", "C", "Requests/OPTIONS", "Client leaves `Tus-Resumable` out of OPTIONS."),
    ("CORE-46", "MUST", "S", "Requests/OPTIONS", "The server ignores `Tus-Resumable` on OPTIONS."),
    ("CORE-47", "SHOULD", "B", "Protocol Extensions", "Feature detection = OPTIONS + `Tus-Extension`."),
    ("CREA-01", "SHOULD", "B", "Creation", "Implement creation."),
    ("CREA-02", "MUST", "S", "Creation", "A server with the creation extension names `creation` in `Tus-Extension`."),
    ("CREA-03", "MUST", "C", "Creation/POST", "POST goes to the known creation URL."),
    ("CREA-04", "MUST", "C", "Creation/POST", "POST has `Upload-Length` **or** `Upload-Defer-Length: 1`."),
    ("CREA-05", "should (lower case)", "S", "Creation/POST", "`Upload-Defer-Length` other than `1` → 400."),
    ("CREA-06", "MUST", "B", "Upload-Defer-Length", "The header's value is `1`."),
    ("CREA-07", "MUST", "B", "Upload-Defer-Length", "Not deferred → header omitted."),
    ("CREA-08", "MUST", "C", "Creation/POST", "Once known, `Upload-Length` goes on the next PATCH."),
    ("CREA-09", "MUST NOT", "B", "Creation/POST", "A set length never changes."),
    ("CREA-10", "MUST", "S", "Creation/POST", "While unknown, every HEAD has `Upload-Defer-Length: 1`."),
    ("CREA-11", "MUST", "S", "Creation/POST", "Deferring supported → advertise `creation-defer-length`."),
    ("CREA-12", "MAY", "C", "Creation/POST", "`Upload-Length: 0` = empty file."),
    ("CREA-13", "(is)", "S", "Creation/POST", "An upload of length 0 is complete at once, without a PATCH."),
    ("CREA-14", "MUST", "B", "Upload-Metadata", "One or more comma-separated key/value pairs."),
    ("CREA-15", "MUST", "B", "Upload-Metadata", "Key and value separated by a space."),
    ("CREA-16", "MUST NOT", "B", "Upload-Metadata", "Key has no space/comma and is not empty."),
    ("CREA-17", "SHOULD", "B", "Upload-Metadata", "Key is ASCII."),
    ("CREA-18", "MUST", "B", "Upload-Metadata", "Value is Base64."),
    ("CREA-19", "MUST", "B", "Upload-Metadata", "Keys are unique."),
    ("CREA-20", "MAY", "B", "Upload-Metadata", "Value may be empty; then the space may be left out."),
    ("CREA-21", "SHOULD", "S", "Upload-Metadata", "Validate/sanitise values before using them as header values."),
    ("CREA-22", "MAY", "C", "Creation/POST", "Client may send `Upload-Metadata`."),
    ("CREA-23", "MAY", "S", "Creation/POST", "Server may ignore, use, or reject by it."),
    ("CREA-24", "MUST", "S", "Creation/POST", "HEAD echoes `Upload-Metadata` **as specified at creation**."),
    ("CREA-25", "MUST", "S", "Creation/POST", "Length over the maximum → 413."),
    ("CREA-26", "MAY", "S", "Creation/POST", "The maximum may be told by `Tus-Max-Size`."),
    ("CREA-27", "MUST", "S", "Creation/POST", "A POST that makes an upload is answered with 201."),
    ("CREA-28", "MUST", "S", "Creation/POST", "`Location` = URL of the upload."),
    ("CREA-29", "MAY", "S", "Creation/POST", "`Location` absolute or relative."),
    ("CREA-30", "MUST", "C", "Creation/POST", "The data go through the core protocol."),
    ("CREA-31", "(is)", "S", "Creation/Example", "A new upload has offset 0 implicitly."),
    ("CWU-01", "MAY", "C", "CWU", "Client may send a first part in the POST."),
    ("CWU-02", "MUST", "S", "CWU", "Advertise `creation-with-upload`."),
    ("CWU-03", "MUST NOT", "S", "CWU", "Not offered without `creation`."),
    ("CWU-04", "MAY", "C", "CWU", "Whole upload or a chunk."),
    ("CWU-05", "MUST", "C", "CWU", 'The body has OCT ("similar rules as PATCH").'),
    ("CWU-06", "SHOULD", "S", "CWU", "Take as many bytes as possible."),
    ("CWU-07", "MUST", "S", "CWU", "Response has `Upload-Offset`."),
    ("CWU-08", "MUST", "S", "CWU", "`Upload-Offset` on the 201 is the offset after the bytes that were taken."),
    ("CWU-09", "SHOULD", "C", "CWU", "Client checks support first."),
    ("CWU-10", "SHOULD", "C", "CWU", "Client sends `Expect: 100-continue`."),
    ("CWU-11", "(PATCH rules)", "S", "CWU+PATCH", "Body larger than `Upload-Length` is refused like a PATCH."),
    (
        "CWU-12",
        "(PATCH rules)",
        "S",
        "CWU+Checksum",
        "`Upload-Checksum` on such a POST is verified like on PATCH (spec names only PATCH).",
    ),
    ("EXP-01", "MAY", "S", "Expiration", "Unfinished uploads may be removed after expiry."),
    ("EXP-02", "MUST", "S", "Expiration", "A server that lets uploads expire names `expiration` in `Tus-Extension`."),
    ("EXP-03", "SHOULD", "C", "Upload-Expires", "Client checks the header before resuming."),
    ("EXP-04", "MUST", "S", "Upload-Expires", "Every PATCH response has it if the upload is going to expire."),
    ("EXP-05", "MUST", "S", "Upload-Expires", "On POST if expiry is known at creation."),
    ("EXP-06", "MAY", "S", "Upload-Expires", "Value may change."),
    ("EXP-07", "SHOULD", "S", "Upload-Expires", "Resuming a removed upload → 404 or 410."),
    ("EXP-08", "SHOULD", "S", "Upload-Expires", "410 if the server keeps track of expired uploads."),
    ("EXP-09", "SHOULD", "C", "Upload-Expires", "Client then starts a new upload."),
    ("EXP-10", "MUST", "S", "Upload-Expires", "RFC 9110 date format (emit IMF-fixdate)."),
    ("CSUM-01", "MAY", "B", "Checksum", "Optional extension."),
    ("CSUM-02", "MUST", "S", "Checksum", "Advertise `checksum`."),
    ("CSUM-03", "MAY", "C", "Checksum", "Client may send `Upload-Checksum` on PATCH."),
    ("CSUM-04", "MUST", "S", "Checksum", "After the whole request arrived, verify it against the chunk."),
    ("CSUM-05", "MAY", "S", "Checksum", "Unsupported algorithm → 400."),
    ("CSUM-06", "MAY", "S", "Checksum", "Mismatch → 460."),
    ("CSUM-07", "MAY", "S", "Checksum", "Match and processed → 204."),
    ("CSUM-08", "MUST", "S", "Checksum", "In both failures the chunk is discarded."),
    (
        "CSUM-09",
        "MUST NOT",
        "S",
        "Checksum",
        "A body that is not what its checksum says moves neither upload nor offset.",
    ),
    ("CSUM-10", "MUST", "S", "Checksum", "At least `sha1`."),
    ("CSUM-11", "MUST", "S", "Checksum", "Algorithm names are ASCII without upper case."),
    ("CSUM-12", "MUST", "S", "Checksum", "`Tus-Checksum-Algorithm` on OPTIONS."),
    ("CSUM-13", "MUST", "S", "Tus-Checksum-Algorithm", "Comma list."),
    ("CSUM-14", "MUST", "C", "Upload-Checksum", "`<algorithm> <base64 digest>`, one space."),
    ("CSUM-15", "MAY", "C", "Checksum", "May be a trailer when not known up front."),
    ("CSUM-16", "MUST", "S", "Checksum", "Trailers handled → advertise `checksum-trailer`."),
    ("TERM-01", "MUST", "S", "Termination", "Advertise `termination`."),
    ("TERM-02", "SHOULD", "S", "Termination/DELETE", "Free the resources."),
    ("TERM-03", "MUST", "S", "Termination/DELETE", "DELETE on an existing upload → 204."),
    ("TERM-04", "SHOULD", "S", "Termination/DELETE", "Later requests to that URL → 404 or 410."),
    ("TERM-05", "(implied)", "S", "Core/HEAD", "DELETE on an unknown id is not 204."),
    ("CONC-01", "MUST", "S", "Concatenation", "Advertise `concatenation`."),
    ("CONC-02", "(is)", "C", "Concatenation", "`Upload-Concat: partial` on creation makes a partial upload."),
    ("CONC-03", "SHOULD NOT", "S", "Concatenation", "Partials are not processed before concatenation."),
    ("CONC-04", "MUST", "S", "Concatenation", "Final length = sum of the partial lengths."),
    ("CONC-05", "MUST", "C", "Concatenation", "Final creation has `Upload-Concat: final;<urls>`."),
    ("CONC-06", "MUST", "B", "Concatenation/Upload-Concat", "Exactly `partial`, or `final;` + space-separated list."),
    ("CONC-07", "MUST", "S", "Concatenation", "Order of the list is the order of the bytes."),
    ("CONC-08", "SHOULD", "C", "Concatenation", "Request comes after all partials are complete."),
    ("CONC-09", "MUST NOT", "C", "Concatenation", "No `Upload-Length` on a final creation."),
    ("CONC-10", "MAY", "C", "Concatenation", "May come while partials are in progress …"),
    (
        "CONC-11",
        "MUST",
        "S",
        "Concatenation",
        "A final upload over unfinished partial ones needs `concatenation-unfinished` in `Tus-Extension`.",
    ),
    ("CONC-12", "SHALL NOT", "S", "Concatenation", "Partials' metadata don't move to the final upload."),
    ("CONC-13", "SHOULD", "C", "Concatenation", "Final's metadata come in the final POST."),
    ("CONC-14", "MAY", "S", "Concatenation", "Partials may be deleted after concatenation."),
    ("CONC-15", "MAY", "C", "Concatenation", "A partial may be used several times, in one list or many."),
    ("CONC-16", "MUST", "S", "Concatenation", "PATCH on a final upload → 403."),
    (
        "CONC-17",
        "MUST NOT",
        "S",
        "Concatenation",
        "A PATCH of a final upload leaves it and its partial uploads as they are.",
    ),
    ("CONC-18", "SHOULD NOT", "S", "Concatenation", "HEAD final has no `Upload-Offset` until concatenation is done."),
    ("CONC-19", "MUST", "S", "Concatenation", "After success `Upload-Offset` and `Upload-Length` are set and equal."),
    ("CONC-20", "MUST", "S", "Concatenation", "HEAD partial has `Upload-Offset`."),
    ("CONC-21", "MUST", "S", "Concatenation", "`Upload-Length` whenever the final length can be computed."),
    ("CONC-22", "MUST", "S", "Concatenation", "HEAD of partial and final carries `Upload-Concat` **as received**."),
    ("CONC-23", "MUST", "C", "Upload-Concat", "Header is set in both kinds of creation request."),
    ("CONC-24", "MAY", "C", "Upload-Concat", "URLs absolute or relative."),
    ("CONC-25", "MUST NOT", "C", "Upload-Concat", "URLs contain no spaces."),
    ("CONC-26", "(CREA-25)", "S", "Creation/POST", "Sum over `Tus-Max-Size` is refused."),
)

REQUIREMENTS: Final = {row[0]: Requirement(*row) for row in _ROWS}
"""By id, in the order of the text."""
