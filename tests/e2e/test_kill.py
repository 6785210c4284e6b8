"""kill -9 at random moments: restart, resume, and every byte is right."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import requests

from tests.e2e.server import OCTETS, ServerProcess, sha256, some_bytes, wait_for

MIB = 1024 * 1024
T = TypeVar("T")


class Client(threading.Thread):
    """Uploads one after the other, resuming after whatever happens, until told to stop; checks each at its end."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        super().__init__()
        self.server = server
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.finished = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.upload(some_bytes(self.random.randrange(1, 6 * MIB), self.random.randrange(1 << 30)))
            except Exception as error:  # reported by the test, not by the thread
                self.wrong.append(repr(error))
                return

    def upload(self, data: bytes) -> None:
        url = self.keep_trying(lambda: self.server.create(len(data)))
        acknowledged = 0
        while True:
            offset = self.keep_trying(lambda: self.server.offset(url))
            if offset < acknowledged:
                self.wrong.append(f"{url}: offset {offset} after {acknowledged} had been acknowledged")
            acknowledged = offset
            if offset == len(data):
                break
            size = self.random.choice([50_000, MIB, len(data)])
            headers = {**OCTETS, "Upload-Offset": str(offset)}
            try:
                answer = requests.patch(url, data=data[offset : offset + size], headers=headers, timeout=20)
            except requests.RequestException:
                continue
            if answer.status_code == 204:
                acknowledged = int(answer.headers["Upload-Offset"])
        stored = self.keep_trying(lambda: self.server.stored(url))
        if sha256(stored) != sha256(data):
            self.wrong.append(f"{url}: bytes differ")
        self.finished += 1

    def keep_trying(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + 60
        while True:
            try:
                return ask()
            except (requests.RequestException, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("way", "kills", "durability"),
    [("direct", 50, "safe"), ("plain", 15, "safe"), ("direct", 15, "page-cache")],
    indirect=["way"],
)
def test_nothing_acknowledged_is_lost(
    start: Callable[..., ServerProcess], tmp_path: Path, kills: int, durability: str
) -> None:
    server = start(lease_ttl="500ms", progress_every="100ms", sweep_every="500ms", durability=durability)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moments = random.Random(seed)
    clients = [Client(server, seed + number) for number in range(4)]
    for client in clients:
        client.start()
    for _ in range(kills):
        time.sleep(moments.uniform(0.05, 0.6))
        server.kill()
        server.start()
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(120)
        assert not client.is_alive()
        assert client.wrong == []
    assert sum(client.finished for client in clients) > len(clients)
    wait_for(lambda: not list((server.uploads / "parts").iterdir()), what="the sweeper to finish what was left")
