"""tus 1.0.0: what a request's head says, and what is refused for its head alone."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.protocol.asking import ID, OCT, SHA1, TUS, Header, post, request
from tusserver.protocol.commands import Describe, Inspect, Terminate
from tusserver.protocol.messages import Request, by_name
from tusserver.protocol.refusals import (
    BadChecksum,
    BadHeader,
    MethodNotAllowed,
    Refusal,
    UnsupportedVersion,
    UploadNotFound,
)
from tusserver.protocol.tus1 import method_of

# Version and method


def test_every_request_is_taken_for_tus() -> None:
    assert TUS.speaks(request("HEAD", ID)) and TUS.speaks(request("HEAD", ID, version=None))


@pytest.mark.requirement("CORE-06", "CORE-09", "CORE-11")
@pytest.mark.parametrize("version", [None, "", "0.2.2", "2.0.0", "1.0", "1.0.0 ", "1.0.0, 2.0.0", "garbage"])
@pytest.mark.parametrize(("method", "upload_id"), [("POST", None), ("HEAD", ID), ("PATCH", ID), ("DELETE", ID)])
def test_another_version_is_refused_before_anything_else(method: str, upload_id: str, version: str | None) -> None:
    with pytest.raises(UnsupportedVersion):
        TUS.parse(request(method, upload_id, ("upload-offset", "nonsense"), version=version))


@pytest.mark.requirement("CORE-46")
@pytest.mark.parametrize("upload_id", [None, ID, "nonsense"])
@pytest.mark.parametrize("version", [None, "1.0.0", "99.0"])
def test_options_describes_whatever_the_version(version: str | None, upload_id: str | None) -> None:
    assert TUS.parse(request("OPTIONS", upload_id, version=version)) == Describe()


@pytest.mark.requirement("CORE-01")
def test_head_inspects_and_delete_terminates() -> None:
    assert TUS.parse(request("HEAD", ID)) == Inspect(upload_id=ID)
    assert TUS.parse(request("DELETE", ID)) == Terminate(upload_id=ID)


@pytest.mark.requirement("CREA-03")
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "BREW", "patch", "", "TRACE"])
def test_an_upload_has_no_other_methods(method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        TUS.parse(request(method, ID))
    assert caught.value.allowed == ("HEAD", "PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "PUT", "GET", "post"])
def test_the_base_path_has_no_other_methods(method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        TUS.parse(request(method, None))
    assert caught.value.allowed == ("POST", "OPTIONS")


def test_get_needs_no_version_to_be_refused() -> None:
    with pytest.raises(MethodNotAllowed):
        TUS.parse(request("GET", ID, version=None))


@pytest.mark.requirement("CORE-21", "CORE-37", "TERM-05")
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("upload_id", ["", "short", "..", "../../etc/passwd", ID + "/x", ID + "\0", "\xe4" * 20])
def test_what_cannot_be_an_upload_id_is_not_found(method: str, upload_id: str) -> None:
    with pytest.raises(UploadNotFound):
        TUS.parse(request(method, upload_id, OCT, ("upload-offset", "0")))


@pytest.mark.requirement("CORE-16", "CORE-17")
@pytest.mark.parametrize("real", ["POST", "GET", "PUT", "HEAD", "PATCH"])
@pytest.mark.parametrize("override", ["DELETE", "delete", " Delete "])
def test_the_override_is_the_method_whatever_the_real_one(real: str, override: str) -> None:
    asked = request(real, ID, ("x-http-method-override", override))
    assert method_of(asked) == "DELETE"
    command = TUS.parse(asked)
    assert command == Terminate(upload_id=ID)


def test_no_override_leaves_the_method() -> None:
    assert method_of(request("POST", ID)) == "POST"
    assert method_of(request("POST", ID, ("x-http-method-override", ""))) == "POST"
    assert method_of(request("OPTIONS", ID, ("x-http-method-override", "DELETE"))) == "OPTIONS"


# Repeated headers


@pytest.mark.parametrize(
    "name",
    [
        "Upload-Offset",
        "Upload-Length",
        "Content-Type",
        "Upload-Checksum",
        "Content-Length",
        "Tus-Resumable",
        "X-Http-Method-Override",
    ],
)
def test_a_repeated_header_is_refused_by_name_on_patch(name: str) -> None:
    values = {"Content-Type": OCT[1], "Upload-Checksum": SHA1, "Tus-Resumable": "1.0.0"}
    value = "PATCH" if name == "X-Http-Method-Override" else values.get(name, "0")
    headers = {"upload-offset": "0", "content-type": OCT[1], "tus-resumable": "1.0.0"}
    once = [item for item in headers.items() if item[0] != name.lower()]
    with pytest.raises(BadHeader, match=f"^{name} is there more than once"):
        TUS.parse(request("PATCH", ID, *once, (name.lower(), value), (name.lower(), value), version=None))


@pytest.mark.parametrize("name", ["Upload-Length", "Upload-Metadata", "Upload-Concat", "Upload-Defer-Length"])
def test_a_repeated_header_is_refused_by_name_on_post(name: str) -> None:
    value = {"Upload-Metadata": "a", "Upload-Concat": "partial"}.get(name, "1")
    headers = [] if name in ("Upload-Length", "Upload-Defer-Length") else [("upload-length", "1")]
    with pytest.raises(BadHeader, match=f"^{name} is there more than once"):
        post(*headers, (name.lower(), value), (name.lower(), value))


# Nonsense


NAMES = st.sampled_from(
    [
        "tus-resumable",
        "upload-length",
        "upload-offset",
        "upload-defer-length",
        "upload-metadata",
        "upload-concat",
        "upload-checksum",
        "content-type",
        "content-length",
        "transfer-encoding",
        "trailer",
        "x-http-method-override",
    ]
)
TEXT = st.text(st.characters(max_codepoint=0xFF), max_size=60)
NEARLY = st.sampled_from(
    [
        "1.0.0",
        "1",
        "0",
        "final;",
        "partial",
        f"final;/files/{ID}",
        "final;//[",
        OCT[1],
        SHA1,
        "sha1 =",
        "a =",
        "PATCH",
        "upload-checksum",
        "9" * 5000,
        "chunked",
        "HEAD",
        f"final;http://x:y/files/{ID}",
    ]
)


@given(
    method=st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET"]) | TEXT,
    upload_id=st.none() | st.just(ID) | TEXT,
    headers=st.lists(st.tuples(NAMES | TEXT, NEARLY | TEXT), max_size=8),
    base_url=st.sampled_from(["https://media.example/files", "/files", "", "http://[::1]:1080"]),
    marked=st.booleans(),
    has_body=st.booleans(),
    trailers=st.booleans(),
)
@example("PATCH", ID, [OCT, ("upload-offset", "9" * 5000)], "", True, True, True)
def test_nonsense_is_refused_and_never_anything_else(
    method: str,
    upload_id: str | None,
    headers: list[Header],
    base_url: str,
    marked: bool,
    has_body: bool,
    trailers: bool,
) -> None:
    mark = [("tus-resumable", "1.0.0")] if marked else []
    fields, repeated = by_name((*mark, *headers))
    nonsense = Request(
        method=method,
        upload_id=upload_id,
        fields=fields,
        repeated=repeated,
        base_url=base_url,
        has_body=has_body,
        trailers=trailers,
    )
    try:
        command = TUS.parse(nonsense)
    except Refusal as refusal:
        response = TUS.refuse(refusal, nonsense)
        assert 400 <= response.status < 500
        assert all("\n" not in value and "\r" not in value for _, value in response.headers)
    else:
        assert isinstance(command, Describe) or method_of(nonsense) in ("POST", "HEAD", "PATCH", "DELETE")
    with contextlib.suppress(BadChecksum):
        TUS.parse_trailers(tuple(headers))
