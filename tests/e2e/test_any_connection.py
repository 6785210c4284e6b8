"""Whatever a connection does in the middle of a body: HEAD then tells what arrived, and the bytes are right.

Bodies of about the size from which on they are claimed, said and sent in random ways, each way that a server takes them
in. What a client can know of the offset (``Model``) is compared with what the server says, again and again.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import trustme

from tests.e2e.server import ServerProcess, sha256, some_bytes, wait_for
from tests.e2e.test_interruptions import in_queue, reset
from tests.http.asking import checksum, path_of, said
from tests.http.wire import HEAD, Wire, chunked
from tusserver.connection import WORTH_CLAIMING

UPLOADS = 60
LENGTHS = [1, 1000, WORTH_CLAIMING - 1, WORTH_CLAIMING, WORTH_CLAIMING + 1, 2 * WORTH_CLAIMING, 700_000]


@dataclass
class Model:
    """An upload as its client knows it: at least ``low`` bytes have arrived, at most ``high``."""

    url: str
    data: bytes
    low: int = 0
    high: int = 0
    done: list[str] = field(default_factory=list)

    @property
    def rest(self) -> bytes:
        return self.data[self.low :]

    def learn(self, offset: int) -> None:
        """What the server says."""
        assert self.low <= offset <= self.high, self.done
        self.low = self.high = offset

    def head(self, *lines: str, size: int | None = None) -> str:
        """The head of a PATCH that goes on here."""
        length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
        return said("PATCH", self.url, f"Upload-Offset: {self.low}", length, *lines)


Deed = Callable[[Wire, Model, random.Random], None]


def send_in_pieces(wire: Wire, data: bytes, chance: random.Random) -> None:
    """In up to ten segments."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(10)))
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        wire.send(data[start:stop])


def all_arrived(wire: Wire) -> bool:
    return in_queue(wire.raw) == 0


def whole(wire: Wire, model: Model, chance: random.Random) -> None:
    """A body that comes as said, and requests behind it on the same connection, some before it has been answered."""
    size = chance.randint(1, len(model.rest))
    checked = [f"Upload-Checksum: {checksum('sha1', model.rest[:size])}"] if chance.random() < 0.2 else []
    wire.send(model.head(*checked, size=size))
    send_in_pieces(wire, model.rest[:size], chance)
    wire.send(f"HEAD {model.url} HTTP/1.1\r\n{HEAD}\r\n")
    assert wire.read(head_only=True).status == 204
    model.low = model.high = model.low + size
    assert wire.read(head_only=True).headers["upload-offset"] == str(model.low)
    if model.rest and chance.random() < 0.5:
        whole(wire, model, chance)


def in_chunks(wire: Wire, model: Model, chance: random.Random) -> None:
    """A body whose length is not said, perhaps with its checksum behind it."""
    size = chance.randint(1, len(model.rest))
    trails = chance.random() < 0.5
    wire.send(model.head(*["Trailer: Upload-Checksum"] * trails))
    trailer = f"Upload-Checksum: {checksum('sha256', model.rest[:size])}\r\n" * trails
    sizes = [chance.randint(1, 60_000) for _ in range(9)]
    send_in_pieces(wire, chunked(model.rest[:size], sizes) + f"0\r\n{trailer}\r\n".encode(), chance)
    assert wire.read().status == 204
    model.low = model.high = model.low + size


def with_permission(wire: Wire, model: Model, chance: random.Random) -> None:
    """A client that waits until it may send."""
    wire.send(model.head("Expect: 100-continue", size=len(model.rest)))
    assert wire.read(head_only=True).status == 100
    send_in_pieces(wire, model.rest, chance)
    assert wire.read().status == 204
    model.low = model.high = len(model.data)


def beside_another_protocol(wire: Wire, model: Model, chance: random.Random) -> None:
    """A client that would rather speak HTTP/2, and asks for it with the body."""
    size = chance.randint(1, len(model.rest))
    wire.send(model.head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAM", size=size))
    send_in_pieces(wire, model.rest[:size], chance)
    wire.send(f"HEAD {model.url} HTTP/1.1\r\n{HEAD}\r\n")
    assert wire.read().status == 204
    model.low = model.high = model.low + size
    assert wire.read(head_only=True).headers["upload-offset"] == str(model.low)


def begun(wire: Wire, model: Model, chance: random.Random) -> int:
    """A body that breaks off; how much of it has been sent, and has arrived."""
    size = chance.randrange(len(model.rest))
    wire.send(model.head(size=len(model.rest)))
    send_in_pieces(wire, model.rest[:size], chance)
    wait_for(lambda: all_arrived(wire), what="the other end to have it all")
    return size


def cut(wire: Wire, model: Model, chance: random.Random) -> None:
    """FIN in the middle: what arrived is kept, all of it; but of what is encrypted, the event loop's TLS throws away at
    the end what it has not decrypted yet."""
    size = begun(wire, model, chance)
    wire.close()
    model.high = model.low + size
    if not isinstance(wire.raw, ssl.SSLSocket):
        model.low = model.high


def half_closed(wire: Wire, model: Model, chance: random.Random) -> None:
    """FIN in the middle, from a client that still listens."""
    size = begun(wire, model, chance)
    wire.raw.shutdown(socket.SHUT_WR)
    model.low = model.high = model.low + size


def broken(wire: Wire, model: Model, chance: random.Random) -> None:
    """RST in the middle: the kernel may throw away what has not been taken from it."""
    size = begun(wire, model, chance)
    reset(wire.raw)
    model.high = model.low + size


def too_long(wire: Wire, model: Model, chance: random.Random) -> None:
    """A body that is larger than what is missing."""
    size = len(model.rest) + chance.choice([1, WORTH_CLAIMING])
    wire.send(model.head(size=size), model.rest)
    assert wire.read().status == 413


def at_another_offset(wire: Wire, model: Model, chance: random.Random) -> None:
    """A body for somewhere else, which goes on coming after it has been refused."""
    wire.send(said("PATCH", model.url, f"Upload-Offset: {model.low + 1}", f"Content-Length: {len(model.data)}"))
    send_in_pieces(wire, model.data, chance)
    assert wire.read().status == 409


def followed_by_nonsense(wire: Wire, model: Model, chance: random.Random) -> None:
    """What comes behind a body is no part of it. It may be seen, and end the connection, before the body is done."""
    wire.send(model.head(size=len(model.rest)), model.rest, chance.randbytes(40), b"\r\n\r\n")
    model.high = len(model.data)
    assert wire.read().status in (204, 400)
    assert wire.ended()


DEEDS: list[Deed] = [
    whole,
    in_chunks,
    with_permission,
    beside_another_protocol,
    cut,
    too_long,
    at_another_offset,
    followed_by_nonsense,
]
BELOW_TLS: list[Deed] = [half_closed, broken]


@dataclass
class Served:
    """A server, and how to connect to it."""

    server: ServerProcess
    context: ssl.SSLContext | None = None
    ca: str | bool = True

    def connect(self) -> Wire:
        return Wire(self.server.port, self.context)

    def offset(self, url: str) -> int:
        answer = requests.head(self.server.origin + url, headers={"Tus-Resumable": "1.0.0"}, timeout=20, verify=self.ca)
        assert answer.status_code == 200
        return int(answer.headers["Upload-Offset"])


@pytest.fixture
def served(start: Callable[..., ServerProcess], way: str, tmp_path: Path) -> Iterator[Served]:
    if way != "tls":
        yield Served(start())
        return
    authority, pem = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    certificate = authority.issue_cert("127.0.0.1")
    (tmp_path / "chain.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server = start(direct=True, tls_certificate=tmp_path / "chain.pem", tls_key=tmp_path / "key.pem")
    yield Served(server, ssl.create_default_context(cafile=str(pem)), str(pem))


@pytest.mark.requirement("CORE-38", "CORE-41")
@pytest.mark.parametrize("way", ["direct", "plain", "claimed", "tls"], indirect=True)
def test_the_offset_is_what_arrived_and_the_bytes_are_right(served: Served) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    deeds = DEEDS + ([] if served.context else BELOW_TLS)
    for number in range(UPLOADS):
        data = some_bytes(chance.choice(LENGTHS), seed + number)
        with contextlib.closing(served.connect()) as wire:
            wire.send(f"POST /files HTTP/1.1\r\n{HEAD}Upload-Length: {len(data)}\r\n\r\n")
            model = Model(path_of(wire.read().headers["location"]), data)
        while model.rest:
            deed = chance.choice(deeds) if len(model.done) < 12 else with_permission
            model.done.append(deed.__name__)
            with contextlib.closing(served.connect()) as wire:
                deed(wire, model, chance)
                model.learn(served.offset(model.url))
        stored = requests.get(served.server.origin + model.url, timeout=20, verify=served.ca).content
        assert sha256(stored) == sha256(data), model.done
    log = served.server.log.read_text()
    assert "Traceback" not in log and "internal_error" not in log
