"""tus 1.0.0, its answers: outcome or refusal -> status and headers. ``tus1`` is the way in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, assert_never

from tusserver.protocol import refusals
from tusserver.protocol.commands import Appended, Created, Inspected, Terminated
from tusserver.protocol.headers import ALGORITHMS, build_http_date, build_integer, build_location
from tusserver.protocol.messages import Response
from tusserver.protocol.refusals import HookRefused, MethodNotAllowed, Refusal, UnsupportedVersion
from tusserver.protocol.upload import Kind, Upload

VERSION: Final = "1.0.0"

EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "termination",
    "concatenation",
    "concatenation-unfinished",
    "checksum",
)
"""What is always offered; ``checksum-trailer`` and ``expiration`` depend on the connection and on the settings."""

STATUS: Final[Mapping[type[Refusal], int]] = {
    Refusal: 400,
    refusals.BadHeader: 400,
    refusals.UnsupportedVersion: 412,
    refusals.WrongContentType: 415,
    refusals.MethodNotAllowed: 405,
    refusals.HeadersTooLarge: 431,
    refusals.UploadNotFound: 404,
    refusals.UploadExpired: 410,
    refusals.UploadNotFinished: 404,
    refusals.FinalUploadFixed: 403,
    refusals.OffsetMismatch: 409,
    refusals.LengthFixed: 400,
    refusals.LengthExceeded: 413,
    refusals.TooLarge: 413,
    refusals.ChecksumMismatch: 460,
    refusals.HookRefused: 403,
    refusals.ClientGone: 400,
    refusals.BodyIncomplete: 400,
    refusals.BodyTimeout: 408,
    refusals.TakenOver: 409,
    refusals.UploadBusy: 423,
    refusals.TooManyUploads: 503,
    refusals.ShuttingDown: 503,
    refusals.StorageFull: 507,
    refusals.StoreUnavailable: 503,
}
"""The status of each refusal, and of those derived from it. HookRefused brings its own where that is an error."""

WITH_OFFSET: Final = frozenset({408, 409, 413, 423, 503, 507})
"""After these a client goes on with the same upload, so they say from where (AMB-34)."""

WITH_RETRY_AFTER: Final = frozenset({423, 503})

Headers = list[tuple[str, str]]


def render(outcome: Created | Appended | Inspected | Terminated, base_url: str) -> Response:
    """The answer to what was done to an upload."""
    match outcome:
        case Created(upload=upload, received=received):
            location = ("Location", build_location(base_url, upload.id))
            return _response(201, [location, *(_offset(upload) if received else []), *_expiry(upload)])
        case Appended(upload=upload):
            return _response(204, [*_offset(upload), *_expiry(upload)])
        case Inspected(upload=upload):
            return _response(200, [("Cache-Control", "no-store"), *_state(upload), *_expiry(upload)])
        case Terminated():
            return _response(204, [])
        case _:
            assert_never(outcome)


def describe(*, max_size: int | None, trailers: bool, expires: bool) -> Response:
    """What the server can do (CORE-43, CORE-44): the most bytes of an upload, if there is a bound; whether this
    connection carries trailers; whether uploads are ever removed for their age."""
    optional = [("checksum-trailer", trailers), ("expiration", expires)]
    extensions = [*EXTENSIONS, *(name for name, offered in optional if offered)]
    headers = [
        ("Tus-Version", VERSION),
        ("Tus-Extension", ",".join(extensions)),
        ("Tus-Checksum-Algorithm", ",".join(ALGORITHMS)),
    ]
    if max_size is not None:
        headers.append(("Tus-Max-Size", build_integer(max_size)))
    return _response(200, headers)


def refuse(refusal: Refusal, *, head: bool) -> Response:
    """The answer to a refusal: its code and a sentence as JSON, without this body for HEAD.

    A HEAD that cannot be answered now gets 423, not 503: tus-js-client takes every other status for "the upload is
    gone" and starts from zero, and after 423 it asks again.
    """
    status = status_of(refusal)
    if head and status == 503:
        status = 423
    headers = [("Cache-Control", "no-store")]
    if isinstance(refusal, UnsupportedVersion):
        headers.append(("Tus-Version", VERSION))
    if isinstance(refusal, MethodNotAllowed):
        headers.append(("Allow", ", ".join(refusal.allowed)))
    if status in WITH_OFFSET and refusal.upload is not None and refusal.upload.kind is not Kind.FINAL:
        headers += _offset(refusal.upload)
    if status in WITH_RETRY_AFTER or refusal.retry_after is not None:
        headers.append(("Retry-After", build_integer(max(1, math.ceil(refusal.retry_after or 1)))))
    if head:
        return _response(status, headers)
    headers.append(("Content-Type", "application/json"))
    return _response(status, headers, json.dumps({"error": refusal.code, "message": refusal.text}).encode())


def status_of(refusal: Refusal) -> int:
    """The status of a refusal; one that an application's hook asked for counts if it is an error's (400 to 599)."""
    if isinstance(refusal, HookRefused) and 400 <= refusal.status <= 599:
        return refusal.status
    return next(STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS)


def _state(upload: Upload) -> Headers:
    headers = _offset(upload)
    if upload.length is not None:
        headers.append(("Upload-Length", build_integer(upload.length)))
    elif upload.kind is not Kind.FINAL:
        headers.append(("Upload-Defer-Length", "1"))
    if upload.metadata is not None:
        headers.append(("Upload-Metadata", upload.metadata))
    if upload.concat is not None:
        headers.append(("Upload-Concat", upload.concat.raw))
    return headers


def _offset(upload: Upload) -> Headers:
    """None for a final upload that is not joined yet (CONC-18)."""
    if upload.kind is Kind.FINAL and not upload.completed:
        return []
    return [("Upload-Offset", build_integer(upload.offset))]


def _expiry(upload: Upload) -> Headers:
    return [] if upload.expires_at is None else [("Upload-Expires", build_http_date(upload.expires_at))]


def _response(status: int, headers: Headers, body: bytes = b"") -> Response:
    return Response(status=status, headers=(("Tus-Resumable", VERSION), *headers), body=body)
