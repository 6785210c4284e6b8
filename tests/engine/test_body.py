"""A request body: bounded, timed, interruptible, and nothing that arrived is lost."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tusserver.body import BUFFER, RequestBody
from tusserver.digest import Digest, cut
from tusserver.protocol.commands import Body, Checksum
from tusserver.protocol.refusals import BodyTimeout, ClientGone, TakenOver

pytestmark = pytest.mark.anyio


class Client:
    """The other end of ASGI's receive."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taken = 0

    def send(self, data: bytes, *, more: bool = True) -> None:
        self.events.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        self.events.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        event = await self.events.get()
        self.taken += len(event.get("body", b""))
        return event


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    yield Client()


async def gather(body: RequestBody) -> bytes:
    return b"".join([block async for batch in body.batches() for block in batch])


async def test_a_whole_body(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"hello ")
    client.send(b"world", more=False)
    assert await gather(body) == b"hello world"
    assert body.complete and body.begun and body.received == 11


async def test_what_arrived_before_the_client_left_comes_out_first(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"hello ")
    client.send(b"wor")
    client.leave()
    got = []
    with pytest.raises(ClientGone):
        async for batch in body.batches():
            got += batch
    assert b"".join(got) == b"hello wor"


async def test_silence_ends_it(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=0.05)
    client.send(b"hello")
    got = []
    with pytest.raises(BodyTimeout):
        async for batch in body.batches():
            got += batch
    assert got == [b"hello"]


async def test_an_interruption_ends_it_after_what_arrived(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"hello")
    got = []
    with pytest.raises(TakenOver):
        async for batch in body.batches():
            got += batch
            body.interrupt(TakenOver())
    assert got == [b"hello"]


async def test_an_interruption_of_a_body_that_is_there_comes_too_late(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"hello", more=False)
    async for _ in body.batches():
        body.interrupt(TakenOver())
    assert body.complete


async def test_no_more_is_taken_than_fits(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    for _ in range(100):
        client.send(b"x" * 65536)
    batches = body.batches()
    first = await anext(batches)
    for _ in range(50):
        await asyncio.sleep(0)
    assert client.taken - sum(map(len, first)) <= BUFFER + 65536
    await batches.aclose()


async def test_nothing_is_read_before_somebody_asks(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"x")
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.taken == 0 and not body.begun


async def test_draining_is_bounded(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    for _ in range(100):
        client.send(b"x" * 65536)
    await body.drain(200_000, 5)
    assert client.taken < 200_000 + 2 * BUFFER
    await RequestBody(Client().receive, idle_timeout=5).drain(200_000, 0.05)


@pytest.mark.parametrize("size", [0, 1, 5, 6, 11, 12, None])
def test_cut(size: int | None) -> None:
    taken, over = cut([b"hello ", b"world"], size)
    assert b"".join(bytes(block) for block in taken) == b"hello world"[:size]
    assert over == (size is not None and size < 11)


@pytest.mark.requirement("CSUM-04")
@pytest.mark.parametrize("big", [False, True])
async def test_digests(big: bool) -> None:
    data = b"hello world" * (20_000 if big else 1)
    right = Checksum(algorithm="sha1", digest=hashlib.sha1(data, usedforsecurity=False).digest())
    for announced in (Body(size=None, checksum=right), Body(size=None, checksum_follows=True)):
        digest = Digest(announced, ["sha1", "md5"])
        await digest.update([data[:3], memoryview(data)[3:]])
        assert digest.matches(right)
        assert not digest.matches(Checksum(algorithm="sha1", digest=b"0" * 20))


async def test_what_the_server_has_when_an_interruption_comes_first_is_not_lost(client: Client) -> None:
    body = RequestBody(client.receive, idle_timeout=5)
    client.send(b"hello")
    body.interrupt(TakenOver())
    got = []
    with pytest.raises(TakenOver):
        async for batch in body.batches():
            got += batch
            client.send(b"too late")
    assert got == [b"hello"]


async def test_what_lies_in_the_kernel_when_the_end_comes_first_is_given_out() -> None:
    """A server that only reads once it is asked has it some turns of the loop later."""

    async def receive() -> dict[str, object]:
        for _ in range(3):
            await asyncio.sleep(0)
        return {"type": "http.request", "body": b"sent before", "more_body": True}

    body = RequestBody(receive, idle_timeout=60)
    body.interrupt(TakenOver())
    got: list[bytes] = []
    with pytest.raises(TakenOver):
        async for batch in body.batches():
            got += batch
    assert got[:1] == [b"sent before"]
