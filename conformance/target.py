"""The server under test, as a case sees it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from conformance.verdicts import Check, Result, Unsupported, Untested
from conformance.wire import Answer, Connection, Exchange, NoAnswer, Wire, head

VERSION: Final = ("Tus-Resumable", "1.0.0")
OCTETS: Final = ("Content-Type", "application/offset+octet-stream")
ORDINARY: Final = ("Upload-Metadata", "filename Y2FzZS50eHQ=,filetype dGV4dC9wbGFpbg==")
INTEGER: Final = re.compile(r"0|[1-9][0-9]*")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """``url``: where uploads are created. ``headers`` go with each request. ``extensions``: those to test, None: those
    that the server announces. ``timeout``, ``patience``: seconds for an answer, and for what a server may take time
    over (noticing a lost connection)."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    extensions: frozenset[str] | None = None
    insecure: bool = False
    timeout: float = 10.0
    patience: float = 5.0


class Target:
    """Asks, and writes down what it checks. One for each case."""

    def __init__(self, options: Options, announced: Announced, result: Result) -> None:
        self.options = options
        self.announced = announced
        self.base = options.url
        self.result = result
        self.wire = Wire(timeout=options.timeout, insecure=options.insecure, exchanges=result.exchanges)

    # Checking

    def check(self, requirement: str, holds: bool, expected: str, found: object, *, advice: bool = False) -> bool:
        """Write down whether a requirement holds, and go on either way. ``advice``: weak at worst."""
        at = len(self.result.exchanges) - 1
        self.result.checks.append(Check(requirement, bool(holds), expected, str(found), advice, at))
        return bool(holds)

    def needs(self, extension: str) -> None:
        """Raises Unsupported unless the extension is announced, or asked for."""
        if extension not in self.announced.extensions:
            raise Unsupported(f"{extension} is not announced in Tus-Extension")

    def named(self) -> list[str]:
        """The extensions that OPTIONS names right now."""
        said = self.options_of(self.base).get("Tus-Extension") or ""
        return [name.strip() for name in said.split(",") if name.strip()]

    # Asking

    def ask(
        self,
        method: str,
        url: str,
        *headers: tuple[str, str],
        body: bytes | None = None,
        version: bool = True,
        linger: bool = False,
    ) -> Answer:
        """One request, with Tus-Resumable unless told otherwise. No answer at all is an answer of status 0."""
        said = [*self.options.headers, *([VERSION] if version else []), *headers]
        try:
            return self.wire.ask(method, url, said, body, linger=linger)
        except NoAnswer:
            return Answer(0, ())

    def options_of(self, url: str) -> Answer:
        """OPTIONS."""
        return self.ask("OPTIONS", url, version=False)

    def post(self, *headers: tuple[str, str], body: bytes | None = None) -> Answer:
        """POST to where uploads are created, with metadata as every client sends them unless the case has its own."""
        own = any(name == "Upload-Metadata" for name, _ in headers)
        return self.ask("POST", self.base, *headers, *([] if own else [ORDINARY]), body=body)

    def head(self, url: str) -> Answer:
        """HEAD."""
        return self.ask("HEAD", url)

    def patch(self, url: str, offset: int | str, body: bytes, *headers: tuple[str, str]) -> Answer:
        """PATCH with everything that it needs."""
        return self.ask("PATCH", url, OCTETS, ("Upload-Offset", str(offset)), *headers, body=body)

    def delete(self, url: str) -> Answer:
        """DELETE."""
        return self.ask("DELETE", url)

    # What cases begin with

    def made(self, *headers: tuple[str, str], length: int | None = 10) -> str:
        """The URL of a new upload. Raises Untested."""
        said = [("Upload-Length", str(length))] if length is not None else []
        answer = self.post(*said, *headers)
        url = self.location(answer)
        if answer.status != 201 or url is None:
            raise Untested(f"an upload could not be created: POST says {answer.status}")
        return url

    def location(self, answer: Answer) -> str | None:
        """The upload's URL, relative ones resolved."""
        found = answer.get("Location")
        return None if found is None else urljoin(self.base, found)

    def offset(self, url: str) -> int | None:
        """What HEAD says; None where it says none."""
        said = self.head(url).get("Upload-Offset")
        return int(said) if said is not None and INTEGER.fullmatch(said) else None

    def filled(self, data: bytes, *headers: tuple[str, str]) -> str:
        """The URL of a finished upload with these bytes. Raises Untested."""
        url = self.made(*headers, length=len(data))
        answer = self.patch(url, 0, data)
        if answer.status != 204:
            raise Untested(f"an upload could not be filled: PATCH says {answer.status}")
        return url

    def unknown(self) -> str:
        """A URL just like that of an upload, of which there is none: its last letters and digits are others."""
        url = self.made()
        size = min(8, len(url.rpartition("/")[2]))
        return url[:-size] + "".join(_another(letter) for letter in url[-size:])

    def stored(self, url: str) -> bytes | None:
        """The bytes of the upload, where the server lets one GET them; None where it doesn't."""
        answer = self.ask("GET", url, linger=True)
        return answer.body if answer.status == 200 else None

    def same_bytes(self, requirement: str, url: str, data: bytes) -> None:
        """Check the stored bytes, where they can be seen."""
        stored = self.stored(url)
        if stored is not None:
            found = "the same" if stored == data else f"{len(stored)} other bytes"
            self.check(requirement, stored == data, f"GET gives the {len(data)} bytes that were sent", found)

    # Below HTTP

    def begin(
        self, url: str, offset: int, size: int | None, *headers: tuple[str, str], method: str = "PATCH"
    ) -> Connection:
        """The head of a PATCH; the body (``size`` bytes, None: chunked) is the case's to send."""
        where = urlsplit(url)
        framing = ("Transfer-Encoding", "chunked") if size is None else ("Content-Length", str(size))
        said = [("Host", where.netloc), *self.options.headers, VERSION, OCTETS, ("Upload-Offset", str(offset))]
        said += [framing, *headers]
        self.wire.exchanges.append(Exchange(method, url, said, raw=True, failure="(a connection below HTTP)"))
        connection = self.wire.connect(url)
        connection.send(head(method, where, said))
        return connection

    def until(self, condition: Callable[[], bool]) -> bool:
        """Whether the condition holds before the patience is over."""
        import time

        deadline = time.monotonic() + self.options.patience
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.05)
        return condition()


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What OPTIONS says: ``extensions`` that are to be tested, ``maximum`` bytes of an upload, checksum ``algorithms``,
    and ``answer``, where there is one."""

    extensions: frozenset[str] = frozenset()
    maximum: int | None = None
    algorithms: tuple[str, ...] = ()
    answer: Answer | None = None


def announced(options: Options) -> Announced:
    """Ask the server."""
    wire = Wire(timeout=options.timeout, insecure=options.insecure)
    try:
        answer = wire.ask("OPTIONS", options.url, options.headers)
    except (NoAnswer, OSError):
        return Announced(extensions=options.extensions or frozenset())
    said = frozenset(part.strip() for part in (answer.get("Tus-Extension") or "").split(",") if part.strip())
    maximum = answer.get("Tus-Max-Size") or ""
    algorithms = (answer.get("Tus-Checksum-Algorithm") or "").split(",")
    return Announced(
        extensions=said if options.extensions is None else options.extensions,
        maximum=int(maximum) if INTEGER.fullmatch(maximum) else None,
        algorithms=tuple(name.strip() for name in algorithms if name.strip()),
        answer=answer,
    )


def _another(letter: str) -> str:
    """A letter or digit of the same kind; what is a hexadecimal digit stays one."""
    for kind in (string.digits, "abcdef", "ABCDEF", string.ascii_lowercase, string.ascii_uppercase):
        if letter in kind:
            return secrets.choice(kind.replace(letter, ""))
    return letter


def encoded(text: str | bytes) -> str:
    """Base64."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def digest(algorithm: str, data: bytes) -> tuple[str, str]:
    """``Upload-Checksum`` for the data."""
    return "Upload-Checksum", f"{algorithm} {encoded(hashlib.new(algorithm, data).digest())}"
