"""A real Chromium, a real video, and a page of the server with its errors kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.server import ServerProcess
from tusserver.page import BUILT

ARRIVED = ".video video"


def needed(*names: str) -> str:
    """Where the first of these programs is; skips the test, saying how to install it, where none is."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip(f"no {names[0]}: apt-get install {names[0]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if not (BUILT / "index.html").is_file():
        pytest.skip("the upload page is not built: make page")
    program = needed("chromium", "chromium-browser", "google-chrome")
    unprotected = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=[*unprotected, *camera])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds that hardly compress, a key frame each second: some megabytes of WebM."""
    path = tmp_path_factory.mktemp("video") / "eight seconds.webm"
    picture = "testsrc2=size=320x180:rate=25:duration=8,noise=alls=60:allf=t"
    coding = ["-c:v", "libvpx", "-b:v", "4M", "-deadline", "realtime", "-cpu-used", "8", "-g", "25"]
    command = [needed("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", picture, *coding, str(path)]
    subprocess.run(command, check=True, timeout=100)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers; each keyword is a setting."""
    servers: list[ServerProcess] = []

    def starter(**settings: object) -> ServerProcess:
        server = ServerProcess(tmp_path, settings)
        servers.append(server)
        server.start()
        return server

    yield starter
    for server in servers:
        server.stop()


@pytest.fixture
def server(start: Callable[..., ServerProcess]) -> ServerProcess:
    """One server with its defaults."""
    return start()


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
