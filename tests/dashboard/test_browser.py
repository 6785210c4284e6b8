"""The dashboard in a real browser, while real uploads go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.asking import TOKEN
from tests.dashboard.looking import entered, first
from tests.dashboard.looking import patience as patience
from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess, metadata, wait_for

KIB = 1024
CHARTED = "#chart .rate[d*=L]"
AXE = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"


def flaws(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    if not AXE.exists():
        pytest.skip("no axe-core: npm ci in tests/clients")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return list(page.evaluate("axe.run().then((said) => said.violations.map((each) => each.id + ': ' + each.help))"))


def pressed(page: Page, name: str) -> None:
    """Go to a button of the open dialogue by Tab alone, and press it with Enter."""
    for _ in range(10):
        if page.evaluate("document.activeElement.textContent") == name:
            page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {name}")


def test_a_running_upload_moves_and_is_shown_finished(start: Callable[..., ServerProcess], page: Page) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(100 * KIB, **{"Upload-Metadata": metadata(filename="<b>holiday<i>.mp4")})
    complaints = entered(page, server)
    with server.opened_patch(url, 0, 100 * KIB) as raw:
        raw.sendall(bytes(25 * KIB))
        first(page, "#active .share").to_have_text("25%")
        first(page, "#active .name").to_have_text("<b>holiday<i>.mp4")
        first(page, "#active .detail").to_contain_text("client 127.0.0.1")
        raw.sendall(bytes(50 * KIB))
        first(page, "#active .share").to_have_text("75%")
        first(page, CHARTED).to_be_attached()
        raw.sendall(bytes(25 * KIB))
        assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    first(page, "#latest .badge").to_have_text("completed")
    first(page, "#active").to_have_text("")
    page.click("#latest .name")
    first(page, "#timeline").to_contain_text("completed")
    assert complaints == []


def test_cancel_asks_first(start: Callable[..., ServerProcess], page: Page) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(9)
    entered(page, server)
    first(page, "#latest .badge").to_have_text("active")
    page.click("#latest .name")
    page.click("#cancel")
    page.click("#no")
    assert server.offset(url) == 0
    page.click("#cancel")
    first(page, "#question").to_have_text("Cancel this upload?")
    page.click("#yes")
    wait_for(lambda: server.head(url).status_code in (404, 410), what="the upload to be gone")
    first(page, "#timeline").to_contain_text("cancelled")
    page.click("#close")
    first(page, "#latest .badge").to_have_text("cancelled")
    server.terminate()
    first(page, "#state").to_contain_text("does not answer")
    server.start()
    first(page, "#state").to_contain_text("Live")


def test_the_keyboard_alone_cancels(start: Callable[..., ServerProcess], page: Page) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(9)
    entered(page, server)
    page.locator("#latest .name").first.focus()
    page.keyboard.press("Enter")
    first(page, "#upload").to_be_visible()
    pressed(page, "Cancel upload")
    first(page, "#question").to_have_text("Cancel this upload?")
    page.keyboard.press("Escape")
    first(page, "#sure").to_be_hidden()
    assert server.offset(url) == 0
    pressed(page, "Cancel upload")
    first(page, "#sure").to_be_visible()
    pressed(page, "Yes, cancel it")
    wait_for(lambda: server.head(url).status_code in (404, 410), what="the upload to be gone")


def test_the_keyboard_alone_unlocks(start: Callable[..., ServerProcess], page: Page) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(9)
    entered(page, server)
    with server.opened_patch(url, 0, 9) as raw:
        raw.sendall(b"12345")
        first(page, "#active .share").to_have_text("55%")
        page.locator("#active .name").first.focus()
        page.keyboard.press("Enter")
        first(page, "#upload").to_be_visible()
        pressed(page, "Unlock")
        first(page, "#question").to_have_text("Unlock this upload?")
        expect(page.locator("#no")).to_be_focused()
        page.keyboard.press("Enter")
        first(page, "#sure").to_be_hidden()
        expect(page.locator("#timeline")).not_to_contain_text("unlocked")
        pressed(page, "Unlock")
        pressed(page, "Yes, unlock it")
        first(page, "#timeline").to_contain_text("unlocked")
        assert raw.recv(65536).startswith(b"HTTP/1.1 409")
    first(page, "#unlock").to_be_disabled()
    assert server.patch(url, 5, b"6789").status_code == 204


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(start: Callable[..., ServerProcess], browser: Browser, width: int, scheme: Any) -> None:
    server = start(admin_token=TOKEN)
    # The policy of the page forbids scripts from elsewhere, and axe is one
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    url = server.create(4096 * KIB, **{"Upload-Metadata": metadata(filename="a-very-long-name-" * 9 + ".mp4")})
    server.head(url[:-4] + "0000")
    entered(page, server)
    with server.opened_patch(url, 0, 4096 * KIB) as raw:
        raw.sendall(bytes(1500 * KIB))
        first(page, "#active .share").to_have_text("36%")
        first(page, "#errors code").to_have_text("upload_not_found")
        first(page, CHARTED).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert flaws(page) == []
        page.click("#active .name")
        first(page, "#timeline li").to_be_visible()
        assert flaws(page) == []
    page.close()


def test_older_pages(start: Callable[..., ServerProcess], page: Page) -> None:
    server = start(admin_token=TOKEN)
    ids = [server.create(5).rsplit("/", 1)[1] for _ in range(30)]
    entered(page, server)

    def listed() -> list[str]:
        return list(page.evaluate("[...document.querySelectorAll('#latest li')].map((row) => row.dataset.id)"))

    newest = ids[::-1]
    wait_for(lambda: listed() == newest[:25], what="the newest")
    page.click("#older")
    wait_for(lambda: listed() == newest[25:], what="the others")
    page.click("#newest")
    wait_for(lambda: listed() == newest[:25], what="the newest again")
