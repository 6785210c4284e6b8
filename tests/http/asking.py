"""How the tests of this folder put their requests."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

import pytest
import requests

from tests.e2e.server import TUS, ServerProcess
from tests.http.wire import OCTETS, Wire

Connect = Callable[[], Wire]
Start = Callable[..., ServerProcess]

either_way = pytest.mark.parametrize("way", ["direct", "claimed"], indirect=True, scope="module")
"""For a module: short bodies go through the process, as they do by themselves, and straight into the file."""

UPLOAD_BYTES = "application/offset+octet-stream"
UNKNOWN = "0" * 32
NUMBER = re.compile(r"0|[1-9][0-9]*")
FIXED_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)


def path_of(url: str) -> str:
    """An upload's path on a server with the default base path."""
    return "/files/" + url.rsplit("/", 1)[1]


def checksum(algorithm: str, data: bytes) -> str:
    """``Upload-Checksum`` for this body."""
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def post(server: ServerProcess, data: bytes | None = None, **headers: str) -> requests.Response:
    """POST to the base path, with ``Tus-Resumable`` and the headers of these names."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(server.url, data=data, headers={**TUS, **named}, timeout=10)


def said(method: str, url: str, *lines: str) -> str:
    """The head of a request that carries upload bytes, as it goes over the wire."""
    path = path_of(url) if url.startswith("http") else url
    return "\r\n".join([f"{method} {path} HTTP/1.1", OCTETS + "\r\n".join(lines), "", ""])


def kept(server: ServerProcess, url: str) -> list[str]:
    """What lies in the byte store for this upload."""
    return [name for name in server.held() if path_of(url).rsplit("/", 1)[1] in name]
