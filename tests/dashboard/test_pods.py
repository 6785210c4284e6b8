"""Two pods over one MongoDB, in a real browser: whichever answers shows what goes on at the other."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from pymongo import MongoClient

from tests.dashboard.asking import TOKEN
from tests.dashboard.looking import entered, first
from tests.dashboard.looking import patience as patience
from tests.e2e.conftest import start as start
from tests.e2e.server import TUS, ServerProcess, metadata
from tests.mongod import shared_replica_set

KIB = 1024
SENDER = {"X-Forwarded-For": "198.51.100.7"}
STRANGER = {"X-Forwarded-For": "198.51.100.8"}


@pytest.fixture
def pod(start: Callable[..., ServerProcess]) -> Iterator[Callable[[], ServerProcess]]:
    """Start one more server over the same MongoDB and the same directory, behind a proxy that names its clients."""
    name = f"dashboard-{secrets.token_hex(4)}"
    shared = {"sessions": "mongodb:", "mongo_url": shared_replica_set().url, "db_name": name}
    yield lambda: start(**shared, admin_token=TOKEN, trusted_proxies="127.0.0.1")
    with MongoClient[Any](shared_replica_set().url) as client:
        client.drop_database(name)


def test_the_pod_that_answers_shows_what_goes_on_at_the_other(pod: Callable[[], ServerProcess], page: Page) -> None:
    here, there = pod(), pod()
    complaints = entered(page, here)
    expect(page.locator("#state")).to_have_text(f"Live, from {named(here)}")
    url = there.create(100 * KIB, **{"Upload-Metadata": metadata(filename="holiday.mp4")}, **SENDER)
    refused = requests.head(f"{there.url}/{'0' * 32}", headers={**TUS, **STRANGER}, timeout=20)
    assert refused.status_code == 404
    with there.opened_patch(url, 0, 100 * KIB, **SENDER) as raw:
        raw.sendall(bytes(25 * KIB))
        first(page, "#active .share").to_have_text("25%")
        first(page, "#active .detail").to_contain_text(f"pod {named(there)} · client 198.51.100.7")
        error = page.locator("#errors li", has_text="upload_not_found")
        expect(error).to_contain_text("HEAD 404 · 198.51.100.8")
        expect(error).to_contain_text(f"pod {named(there)}")
        raw.sendall(bytes(50 * KIB))
        first(page, "#active .share").to_have_text("75%")
        raw.sendall(bytes(25 * KIB))
        assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    first(page, "#latest .badge").to_have_text("completed")
    first(page, "#active").to_have_text("")
    there.kill()
    page.reload()
    expect(page.locator("#errors li", has_text="upload_not_found")).to_have_count(1)
    assert complaints == []


def named(server: ServerProcess) -> str:
    """What people call a server."""
    return f"{socket.gethostname()}:{server.pid}"
