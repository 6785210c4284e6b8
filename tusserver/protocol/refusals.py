"""Why a request is refused: facts, not status codes. A dialect gives each its status (``Tus1.STATUS``).

Every refusal has a stable ``code`` that clients may rely on, and one sentence that says what to do.
``upload`` is the upload that it is about, where there is one: its offset goes into the answer (AMB-34).
``retry_after`` is seconds, where trying again makes sense.
"""

from __future__ import annotations

from typing import ClassVar

from tusserver.protocol.upload import Upload


class Refusal(Exception):
    """A request that is not carried out. Nothing has changed, but for what ``upload`` says."""

    code: ClassVar[str] = "refused"
    message: ClassVar[str] = "The request was refused."

    def __init__(
        self, message: str | None = None, *, upload: Upload | None = None, retry_after: float | None = None
    ) -> None:
        self.text = message or self.message
        self.upload = upload
        self.retry_after = retry_after
        super().__init__(self.text)


# What a client got wrong in the request itself


class BadHeader(Refusal):
    """A header that is missing, repeated or malformed, or two that contradict each other (CORE-02, CREA-04 ...)."""

    code = "bad_header"


class BadMetadata(BadHeader):
    """``Upload-Metadata`` is not what the Creation extension says (CREA-14 to CREA-20)."""

    code = "bad_metadata"


class BadConcat(BadHeader):
    """``Upload-Concat`` is malformed, or names uploads that cannot be joined (CONC-06, AMB-25, AMB-26)."""

    code = "bad_concat"


class BadChecksum(BadHeader):
    """``Upload-Checksum`` is malformed or names an algorithm that is not offered (CSUM-05, CSUM-14)."""

    code = "bad_checksum"


class UnsupportedVersion(Refusal):
    """``Tus-Resumable`` is missing or not a version that is spoken here (CORE-06, CORE-09)."""

    code = "unsupported_version"
    message = "Send the header Tus-Resumable: 1.0.0."


class WrongContentType(Refusal):
    """A body that is not ``application/offset+octet-stream`` (CORE-27, CWU-05)."""

    code = "wrong_content_type"
    message = "Send upload bytes as Content-Type: application/offset+octet-stream."


class MethodNotAllowed(Refusal):
    """A method that the resource does not have (AMB-31). ``allowed`` lists those that it has."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"Use one of: {', '.join(allowed)}.")
        self.allowed = allowed


class HeadersTooLarge(Refusal):
    """More header bytes than the server takes."""

    code = "headers_too_large"
    message = "The request's headers are too large: shorten Upload-Metadata or Upload-Concat."


# What is not so


class UploadNotFound(Refusal):
    """No such upload, or one that was terminated (CORE-21, TERM-04)."""

    code = "upload_not_found"
    message = "There is no such upload; create a new one."


class UploadExpired(Refusal):
    """The upload was idle for too long and has been removed (EXP-08)."""

    code = "upload_expired"
    message = "The upload has expired; create a new one."


class UploadNotFinished(Refusal):
    """A download of an upload that is not complete."""

    code = "upload_not_finished"
    message = "The upload is not complete yet."


class FinalUploadFixed(Refusal):
    """PATCH on a final upload (CONC-16)."""

    code = "final_upload_fixed"
    message = "A final upload is made of its partial uploads and takes no bytes itself."


class OffsetMismatch(Refusal):
    """``Upload-Offset`` is not the upload's offset (CORE-30)."""

    code = "offset_mismatch"
    message = "Upload-Offset is not the upload's offset; ask for it with HEAD and go on from there."


class LengthFixed(Refusal):
    """A second ``Upload-Length`` (CREA-09), or one below the offset (AMB-39)."""

    code = "length_fixed"
    message = "The upload's length is known and does not change; leave Upload-Length out."


class LengthExceeded(Refusal):
    """More bytes than the upload's length leaves room for (AMB-11, AMB-12)."""

    code = "length_exceeded"
    message = "The body goes beyond the upload's length; send no more than what is missing."


class TooLarge(Refusal):
    """More bytes than ``Tus-Max-Size`` (CREA-25)."""

    code = "too_large"
    message = "The upload is larger than the server accepts (see Tus-Max-Size)."


class ChecksumMismatch(Refusal):
    """The body is not what ``Upload-Checksum`` says; nothing of it was kept (CSUM-06, CSUM-08)."""

    code = "checksum_mismatch"
    message = "The bytes do not match Upload-Checksum; send them again."


class HookRefused(Refusal):
    """An application's hook said no. ``status`` is the HTTP status that it asked for."""

    code = "refused_by_application"

    def __init__(self, status: int = 403, message: str | None = None, *, upload: Upload | None = None) -> None:
        super().__init__(message or "The application refused the request.", upload=upload)
        self.status = status


# What came in between; all of these leave the upload resumable


class ClientGone(Refusal):
    """The connection ended before the body did. What arrived is kept (CORE-41)."""

    code = "client_gone"
    message = "The connection ended before the body did."


class BodyIncomplete(Refusal):
    """The server said that the body had ended, but it was not all there. What arrived is kept (CORE-41)."""

    code = "body_incomplete"
    message = "Fewer bytes arrived than Content-Length says; ask for the offset with HEAD, and leave out Upgrade."


class BodyTimeout(Refusal):
    """No byte of the body arrived for the idle timeout. What arrived is kept (CORE-40)."""

    code = "body_timeout"
    message = "No data arrived for too long; go on from Upload-Offset."


class TakenOver(Refusal):
    """Another request took the upload over, so this one ended. What arrived is kept (AMB-22)."""

    code = "taken_over"
    message = "Another request has taken this upload over; ask for the offset with HEAD and go on from there."


class UploadBusy(Refusal):
    """Another request holds the upload and did not end in time (AMB-23)."""

    code = "upload_busy"
    message = "Another request is still writing this upload; try again shortly."


class TooManyUploads(Refusal):
    """The server receives as many bodies at once as it is told to."""

    code = "too_many_uploads"
    message = "The server is receiving as many uploads as it can; try again shortly."


class ShuttingDown(Refusal):
    """The server is stopping. What arrived is kept."""

    code = "shutting_down"
    message = "The server is restarting; go on from Upload-Offset in a moment."


class StorageFull(Refusal):
    """No room for the bytes. What was written before is kept, and the upload stays resumable."""

    code = "storage_full"
    message = "The storage is full; try again later."


class StoreUnavailable(Refusal):
    """The session store or the byte store does not answer as it should."""

    code = "store_unavailable"
    message = "The server cannot reach its storage; try again shortly."


class BytesMissing(StoreUnavailable):
    """The session says that there are bytes, and the byte store has not got them."""

    code = "bytes_missing"
    message = "The upload's stored bytes are not to be found; an operator has to look at the server's log."


class BytesElsewhere(StoreUnavailable):
    """The upload's bytes are in a directory that this server has not got: the servers do not share it."""

    code = "bytes_elsewhere"
    message = (
        "The upload's bytes are in another server's directory, which this one does not share; try again, and have an "
        "operator run tusserver doctor."
    )
