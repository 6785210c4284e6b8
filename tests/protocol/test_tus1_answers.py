"""tus 1.0.0: how what was done, and what was refused, is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tusserver.protocol import refusals
from tusserver.protocol.commands import (
    Appended,
    Created,
    Described,
    Inspected,
    Outcome,
    Terminated,
)
from tusserver.protocol.headers import MAX_INTEGER
from tusserver.protocol.messages import Request, Response
from tusserver.protocol.refusals import HookRefused, MethodNotAllowed, Refusal
from tusserver.protocol.tus1 import Tus1
from tusserver.protocol.upload import Concat, Kind, Status, Upload

ID = "0123456789abcdefABCDEF_-"
TUS = Tus1(max_size=1000)
NEW = Upload(id=ID, created_at=0.0, updated_at=0.0, length=10)
PARTIAL = replace(NEW, concat=Concat(raw="partial", kind=Kind.PARTIAL))
FINAL = replace(NEW, concat=Concat(raw=f"final;/files/{ID}", kind=Kind.FINAL, parts=(ID,)))
DEFERRED = replace(NEW, length=None)
AT_FOUR = NEW.advanced(4, now=1.0)
FULL = NEW.advanced(10, now=1.0)
DATE = (
    r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$"
)


def request(method: str = "PATCH", *headers: tuple[str, str], trailers: bool = False) -> Request:
    """A request that an answer is for."""
    return Request(
        method=method, upload_id=ID, fields=dict(headers), base_url="https://media.example/files", trailers=trailers
    )


def told(response: Response) -> dict[str, str]:
    """The headers, each of them there once."""
    assert len({name for name, _ in response.headers}) == len(response.headers)
    return dict(response.headers)


def render(outcome: Outcome, tus: Tus1 = TUS, *, trailers: bool = False) -> tuple[int, dict[str, str]]:
    response = tus.render(outcome, request(trailers=trailers))
    assert response.body == b""
    return response.status, told(response)


def every(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for each in kind.__subclasses__():
        yield each
        yield from every(each)


def raised(kind: type[Refusal]) -> Refusal:
    return MethodNotAllowed(("HEAD", "PATCH")) if kind is MethodNotAllowed else kind()


KINDS = sorted(
    (kind for kind in every(Refusal) if kind.__module__ == refusals.__name__), key=lambda kind: kind.__name__
)


# What was carried out


@pytest.mark.requirement("CREA-27", "CREA-28", "CREA-29", "CREA-31", "CORE-08")
def test_created() -> None:
    assert render(Created(upload=NEW)) == (
        201,
        {"Tus-Resumable": "1.0.0", "Location": f"https://media.example/files/{ID}"},
    )


@pytest.mark.requirement("CREA-29")
def test_the_location_is_relative_where_the_host_is_not_known() -> None:
    response = TUS.render(Created(upload=NEW), replace(request("POST"), base_url="/files"))
    assert told(response)["Location"] == f"/files/{ID}"


@pytest.mark.requirement("CWU-07", "CWU-08")
@pytest.mark.parametrize(("upload", "offset"), [(NEW, "0"), (AT_FOUR, "4"), (FULL, "10")])
def test_created_with_bytes_tells_the_offset(upload: Upload, offset: str) -> None:
    status, headers = render(Created(upload=upload, received=True))
    assert (status, headers["Upload-Offset"]) == (201, offset)


@pytest.mark.requirement("CORE-34", "CORE-35")
@pytest.mark.parametrize(("upload", "offset"), [(NEW, "0"), (AT_FOUR, "4"), (FULL, "10")])
def test_appended(upload: Upload, offset: str) -> None:
    assert render(Appended(upload=upload)) == (204, {"Tus-Resumable": "1.0.0", "Upload-Offset": offset})


@pytest.mark.requirement("EXP-04", "EXP-05", "EXP-10")
@pytest.mark.parametrize("kind", [Created, Appended, Inspected])
def test_what_expires_says_when(kind: type[Created] | type[Appended] | type[Inspected]) -> None:
    _, headers = render(kind(upload=AT_FOUR.kept_until(784111777.5)))
    assert headers["Upload-Expires"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert re.fullmatch(DATE, headers["Upload-Expires"])
    _, headers = render(kind(upload=FULL.kept_until(None)))
    assert "Upload-Expires" not in headers


@pytest.mark.requirement("CORE-19", "CORE-20", "CORE-23", "CORE-24", "CREA-07")
@pytest.mark.parametrize(("upload", "offset"), [(NEW, "0"), (AT_FOUR, "4"), (FULL, "10")])
def test_inspected(upload: Upload, offset: str) -> None:
    assert render(Inspected(upload=upload)) == (
        200,
        {"Tus-Resumable": "1.0.0", "Cache-Control": "no-store", "Upload-Offset": offset, "Upload-Length": "10"},
    )


@pytest.mark.requirement("CREA-06", "CREA-10", "CORE-20")
def test_inspected_while_the_length_is_deferred() -> None:
    _, headers = render(Inspected(upload=DEFERRED.advanced(4, now=1.0)))
    assert headers["Upload-Defer-Length"] == "1" and headers["Upload-Offset"] == "4"
    assert "Upload-Length" not in headers
    _, headers = render(Inspected(upload=DEFERRED.with_length(10, now=1.0)))
    assert headers["Upload-Length"] == "10" and "Upload-Defer-Length" not in headers


@pytest.mark.requirement("CREA-24", "CONC-02", "CONC-20", "CONC-22")
def test_metadata_and_concat_are_told_byte_for_byte() -> None:
    raw = "b Yg==,empty ,a YQ==,bare"
    _, headers = render(Inspected(upload=replace(PARTIAL, metadata=raw)))
    assert headers["Upload-Metadata"] == raw
    assert headers["Upload-Concat"] == "partial" and headers["Upload-Offset"] == "0"
    _, headers = render(Inspected(upload=FINAL))
    assert headers["Upload-Concat"] == f"final;/files/{ID}"


@pytest.mark.requirement("CONC-12")
def test_no_metadata_is_no_header() -> None:
    _, headers = render(Inspected(upload=FINAL))
    assert "Upload-Metadata" not in headers


@pytest.mark.requirement("CONC-18", "CONC-21")
def test_an_unfinished_final_upload_has_no_offset() -> None:
    half = FINAL.advanced(4, now=1.0)
    for upload in (FINAL, half):
        _, headers = render(Inspected(upload=upload))
        assert "Upload-Offset" not in headers and headers["Upload-Length"] == "10"
    _, headers = render(Inspected(upload=replace(FINAL, length=None)))
    assert not {"Upload-Offset", "Upload-Length", "Upload-Defer-Length"} & set(headers)


@pytest.mark.requirement("CONC-19")
def test_a_joined_final_upload_has_offset_and_length() -> None:
    _, headers = render(Inspected(upload=FINAL.advanced(10, now=1.0)))
    assert headers["Upload-Offset"] == headers["Upload-Length"] == "10"


@pytest.mark.requirement("TERM-03")
def test_terminated() -> None:
    assert render(Terminated(upload=FULL.to(Status.CANCELLED, now=2.0))) == (204, {"Tus-Resumable": "1.0.0"})


@pytest.mark.requirement("CORE-02", "CORE-03", "CORE-14")
@given(st.integers(0, MAX_INTEGER - 1))
def test_numbers_are_told_in_digits(size: int) -> None:
    upload = replace(NEW, length=size + 1).advanced(size, now=1.0)
    _, headers = render(Inspected(upload=upload))
    _, description = render(Described(), Tus1(max_size=size))
    for value in (headers["Upload-Offset"], headers["Upload-Length"], description["Tus-Max-Size"]):
        assert re.fullmatch(r"0|[1-9][0-9]*", value)


# What the server can do


@pytest.mark.requirement(
    "CORE-04", "CORE-05", "CORE-12", "CORE-14", "CORE-15", "CORE-43", "CORE-44", "CREA-02", "CREA-11", "CREA-26"
)
@pytest.mark.requirement("CWU-02", "CWU-03", "CSUM-02", "CSUM-10", "CSUM-12", "CSUM-13", "TERM-01", "CONC-01", "EXP-02")
def test_described() -> None:
    assert render(Described()) == (
        200,
        {
            "Tus-Resumable": "1.0.0",
            "Tus-Version": "1.0.0",
            "Tus-Extension": "creation,creation-with-upload,creation-defer-length,termination,concatenation,"
            "concatenation-unfinished,checksum,expiration",
            "Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5",
            "Tus-Max-Size": "1000",
        },
    )


@pytest.mark.requirement("CORE-15")
def test_no_bound_is_no_header() -> None:
    assert "Tus-Max-Size" not in render(Described(), Tus1(max_size=None))[1]


@pytest.mark.requirement("EXP-02")
def test_expiration_is_offered_where_uploads_expire() -> None:
    extensions = render(Described(), Tus1(max_size=None, expires=False))[1]["Tus-Extension"]
    assert "expiration" not in extensions.split(",")


@pytest.mark.requirement("CSUM-16")
def test_trailers_are_offered_where_the_connection_carries_them() -> None:
    assert "checksum-trailer" in render(Described(), trailers=True)[1]["Tus-Extension"].split(",")
    assert "checksum-trailer" not in render(Described(), trailers=False)[1]["Tus-Extension"].split(",")


# What was refused


def test_every_refusal_has_a_status_and_a_code_of_its_own() -> None:
    assert len(KINDS) > 20
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    for kind in KINDS:
        assert any(parent in Tus1.STATUS for parent in kind.__mro__ if parent is not Refusal), kind


STATUSES = {
    refusals.BadHeader: 400,
    refusals.BadMetadata: 400,
    refusals.BadConcat: 400,
    refusals.BadChecksum: 400,
    refusals.LengthFixed: 400,
    refusals.ClientGone: 400,
    refusals.BodyIncomplete: 400,
    refusals.FinalUploadFixed: 403,
    refusals.UploadNotFound: 404,
    refusals.UploadNotFinished: 404,
    refusals.MethodNotAllowed: 405,
    refusals.BodyTimeout: 408,
    refusals.OffsetMismatch: 409,
    refusals.TakenOver: 409,
    refusals.UploadExpired: 410,
    refusals.UnsupportedVersion: 412,
    refusals.LengthExceeded: 413,
    refusals.TooLarge: 413,
    refusals.WrongContentType: 415,
    refusals.UploadBusy: 423,
    refusals.HeadersTooLarge: 431,
    refusals.ChecksumMismatch: 460,
    refusals.HookRefused: 403,
    refusals.TooManyUploads: 503,
    refusals.ShuttingDown: 503,
    refusals.StoreUnavailable: 503,
    refusals.BytesMissing: 503,
    refusals.BytesElsewhere: 503,
    refusals.StorageFull: 507,
}


@pytest.mark.requirement("CORE-02", "CORE-09", "CORE-21", "CORE-27", "CORE-30", "CORE-37", "CREA-04", "CREA-05")
@pytest.mark.requirement("CREA-09", "CREA-25", "CSUM-05", "CSUM-06", "CONC-16", "CONC-26", "EXP-08", "TERM-04")
@pytest.mark.parametrize("kind", KINDS)
def test_the_status_of_a_refusal(kind: type[Refusal]) -> None:
    assert TUS.refuse(raised(kind), request()).status == STATUSES[kind]


@pytest.mark.requirement("CORE-07", "CORE-08")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_every_refusal_says_what_is_wrong(kind: type[Refusal], method: str) -> None:
    refusal = raised(kind)
    response = TUS.refuse(refusal, request(method))
    headers = told(response)
    assert headers["Tus-Resumable"] == "1.0.0" and headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(response.body) == {"error": kind.code, "message": refusal.text}
    assert refusal.text.endswith(".")


@pytest.mark.requirement("CORE-07", "CORE-22", "CORE-24")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "asked",
    [
        request("HEAD"),
        request("POST", ("x-http-method-override", "head")),
        request("HEAD", ("x-http-method-override", "PATCH")),
    ],
)
def test_a_refused_head_has_no_body(kind: type[Refusal], asked: Request) -> None:
    response = TUS.refuse(raised(kind), asked)
    headers = told(response)
    assert response.body == b"" and "Content-Type" not in headers
    assert headers["Cache-Control"] == "no-store" and headers["Tus-Resumable"] == "1.0.0"
    assert "Upload-Offset" not in headers


@pytest.mark.requirement("CORE-10")
def test_another_version_is_told_the_right_one() -> None:
    assert told(TUS.refuse(refusals.UnsupportedVersion(), request()))["Tus-Version"] == "1.0.0"


def test_another_method_is_told_the_right_ones() -> None:
    headers = told(TUS.refuse(MethodNotAllowed(("HEAD", "PATCH")), request("PUT")))
    assert headers["Allow"] == "HEAD, PATCH"


@pytest.mark.requirement("CORE-22")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (MethodNotAllowed, HookRefused)])
def test_the_offset_is_told_where_the_client_goes_on(kind: type[Refusal]) -> None:
    headers = told(TUS.refuse(kind(upload=AT_FOUR), request()))
    goes_on = STATUSES[kind] in (408, 409, 413, 423, 503, 507)
    assert headers.get("Upload-Offset") == ("4" if goes_on else None)
    for final in (FINAL, FINAL.advanced(10, now=1.0)):
        assert "Upload-Offset" not in told(TUS.refuse(kind(upload=final), request()))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (MethodNotAllowed, HookRefused)])
@pytest.mark.parametrize(("seconds", "value"), [(None, None), (0.0, "1"), (0.2, "1"), (1.0, "1"), (2.1, "3")])
def test_who_may_try_again_is_told_when(kind: type[Refusal], seconds: float | None, value: str | None) -> None:
    headers = told(TUS.refuse(kind(retry_after=seconds), request()))
    if STATUSES[kind] in (423, 503):
        value = value or "1"
    assert headers.get("Retry-After") == value


@pytest.mark.parametrize(
    ("asked", "status"), [(403, 403), (400, 400), (422, 422), (599, 599), (200, 403), (302, 403), (0, 403), (600, 403)]
)
def test_a_hook_chooses_an_error_status(asked: int, status: int) -> None:
    assert TUS.refuse(HookRefused(asked, "No."), request()).status == status


@given(st.text())
def test_any_message_is_json_and_no_header(text: str) -> None:
    response = TUS.refuse(HookRefused(403, text or "No."), request())
    assert json.loads(response.body)["message"] == (text or "No.")
    assert all(value.isascii() and value.isprintable() for _, value in response.headers)


def test_a_head_that_cannot_be_answered_now_makes_no_client_start_over() -> None:
    answer = TUS.refuse(refusals.StoreUnavailable(), request(method="HEAD"))
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (423, "1")
    assert TUS.refuse(refusals.StoreUnavailable(), request(method="PATCH")).status == 503
