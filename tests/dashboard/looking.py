"""What somebody does on the dashboard in a browser, and what is expected to be seen there."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.asking import TOKEN
from tests.e2e.server import ServerProcess

PATIENCE = 20_000  # milliseconds


@pytest.fixture(autouse=True)
def patience() -> None:
    """Events come once a second, and later on a busy machine."""
    expect.set_options(timeout=PATIENCE)


def entered(page: Page, server: ServerProcess) -> list[str]:
    """Log in; the list gets what the console complains of from then on."""
    page.goto(f"{server.origin}/dashboard")
    complaints: list[str] = []
    page.fill("#token", TOKEN)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.click("button.primary")
    expect(page.locator("#state")).to_contain_text("Live")
    return complaints


def first(page: Page, selector: str) -> Any:
    """Expectations of the first such element."""
    return expect(page.locator(selector).first)
