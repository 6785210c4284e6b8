"""The browser that looks at the dashboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium as chromium
from tests.chromium import context as context
from tests.chromium import page as page


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Browser:
    """Chromium; the dashboard needs no build."""
    return chromium
