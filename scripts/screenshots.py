"""Make docs/screenshots/: the upload page and the dashboard as a real Chromium shows them (make screenshots)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.chromium import launched
from tests.e2e.server import ServerProcess, metadata, wait_for
from tests.page.browsing import Network, arrived, pick

OUT = Path(__file__).parent.parent / "docs" / "screenshots"
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
SCENES = {
    "fractal.webm": "mandelbrot=size=640x360:rate=5",
    "colours.webm": "gradients=size=640x360:rate=25,noise=alls=30:allf=t",
}
SLOW = 60_000  # bytes per second
SENT = {"beach.mp4": 48_000_000, "interview, second take.mov": 30_000_000, "drone over the bay.mp4": 12_000_000}
SECONDS = 20


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
        videos = [filmed(directory / name, scene) for name, scene in SCENES.items()]
        server = ServerProcess(directory, {})
        server.start()
        try:
            for name, look in LOOKS.items():
                photographed(browser, server, videos, f"page-{name}", look)
            watched(browser, server)
        finally:
            server.stop()
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


def watched(browser: Browser, server: ServerProcess) -> None:
    """The dashboard in each look, while three uploads go on and after one has gone wrong."""
    pages = {name: browser.new_context(**look).new_page() for name, look in LOOKS.items()}
    for page in pages.values():
        page.goto(f"{server.origin}/dashboard")
        page.get_by_text("Live").first.wait_for()
    server.head(f"{server.url}/{'0' * 32}")
    with contextlib.ExitStack() as stack:
        sending = []
        for name, size in SENT.items():
            url = server.create(2 * size, **{"Upload-Metadata": metadata(filename=name)})
            sending.append(stack.enter_context(server.opened_patch(url, 0, 2 * size)))
        for number in range(SECONDS):
            for raw, size in zip(sending, SENT.values(), strict=True):
                raw.sendall(bytes(size // SECONDS * (1 + number % 3) // 2))
            pages["desktop"].wait_for_timeout(1000)
        for name, page in pages.items():
            page.screenshot(path=OUT / f"dashboard-{name}.png", full_page=True)
            page.context.close()


if __name__ == "__main__":
    sys.exit(main())
