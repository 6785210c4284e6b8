"""tus 1.0.0, the dialect: headers -> command, and by way of ``tus1_answers`` outcome -> headers.

The checks of ``parse`` stand in the order that a client can rely on (AMB-01): version (412), method (405), the shape
of the upload id (404), content type (415), header syntax (400), and then what the head alone shows to be too large
(413, 431). What depends on the upload comes after that, in ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from tusserver.protocol.commands import (
    Append,
    Body,
    Checksum,
    Command,
    Create,
    Describe,
    Described,
    Inspect,
    Outcome,
    Terminate,
)
from tusserver.protocol.headers import (
    is_offset_octet_stream,
    is_upload_id,
    parse_checksum,
    parse_concat,
    parse_integer,
    parse_location,
    parse_metadata,
)
from tusserver.protocol.messages import Request, Response
from tusserver.protocol.refusals import (
    BadChecksum,
    BadConcat,
    BadHeader,
    FinalUploadFixed,
    HeadersTooLarge,
    LengthExceeded,
    MethodNotAllowed,
    Refusal,
    TooLarge,
    UnsupportedVersion,
    UploadNotFound,
    WrongContentType,
)
from tusserver.protocol.tus1_answers import STATUS, VERSION, describe, refuse, render
from tusserver.protocol.upload import Concat, Kind

Only = Callable[[str], str | None]
"""A header's value, None where it is not there. Raises BadHeader where it is there more than once."""


def method_of(request: Request) -> str:
    """The method that a request means, in upper case: ``X-HTTP-Method-Override`` counts whatever the real method is
    (CORE-16, CORE-17), except on OPTIONS, where a preflight must stay one (AMB-09).

    An override that is empty, or given more than once, does not count here; the latter is refused by ``Tus1.parse``.
    """
    override = request.fields.get("x-http-method-override")
    if override is None or request.method == "OPTIONS" or "x-http-method-override" in request.repeated:
        return request.method
    return override.strip().upper() or request.method


class Tus1:
    """tus 1.0.0 with all its extensions.

    ``max_size`` is the most bytes that an upload may have (None: no bound), ``max_metadata`` the most bytes that an
    ``Upload-Metadata`` header may have, ``expires`` whether uploads are ever removed for their age (EXP-02).
    """

    BASE: ClassVar = ("POST", "OPTIONS")
    UPLOAD: ClassVar = ("HEAD", "PATCH", "DELETE", "OPTIONS")
    STATUS: ClassVar = STATUS

    def __init__(self, *, max_size: int | None, max_metadata: int = 8192, expires: bool = True) -> None:
        self._max_size = max_size
        self._max_metadata = max_metadata
        self._expires = expires

    def speaks(self, request: Request) -> bool:
        """Always: a request that carries no other protocol's mark belongs to the one that its upload was created
        with, and a missing ``Tus-Resumable`` is then refused with 412 (CORE-06). Ask other dialects first."""
        return True

    # Head -> command

    def parse(self, request: Request) -> Command:
        """What the request wants. Raises the first refusal in this file's order."""
        method = method_of(request)
        if method == "OPTIONS":
            return Describe()
        only = _only(request)
        only("x-http-method-override")
        if method != "GET" and only("tus-resumable") != VERSION:
            raise UnsupportedVersion
        if request.upload_id is None:
            if method != "POST":
                raise MethodNotAllowed(self.BASE)
            return self._create(request, only)
        if method not in self.UPLOAD:
            raise MethodNotAllowed(self.UPLOAD)
        if not is_upload_id(request.upload_id):
            raise UploadNotFound
        if method == "HEAD":
            return Inspect(upload_id=request.upload_id)
        if method == "DELETE":
            return Terminate(upload_id=request.upload_id)
        return self._append(request, request.upload_id, only)

    def parse_trailers(self, headers: Iterable[tuple[str, str]]) -> Checksum:
        """The checksum announced for the trailers (CSUM-15). Raises BadChecksum when it is missing or malformed."""
        values = [value for name, value in headers if name.lower() == "upload-checksum"]
        if len(values) != 1:
            raise BadChecksum("Send the Upload-Checksum that Trailer announces once, after the last block.")
        return parse_checksum(values[0])

    def _create(self, request: Request, only: Only) -> Create:
        is_upload = is_offset_octet_stream(only("content-type"))
        if request.has_body and not is_upload:
            raise WrongContentType
        raw = only("upload-concat")
        concat = None if raw is None else parse_concat(raw, partial(parse_location, base_url=request.base_url))
        metadata = _metadata(only)
        if concat is not None and concat.kind is Kind.FINAL:
            command = self._create_final(request, metadata, concat)
        else:
            body = self._body(request, only) if is_upload else None
            command = Create(length=_new_length(only), metadata=metadata, concat=concat, body=body)
        self._check_sizes(command)
        return command

    def _create_final(self, request: Request, metadata: str | None, concat: Concat) -> Create:
        if not request.fields.keys().isdisjoint(("upload-length", "upload-defer-length")):
            raise BadConcat("Leave Upload-Length and Upload-Defer-Length out: a final upload is as long as its list.")
        if request.has_body:
            raise FinalUploadFixed
        return Create(length=None, metadata=metadata, concat=concat)

    def _check_sizes(self, command: Create) -> None:
        if len(command.metadata or "") > self._max_metadata:
            raise HeadersTooLarge(f"Upload-Metadata must not be longer than {self._max_metadata} bytes.")
        self._check_size(command.length)
        size = command.body.size if command.body else None
        if size is not None and command.length is not None and size > command.length:
            raise LengthExceeded
        self._check_size(size)

    def _append(self, request: Request, upload_id: str, only: Only) -> Append:
        if not is_offset_octet_stream(only("content-type")):
            raise WrongContentType
        offset = _integer(only, "upload-offset")
        if offset is None:
            raise BadHeader("Upload-Offset is missing; send the offset that HEAD gives.")
        length = _integer(only, "upload-length")
        body = self._body(request, only)
        self._check_size(length)
        return Append(upload_id=upload_id, offset=offset, body=body, length=length)

    def _body(self, request: Request, only: Only) -> Body:
        raw = only("upload-checksum")
        follows = _announces_checksum(request)
        if follows and raw is not None:
            raise BadChecksum("Send Upload-Checksum as a header or as a trailer, not as both.")
        if follows and not request.trailers:
            raise BadChecksum("This connection carries no trailers; send Upload-Checksum as a header.")
        checksum = None if raw is None else parse_checksum(raw)
        return Body(size=_body_size(request, only), checksum=checksum, checksum_follows=follows)

    def _check_size(self, size: int | None) -> None:
        if size is not None and self._max_size is not None and size > self._max_size:
            raise TooLarge

    # Outcome -> answer

    def render(self, outcome: Outcome, request: Request) -> Response:
        """The answer to a request that was carried out."""
        if isinstance(outcome, Described):
            return describe(max_size=self._max_size, trailers=request.trailers, expires=self._expires)
        return render(outcome, request.base_url)

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """The answer to a request that was refused."""
        return refuse(refusal, head="HEAD" in (request.method, method_of(request)))


def _only(request: Request) -> Only:
    """Where the headers of this request are looked up, by lower-case name."""
    return partial(_single, request) if request.repeated else request.fields.get


def _single(request: Request, name: str) -> str | None:
    if name in request.repeated:  # AMB-37
        raise BadHeader(f"{name.title()} is there more than once; send it once.")
    return request.fields.get(name)


def _integer(only: Only, name: str) -> int | None:
    raw = only(name)
    return None if raw is None else parse_integer(raw, name)


def _metadata(only: Only) -> str | None:
    raw = only("upload-metadata") or ""
    return raw if parse_metadata(raw) else None


def _new_length(only: Only) -> int | None:
    length = _integer(only, "upload-length")
    deferred = only("upload-defer-length")
    if deferred not in (None, "1"):
        raise BadHeader("Upload-Defer-Length must be 1; leave it out when the length is known.")
    if (length is None) == (deferred is None):
        raise BadHeader("Send either Upload-Length or Upload-Defer-Length: 1.")
    return length


def _body_size(request: Request, only: Only) -> int | None:
    coding = request.fields.get("transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise BadHeader("Transfer-Encoding must be chunked, and nothing else.")
        return None
    size = _integer(only, "content-length")
    return 0 if size is None and not request.has_body else size


def _announces_checksum(request: Request) -> bool:
    announced = request.fields.get("trailer")
    return announced is not None and "upload-checksum" in [name.strip() for name in announced.lower().split(",")]
