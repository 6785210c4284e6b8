"""Requests as the server's shell hands them over, for the tests of tus 1.0.0."""

from __future__ import annotations

from tusserver.protocol.commands import Append, Create
from tusserver.protocol.dialect import Dialect
from tusserver.protocol.messages import Request, by_name
from tusserver.protocol.tus1 import Tus1

ID = "0123456789abcdefABCDEF_-"
OCT = ("content-type", "application/offset+octet-stream")
SHA1 = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
TUS: Dialect = Tus1(max_size=1000, max_metadata=100)
Header = tuple[str, str]


def request(
    method: str, upload_id: str | None, *headers: Header, version: str | None = "1.0.0", trailers: bool = False
) -> Request:
    """A request as the server's shell hands it over."""
    mark = () if version is None else (("tus-resumable", version),)
    body = any(name == "transfer-encoding" or (name == "content-length" and value != "0") for name, value in headers)
    fields, repeated = by_name((*mark, *headers))
    return Request(
        method=method,
        upload_id=upload_id,
        fields=fields,
        repeated=repeated,
        base_url="https://media.example/files",
        has_body=body,
        trailers=trailers,
    )


def post(*headers: Header, trailers: bool = False) -> Create:
    command = TUS.parse(request("POST", None, *headers, trailers=trailers))
    assert isinstance(command, Create)
    return command


def patch(*headers: Header, trailers: bool = False) -> Append:
    command = TUS.parse(request("PATCH", ID, *headers, trailers=trailers))
    assert isinstance(command, Append)
    return command
