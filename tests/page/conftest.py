"""A real Chromium, a real video, and a page of the server with its errors kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium as chromium
from tests.chromium import context as context
from tests.chromium import needed
from tests.chromium import page as page
from tests.e2e.conftest import server as server
from tests.e2e.conftest import start as start
from tusserver.page import BUILT

ARRIVED = ".video video"


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Browser:
    """Chromium, where there is a page to open in it."""
    if not (BUILT / "index.html").is_file():
        pytest.skip("the upload page is not built: make page")
    return chromium


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds that hardly compress, a key frame each second: some megabytes of WebM."""
    path = tmp_path_factory.mktemp("video") / "eight seconds.webm"
    picture = "testsrc2=size=320x180:rate=25:duration=8,noise=alls=60:allf=t"
    coding = ["-c:v", "libvpx", "-b:v", "4M", "-deadline", "realtime", "-cpu-used", "8", "-g", "25"]
    command = [needed("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", picture, *coding, str(path)]
    subprocess.run(command, check=True, timeout=100)
    return path
