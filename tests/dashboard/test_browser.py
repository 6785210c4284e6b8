"""The dashboard in a real browser, while real uploads go on."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dashboard.asking import TOKEN
from tests.dashboard.browser import Browser, browser
from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess, metadata, wait_for

KIB = 1024


AXE = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as opened:
        yield opened


def entered(window: Browser, server: ServerProcess) -> None:
    window.open(f"{server.origin}/dashboard")
    window.complaints()  # that the form came with a 401
    window.type("#token", TOKEN)
    window.click("button.primary")
    wait_for(lambda: window.text("#state").startswith("Live"), what="events")


def flaws(window: Browser) -> list[str]:
    """What axe finds that keeps people out."""
    if not AXE.exists():
        pytest.skip("no axe-core: npm ci in tests/clients")
    window.run(AXE.read_text(encoding="utf-8"))
    return list(
        window.run("return axe.run().then((said) => said.violations.map((each) => each.id + ': ' + each.help))")
    )


def test_a_running_upload_moves_and_is_shown_finished(start: Callable[..., ServerProcess], window: Browser) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(100 * KIB, **{"Upload-Metadata": metadata(filename="<b>holiday<i>.mp4")})
    entered(window, server)
    with server.opened_patch(url, 0, 100 * KIB) as raw:
        raw.sendall(bytes(25 * KIB))
        wait_for(lambda: window.text("#active .share") == "25%", what="25%")
        assert window.text("#active .name") == "<b>holiday<i>.mp4"
        assert "client 127.0.0.1" in window.text("#active .detail")
        raw.sendall(bytes(50 * KIB))
        wait_for(lambda: window.text("#active .share") == "75%", what="75%")
        wait_for(lambda: window.run("return document.querySelectorAll('#chart .rate[d*=L]').length"), what="the chart")
        raw.sendall(bytes(25 * KIB))
        assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    wait_for(lambda: window.text("#latest .badge") == "completed", what="the finished upload")
    wait_for(lambda: window.text("#active") == "", what="nothing active")
    window.click("#latest .name")
    wait_for(lambda: "completed" in window.text("#timeline"), what="the timeline")
    assert window.complaints() == []


def test_cancel_asks_first(start: Callable[..., ServerProcess], window: Browser) -> None:
    server = start(admin_token=TOKEN)
    url = server.create(9)
    entered(window, server)
    wait_for(lambda: window.text("#latest .badge") == "active", what="the upload")
    window.click("#latest .name")
    wait_for(lambda: window.run("return document.querySelector('#upload').open"), what="the sheet")
    window.click("#cancel")
    window.click("#no")
    assert server.offset(url) == 0
    window.click("#cancel")
    assert window.text("#question") == "Cancel this upload?"
    window.click("#yes")
    wait_for(lambda: server.head(url).status_code in (404, 410), what="the upload to be gone")
    wait_for(lambda: "cancelled" in window.text("#timeline"), what="the timeline")
    window.click("#close")
    wait_for(lambda: window.text("#latest .badge") == "cancelled", what="the list")
    server.terminate()
    wait_for(lambda: "does not answer" in window.text("#state"), what="the page to notice")
    server.start()
    wait_for(lambda: window.text("#state").startswith("Live"), what="the page to go on")


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(start: Callable[..., ServerProcess], window: Browser, width: int, scheme: str) -> None:
    server = start(admin_token=TOKEN)
    window.resize(width, 900)
    if scheme == "dark":
        window.dark()
    url = server.create(4096 * KIB, **{"Upload-Metadata": metadata(filename="a-very-long-name-" * 9 + ".mp4")})
    server.head(url[:-4] + "0000")
    entered(window, server)
    with server.opened_patch(url, 0, 4096 * KIB) as raw:
        raw.sendall(bytes(1500 * KIB))
        wait_for(lambda: window.text("#active .share") == "36%", what="the upload")
        wait_for(lambda: window.text("#errors code") == "upload_not_found", what="the error")
        wait_for(lambda: window.run("return document.querySelectorAll('#chart .rate[d*=L]').length"), what="the chart")
        assert window.run("return document.documentElement.scrollWidth") <= width
        assert flaws(window) == []
        window.click("#active .name")
        wait_for(lambda: window.text("#timeline"), what="the timeline")
        assert flaws(window) == []
        if shots := os.environ.get("DASHBOARD_SCREENSHOTS"):
            Path(shots, f"sheet-{width}-{scheme}.png").write_bytes(base64.b64decode(window.screenshot()))
        window.click("#close")
        if shots := os.environ.get("DASHBOARD_SCREENSHOTS"):
            Path(shots, f"dashboard-{width}-{scheme}.png").write_bytes(base64.b64decode(window.screenshot()))


def test_older_pages(start: Callable[..., ServerProcess], window: Browser) -> None:
    server = start(admin_token=TOKEN)
    ids = [server.create(5).rsplit("/", 1)[1] for _ in range(30)]
    entered(window, server)

    def listed() -> list[str]:
        return list(window.run("return [...document.querySelectorAll('#latest li')].map((row) => row.dataset.id)"))

    newest = ids[::-1]
    wait_for(lambda: listed() == newest[:25], what="the newest")
    window.click("#older")
    wait_for(lambda: listed() == newest[25:], what="the others")
    window.click("#newest")
    wait_for(lambda: listed() == newest[:25], what="the newest again")
