"""What somebody does on the page, and what can be seen of it from outside."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import CDPSession, Locator, Page, Request

from tests.e2e.server import ServerProcess, wait_for

SLOW = 400_000  # bytes per second: the video takes some ten seconds


COUNTED = """(store) => new Promise((done, failed) => {
    const opening = indexedDB.open('uppy-blobs')
    opening.onerror = failed
    opening.onsuccess = () => {
        const counting = opening.result.transaction(store).objectStore(store).count()
        counting.onerror = failed
        counting.onsuccess = () => { opening.result.close(); done(counting.result > 0) }
    }
})"""


class Network:
    """The tab's connection, as the browser's own tools slow it down or cut it."""

    def __init__(self, page: Page) -> None:
        self._tools: CDPSession = page.context.new_cdp_session(page)
        self._tools.send("Network.enable")

    def set(self, *, upload: int = -1, offline: bool = False) -> None:
        """``upload``: bytes per second, -1 for no limit."""
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self._tools.send("Network.emulateNetworkConditions", conditions)


def creations_of(page: Page) -> list[Request]:
    """A list that gets each request by which the page creates an upload."""
    creations: list[Request] = []
    page.on("request", lambda request: creations.append(request) if request.method == "POST" else None)
    return creations


def opened(page: Page, server: ServerProcess) -> list[Request]:
    """Open the page; the list gets each request that creates an upload."""
    creations = creations_of(page)
    page.goto(f"{server.origin}/")
    page.wait_for_selector(".uppy-Dashboard--isInnerWrapVisible .uppy-Dashboard-browse")
    return creations


def pick(page: Page, *paths: Path) -> None:
    """Choose videos in the file dialogue."""
    page.set_input_files("input.uppy-Dashboard-input >> nth=0", list(paths))


def drop(page: Page, path: Path) -> None:
    """Drag a video from outside the browser to the middle of the page's frame, and let go of it."""
    box = page.locator(".uppy-Dashboard-inner").bounding_box()
    assert box is not None
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    dragged = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    tools = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": step, **where, "data": dragged})


def arrived(page: Page) -> Locator:
    """The first video that has arrived, as it stands on the page."""
    found = page.locator(".video video").first
    found.wait_for()
    return found


def address(player: Locator) -> str:
    """Where a video plays from."""
    return str(player.evaluate("player => player.src")).partition("#")[0]


def plays(player: Locator) -> None:
    """Play a video that has arrived, until it is seen to move."""
    player.evaluate("player => { player.muted = true; return player.play() }")
    wait_for(lambda: player.evaluate("player => player.currentTime > 0"), what="the video to play")


def in_the_middle(server: ServerProcess, least: int = 500_000) -> None:
    """Wait until some of an upload lies on the server's disk, so that what follows happens in the middle."""
    wait_for(lambda: on_disk(server) >= least, what="some bytes to arrive")


def remembered(page: Page) -> None:
    """Wait until the browser remembers which video is on its way: it writes that down a moment after it was picked."""
    wait_for(lambda: page.evaluate(COUNTED, "metadata"), what="the browser to remember the video")


def kept(page: Page) -> None:
    """Wait until the browser has the video's bytes for another tab, too."""
    remembered(page)
    wait_for(lambda: page.evaluate(COUNTED, "files"), what="the browser to keep the video")


def on_disk(server: ServerProcess) -> int:
    """Bytes in the server's store."""
    return sum(path.stat().st_size for path in server.uploads.rglob("[!.]*") if path.is_file())
