"""Requests as a client on the outside makes them, each on a connection of its own, with the standard library only."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

TIMEOUT: Final = 20.0
TUS: Final = {"Tus-Resumable": "1.0.0"}
OCTETS: Final = {**TUS, "Content-Type": "application/offset+octet-stream"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; header names are lower case, and a header that came several times has several values. ``status`` 0:
    the connection ended without an answer."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        values = self.headers.get(name.lower())
        return values[0] if values else None

    @property
    def ours(self) -> bool:
        """Whether a tus server said this, not a proxy before it."""
        return "tus-resumable" in self.headers

    @property
    def said(self) -> str:
        """For people."""
        if self.status == 0:
            return "the connection ended"
        return f"{self.status}" + ("" if self.ours else " (by something before the server)")


class Public:
    """The upload endpoint as clients see it. ``headers`` go with each request; ``insecure`` takes any certificate."""

    def __init__(self, url: str, headers: Mapping[str, str], *, insecure: bool = False) -> None:
        self.url = url.rstrip("/")
        self.made: list[str] = []
        self.length = 0
        self._headers = headers
        self._context = ssl.create_default_context()
        if insecure:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None = None
    ) -> Answer:
        """One request. Raises OSError where no connection can be made."""
        where = urlsplit(url)
        connection = self._connection(where)
        connection.connect()
        try:
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # an early answer may be there all the same
                connection.request(method, _target(where), body, {**self._headers, **headers})
            response = connection.getresponse()
            found: dict[str, list[str]] = {}
            for name, value in response.getheaders():
                found.setdefault(name.lower(), []).append(value)
            return Answer(response.status, found, response.read())
        except (http.client.HTTPException, OSError):
            return Answer(0, {})
        finally:
            connection.close()

    def create(self, length: int) -> Answer:
        """POST; what is made is remembered in ``made``, to be deleted, and the first one's length in ``length``."""
        answer = self.ask("POST", self.url, {**TUS, "Upload-Length": str(length)})
        location = answer.header("location")
        if answer.status == 201 and location:
            self.length = self.length or length
            self.made.append(self.outside(location))
        return answer

    def one_more(self, length: int) -> str:
        """The URL of another upload. Raises OSError where none is made."""
        answer = self.create(length)
        if answer.status != 201:
            raise OSError(f"one more upload could not be created: POST says {answer.said}")
        return self.made[-1]

    def outside(self, location: str) -> str:
        """The upload's URL as it should be from here, whatever scheme and host ``Location`` says."""
        absolute = urljoin(f"{self.url}/", location)
        return f"{self.url}/{absolute.rsplit('/', 1)[1]}"

    def offset(self, url: str) -> int | None:
        """What HEAD says; this ends whoever is writing."""
        said = self.ask("HEAD", url, TUS).header("upload-offset")
        return int(said) if said is not None and said.isdecimal() else None

    def patch(self, url: str, offset: int, body: bytes) -> Answer:
        """PATCH."""
        return self.ask("PATCH", url, {**OCTETS, "Upload-Offset": str(offset)}, body)

    @contextlib.contextmanager
    def half_sent(self, url: str, size: int, sent: int, **more: str) -> Iterator[socket.socket]:
        """A PATCH of ``size`` zeros of which ``sent`` have been sent."""
        where = urlsplit(url)
        raw: socket.socket = socket.create_connection((str(where.hostname), _port(where)), TIMEOUT)
        if where.scheme == "https":
            raw = self._context.wrap_socket(raw, server_hostname=where.hostname)
        fields = {**self._headers, **OCTETS, "Upload-Offset": "0", "Content-Length": str(size), **more}
        head = [f"PATCH {_target(where)} HTTP/1.1", f"Host: {where.netloc}", *(f"{k}: {v}" for k, v in fields.items())]
        try:
            raw.sendall("\r\n".join([*head, "", ""]).encode() + bytes(sent))
            yield raw
        finally:
            raw.close()

    def delete(self, url: str) -> Answer:
        """DELETE; what is gone is no longer in ``made``."""
        answer = self.ask("DELETE", url, TUS)
        if answer.status in (204, 404, 410) and url in self.made:
            self.made.remove(url)
        return answer

    def clean(self) -> int:
        """Delete what was made, if need be by POST with X-HTTP-Method-Override; how many uploads stay behind."""
        for url in list(self.made):
            with contextlib.suppress(OSError):
                if self.delete(url).status in (403, 405, 501):
                    answer = self.ask("POST", url, {**TUS, "X-HTTP-Method-Override": "DELETE"})
                    if answer.status == 204:
                        self.made.remove(url)
        return len(self.made)

    def _connection(self, where: SplitResult) -> http.client.HTTPConnection:
        if where.scheme == "https":
            return http.client.HTTPSConnection(str(where.hostname), where.port, timeout=TIMEOUT, context=self._context)
        return http.client.HTTPConnection(str(where.hostname), where.port, timeout=TIMEOUT)


def arrives(public: Public, url: str, offset: int, seconds: float) -> int:
    """The offset that HEAD says, once it is that far or the time is over."""
    deadline = time.monotonic() + seconds
    while (found := public.offset(url) or 0) < offset and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _port(where: SplitResult) -> int:
    return where.port or (443 if where.scheme == "https" else 80)


def _target(where: SplitResult) -> str:
    return (where.path or "/") + (f"?{where.query}" if where.query else "")
