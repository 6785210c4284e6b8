"""Debian's Chromium, for every test that looks at a page as people do: the one place that starts it.

A module that uses it names the fixture ``browser`` in its conftest: ``chromium`` itself, or what has to be there too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that shows a test picture, and nobody who has to be asked for it."""


def needed(*names: str) -> str:
    """Where the first of these programs is; skips the test, saying how to install it, where none is."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip(f"no {names[0]}: apt-get install {names[0]}")


@contextmanager
def launched(program: str) -> Iterator[Browser]:
    """A Chromium of our own, until the end of the block."""
    unprotected = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=[*unprotected, *CAMERA])
        yield opened
        opened.close()


# Not for the whole run: while it is open, Playwright's loop is the thread's, and asyncio's tests could not start theirs
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, without a window."""
    with launched(needed("chromium", "chromium-browser", "google-chrome")) as opened:
        yield opened


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that remembers nothing yet."""
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    return context.new_page()
