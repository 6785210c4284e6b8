"""How the tests of this folder ask for the dashboard and read its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.e2e.server import ServerProcess

TOKEN = "correct-horse-battery"


def logged_in(server: ServerProcess) -> requests.Session:
    """A browser that has brought the token."""
    session = requests.Session()
    origin = {"Origin": server.origin}
    answer = session.post(f"{server.origin}/dashboard/login", {"token": TOKEN}, headers=origin, timeout=10)
    assert answer.status_code == 200, answer.text
    return session


def event_of(text: str) -> tuple[str, Any]:
    """The name and the data of one server-sent event."""
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], json.loads(fields["data"])


def told(
    server: ServerProcess, wanted: Callable[[Any], Any], session: requests.Session | None = None, seconds: float = 20
) -> Any:
    """The first picture of the events that is wanted."""
    deadline = time.monotonic() + seconds
    url = f"{server.origin}/dashboard/events"
    with (session or requests).get(url, stream=True, timeout=10) as answer:
        assert answer.status_code == 200, answer.text
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b'data: {"at"') and wanted(seen := json.loads(line[6:])):
                return seen
            assert time.monotonic() < deadline, "waited for a picture that does not come"
    raise AssertionError("the events have ended")
