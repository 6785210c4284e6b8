"""Which protocol class speaks HTTP, by the uvicorn that is there."""

from __future__ import annotations

import asyncio

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tusserver import connection
from tusserver.connection import PlainProtocol, UploadProtocol, protocol


def test_ours_where_uvicorn_is_the_known_one() -> None:
    assert protocol(True) is UploadProtocol
    assert protocol(False) is PlainProtocol


class OtherCycle:
    """A request of a uvicorn to come, which is made of other things."""

    def __init__(self, scope: object, stream: object) -> None:
        self.body, self.more_body, self.waiting_for_100_continue = b"", True, False


class OtherConnection(asyncio.Protocol):
    """A connection of a uvicorn to come."""


@pytest.mark.parametrize(
    ("name", "other"), [("RequestResponseCycle", OtherCycle), ("HttpToolsProtocol", OtherConnection)]
)
def test_uvicorns_own_where_it_is_not(
    name: str, other: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert {"RequestResponseCycle": RequestResponseCycle, "HttpToolsProtocol": HttpToolsProtocol}[name] is not other
    monkeypatch.setattr(connection, name, other)
    assert protocol(True) == "auto"
    assert "Install the uvicorn that tusserver asks for" in caplog.text
