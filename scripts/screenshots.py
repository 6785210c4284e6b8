"""Make docs/screenshots/: the upload page and the dashboard as a real Chromium shows them (make screenshots)."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page

from tests.chromium import launched
from tests.e2e.server import TUS, ServerProcess, metadata, wait_for
from tests.page.browsing import Network, arrived, pick

OUT = Path(__file__).parent.parent / "docs" / "screenshots"
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
SKY = "gradients=size=640x360:rate=25:seed=7:speed=0.01:nb_colors=4:c0=0x1f2a44:c1=0xa33b13:c2=0xf2b66d:c3=0x3f6f78"
SCENES = {
    "fractal.webm": "mandelbrot=size=640x360:rate=5",
    # the grain keeps it from being too small to be seen on its way
    "evening sky.webm": f"{SKY},format=yuv420p,noise=c0s=16:c0f=t",
}
SLOW = 60_000  # bytes per second
ARRIVED = {"graduation.mp4": 3_400_000, "lecture 12.mp4": 5_200_000, "rough cut v3.mov": 2_100_000}
UNDERWAY = {
    "beach.mp4": (48_000_000, 0.9),
    "interview, second take.mov": (30_000_000, 0.6),
    "drone.mp4": (12_000_000, 0.3),
}
"""Bytes that are sent, and which share of the upload they are."""
SECONDS = 45


def main() -> int:
    """One picture for each look; says which program is missing."""
    chromium = shutil.which("chromium")
    missing = [name for name in ("chromium", "ffmpeg") if shutil.which(name) is None]
    if missing or chromium is None:
        print(f"Install what is missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, launched(chromium) as browser:
        directory = Path(place)
        (directory / "dashboard").mkdir()
        videos = [filmed(directory / name, scene) for name, scene in SCENES.items()]
        server = ServerProcess(directory, {})
        server.start()
        try:
            for name, look in LOOKS.items():
                photographed(browser, server, videos, f"page-{name}", look)
        finally:
            server.stop()
        watched(browser, directory / "dashboard")
    return 0


def filmed(path: Path, scene: str) -> Path:
    """Two seconds of a scene."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", scene, "-t", "2"]
    command += ["-pix_fmt", "yuv420p", "-c:v", "libvpx", "-b:v", "1M", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def photographed(browser: Browser, server: ServerProcess, videos: list[Path], name: str, look: dict[str, Any]) -> None:
    """The page with one video arrived and another on its way."""
    context = browser.new_context(**look)
    page = context.new_page()
    page.goto(f"{server.origin}/")
    pick(page, videos[0])
    player = arrived(page)
    wait_for(lambda: player.evaluate("player => player.readyState >= 2"), what="a picture of the video")
    page.get_by_role("button", name="Done").click()
    Network(page).set(upload=SLOW)
    pick(page, videos[1])
    page.get_by_text("Uploading:").wait_for()
    page.screenshot(path=OUT / f"{name}.png", full_page=True)
    context.close()


def watched(browser: Browser, directory: Path) -> None:
    """The dashboard in each look: uploads go on, others have arrived, and some things have gone wrong."""
    server = ServerProcess(directory, {})
    server.start()
    try:
        pages = {name: browser.new_context(**look).new_page() for name, look in LOOKS.items()}
        for page in pages.values():
            page.goto(f"{server.origin}/dashboard")
            page.get_by_text("Live").first.wait_for()
        for name, size in ARRIVED.items():
            server.patch(named(server, name, size), 0, bytes(size))
        gone_wrong(server)
        underway(server, pages["desktop"])
        for name, page in pages.items():
            page.screenshot(path=OUT / f"dashboard-{name}.png", full_page=True)
            page.context.close()
    finally:
        server.stop()


def named(server: ServerProcess, name: str, length: int) -> str:
    """A new upload of that name."""
    return server.create(length, **{"Upload-Metadata": metadata(filename=name)})


def gone_wrong(server: ServerProcess) -> None:
    """A client that is behind, one that asks for what has never been, and an upload that was given up."""
    url = named(server, "wrong take.mp4", 800_000)
    server.patch(url, 0, bytes(300_000))
    server.patch(url, 0, bytes(300_000))
    requests.delete(url, headers=TUS, timeout=20)
    server.head(f"{server.url}/{'0' * 32}")


def underway(server: ServerProcess, page: Page) -> None:
    """Send for a while, unevenly, and leave the uploads as they are then."""
    sending = []
    for name, (size, share) in UNDERWAY.items():
        length = round(size / share)
        sending.append((server.opened_patch(named(server, name, length), 0, length), size))
    for number in range(SECONDS):
        pace = 0.6 + 0.4 * math.sin(number / 6)
        for raw, size in sending:
            raw.sendall(bytes(round(size / SECONDS * pace / 0.6)))
        page.wait_for_timeout(1000)


if __name__ == "__main__":
    sys.exit(main())
