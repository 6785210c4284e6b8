"""Who can use the page: with a keyboard, with a screen reader, on a phone, in the dark, and from another origin."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from tests.e2e.server import ServerProcess, sha256, wait_for
from tests.page.browsing import SLOW, Network, arrived, in_the_middle, on_disk, opened, pick
from tests.serving import serving

WEB = Path(__file__).parents[2] / "web"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 320, "height": 640}},
    "phone in the dark": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}


def found_by_axe(page: Page) -> list[str]:
    """What axe calls serious or critical, with the elements."""
    found = page.evaluate("() => axe.run()")
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(browser: Browser, server: ServerProcess, video: Path, look: str) -> None:
    context = browser.new_context(**LOOKS[look], reduced_motion="reduce")
    context.add_init_script(path=WEB / "node_modules" / "axe-core" / "axe.min.js")
    page = context.new_page()
    opened(page, server)
    assert found_by_axe(page) == []
    assert fits(page)
    network = Network(page)
    network.set(upload=SLOW)
    pick(page, video)
    in_the_middle(server)
    assert found_by_axe(page) == []
    assert fits(page)
    network.set(offline=True)
    expect(page.locator("#waiting")).to_be_visible()
    assert found_by_axe(page) == []
    assert fits(page)
    network.set()
    arrived(page)
    assert found_by_axe(page) == []
    assert fits(page)
    context.close()


def fits(page: Page) -> bool:
    """Whether nobody has to scroll sideways."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"))


def test_the_keyboard_opens_the_file_dialogue(page: Page, server: ServerProcess) -> None:
    opened(page, server)
    tab_to(page, "uppy-Dashboard-browse")
    asked = (
        "() => document.querySelector('input.uppy-Dashboard-input').addEventListener('click', () => window.asked = 1)"
    )
    page.evaluate(asked)
    page.keyboard.press("Enter")
    wait_for(lambda: page.evaluate("() => window.asked"), what="the file dialogue to be asked for")


def test_the_keyboard_pauses_resumes_and_cancels(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    Network(page).set(upload=SLOW)
    pick(page, video)
    in_the_middle(server)
    for now, then in (("Pause upload", "Resume upload"), ("Resume upload", "Pause upload")):
        tab_to(page, "uppy-Dashboard-Item-progressIndicator")
        assert page.evaluate("() => document.activeElement.ariaLabel") == now
        page.keyboard.press("Enter")
        page.locator(f".uppy-Dashboard-Item-progressIndicator[aria-label='{then}']").wait_for()
    kept = on_disk(server)
    in_the_middle(server, kept + 1)
    tab_to(page, "uppy-Dashboard-Item-action--remove")
    page.keyboard.press("Enter")
    wait_for(lambda: on_disk(server) == 0, what="the bytes to go")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until an element of this class has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("name => document.activeElement.classList.contains(name)", name):
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_the_plain_snippet_works_from_another_origin(
    page: Page, server: ServerProcess, video: Path, tmp_path: Path
) -> None:
    script = tmp_path / "plain.js"
    bundler = WEB / "node_modules" / ".bin" / "esbuild"
    source = Path(__file__).parent / "plain.js"
    command = [str(bundler), str(source), "--bundle", "--format=esm", f"--outfile={script}", "--log-level=error"]
    subprocess.run(command, check=True, timeout=60, env={"NODE_PATH": str(WEB / "node_modules")})
    html = "<!doctype html><title>Elsewhere</title><body><script type=module src=/plain.js></script>"
    routes = [
        Route("/", lambda request: HTMLResponse(html)),
        Route("/plain.js", lambda request: FileResponse(script, media_type="text/javascript")),
    ]
    with serving(Starlette(routes=routes), lifespan=False) as elsewhere:
        page.goto(f"{elsewhere}/?endpoint={server.url}")
        pick(page, video)
        page.locator(".uppy-StatusBar-actionBtn--upload").click()
        page.get_by_text("Complete", exact=True).wait_for()
        url = page.evaluate("() => uppy.getFiles()[0].uploadURL")
    assert sha256(server.stored(url)) == sha256(video.read_bytes())
