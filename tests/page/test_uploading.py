"""Somebody uploads videos in a real browser, and things go wrong."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Dialog, Page, Route, expect

from tests.e2e.server import ServerProcess, sha256, wait_for
from tests.page.browsing import (
    SLOW,
    Network,
    address,
    arrived,
    creations_of,
    drop,
    in_the_middle,
    kept,
    on_disk,
    opened,
    pick,
    plays,
)

POSITION = "player => new Promise(done => { player.onseeked = () => done(player.currentTime); player.currentTime = 5 })"


def assert_arrived(page: Page, server: ServerProcess, video: Path) -> None:
    url = address(arrived(page))
    assert sha256(server.stored(url)) == sha256(video.read_bytes())


def begun(page: Page, server: ServerProcess, video: Path) -> Network:
    """Pick the video over a slow connection, which is returned, and wait until it is on its way."""
    network = Network(page)
    network.set(upload=SLOW)
    pick(page, video)
    in_the_middle(server)
    return network


def test_a_video_arrives_and_plays(page: Page, server: ServerProcess, video: Path) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    ranges: list[str] = []
    page.on("request", lambda request: ranges.append(request.headers.get("range", "")))
    opened(page, server)
    pick(page, video)
    assert_arrived(page, server, video)
    player = arrived(page)
    plays(player)
    assert abs(player.evaluate(POSITION) - 5) < 1
    assert any(re.fullmatch(r"bytes=\d+-", each) for each in ranges), ranges
    assert complaints == []


def test_what_has_arrived_is_there_after_a_reload(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    pick(page, video)
    url = address(arrived(page))
    page.reload()
    assert address(arrived(page)) == url


def test_a_video_is_dropped_on_the_page(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    drop(page, video)
    assert_arrived(page, server, video)


def test_a_video_on_its_way_is_shown_by_its_picture_after_a_reload_too(
    page: Page, server: ServerProcess, video: Path
) -> None:
    opened(page, server)
    begun(page, server, video)
    picture = page.locator("img.uppy-Dashboard-Item-previewImg")
    for _ in range(2):
        expect(picture).to_have_attribute("src", re.compile("^blob:"))
        wait_for(lambda: picture.evaluate("picture => picture.naturalWidth") == 320, what="the picture")
        kept(page)
        page.reload()


def test_several_videos_at_once(page: Page, server: ServerProcess, video: Path, tmp_path: Path) -> None:
    videos = [tmp_path / f"take {number}.webm" for number in (1, 2, 3)]
    for number, path in enumerate(videos):
        path.write_bytes(video.read_bytes()[: -number or None])  # each is another one
    opened(page, server)
    network = Network(page)
    network.set(upload=SLOW)
    pick(page, *videos)
    wait_for(lambda: len(server.held()) == 3, what="all three to be on their way")
    expect(page.locator(".uppy-StatusBar")).to_contain_text("0 of 3 files uploaded")
    network.set()
    expect(page.locator(".video")).to_have_count(3)
    urls = {str(player.get_attribute("aria-label")): address(player) for player in page.locator(".video video").all()}
    found = {name: sha256(server.stored(url)) for name, url in urls.items()}
    assert found == {path.name: sha256(path.read_bytes()) for path in videos}


def test_a_button_pauses_and_resumes(page: Page, server: ServerProcess, video: Path) -> None:
    creations = opened(page, server)
    network = begun(page, server, video)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".uppy-StatusBar")).to_contain_text("Paused")
    resume = page.get_by_role("button", name="Resume", exact=True)
    paused_at = settled(server)
    network.set()
    expect(resume).to_be_visible()
    assert on_disk(server) == paused_at
    resume.click()
    assert_arrived(page, server, video)
    assert len(creations) == 1


def settled(server: ServerProcess) -> int:
    """Bytes in the server's store, once no request writes there any more."""
    upload_id = server.held()[0].partition(".")[0]
    return int(server.offset(f"{server.url}/{upload_id}"))


def test_a_reload_in_the_middle(page: Page, server: ServerProcess, video: Path) -> None:
    creations = opened(page, server)
    network = begun(page, server, video)
    kept(page)
    page.reload()
    network.set()
    assert_arrived(page, server, video)
    assert len(creations) == 1


HELD = """() => new Promise((done) => {
    const opening = indexedDB.open('uppy-blobs')
    opening.onsuccess = () => {
        if (opening.result.objectStoreNames.length < 2) return opening.result.close(), done(false)
        const files = opening.result.transaction('files', 'readwrite').objectStore('files')
        const hold = () => { window.letGo || (files.count().onsuccess = hold) }
        hold()
        done(true)
    }
})"""
"""Hold the store in which the browser keeps videos, as one that takes long to be written does."""
ASKS = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"


def leave(page: Page) -> None:
    """Reload, and do not wait for it."""
    page.evaluate("() => { setTimeout(() => location.reload()) }")


def test_the_browser_asks_before_a_video_is_lost_that_is_not_kept_yet(
    page: Page, server: ServerProcess, video: Path
) -> None:
    creations = opened(page, server)
    page.locator("h1").click()  # browsers ask only those who have touched the page
    wait_for(lambda: page.evaluate(HELD), what="the browser's store")
    network = begun(page, server, video)
    with page.expect_event("dialog") as asked:
        leave(page)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    page.evaluate("() => { window.letGo = true }")
    kept(page)
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.accept()

    page.on("dialog", note)
    wait_for(lambda: not page.evaluate(ASKS), what="the browser to have nothing left to ask")
    with page.expect_event("load"):
        leave(page)
    network.set()
    assert_arrived(page, server, video)
    assert (dialogs, len(creations)) == ([], 1)


def test_a_tab_is_closed_in_the_middle(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    begun(page, server, video)
    kept(page)
    context = page.context
    page.close()
    another = context.new_page()
    creations = creations_of(another)
    another.goto(f"{server.origin}/")
    assert_arrived(another, server, video)
    assert creations == []


def test_the_network_goes_away_and_comes_back(page: Page, server: ServerProcess, video: Path) -> None:
    creations = opened(page, server)
    network = begun(page, server, video)
    network.set(offline=True)
    expect(page.locator("#waiting")).to_contain_text("Waiting for the network")
    network.set()
    expect(page.locator("#waiting")).to_be_hidden()
    assert_arrived(page, server, video)
    assert len(creations) == 1


def test_a_player_that_found_no_network_looks_again(page: Page, server: ServerProcess, video: Path) -> None:
    away = True

    def on_the_way(route: Route) -> None:
        route.abort("internetdisconnected") if away and route.request.method == "GET" else route.continue_()

    page.route("**/files/*", on_the_way)
    opened(page, server)
    with page.expect_event("requestfailed"):
        pick(page, video)
    expect(page.locator(".video .gone")).to_be_visible()
    expect(page.locator(".video video")).to_be_hidden()
    away = False
    page.evaluate("dispatchEvent(new Event('online'))")
    plays(arrived(page))
    expect(page.locator(".video .gone")).to_be_hidden()


def test_the_server_is_killed_and_started_again(page: Page, server: ServerProcess, video: Path) -> None:
    creations = opened(page, server)
    network = begun(page, server, video)
    server.kill()
    expect(page.locator("#waiting")).to_contain_text("Waiting for the server")
    network.set()
    server.start()
    assert_arrived(page, server, video)
    expect(page.locator("#waiting")).to_be_hidden()
    assert len(creations) == 1


def test_cancelling_removes_the_bytes(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    begun(page, server, video)
    expect(page.locator("#speed")).to_have_text(re.compile(r"^[\d.]+ [KM]B/s$"))
    page.locator(".uppy-Dashboard-Item-action--remove").click()
    wait_for(lambda: on_disk(server) == 0, what="the bytes to go")
    expect(page.locator(".video")).to_have_count(0)


def test_what_waits_for_the_server_can_be_cancelled(page: Page, server: ServerProcess, video: Path) -> None:
    opened(page, server)
    begun(page, server, video)
    server.kill()
    expect(page.locator("#waiting")).to_contain_text("Waiting for the server")
    page.locator(".uppy-Dashboard-Item-action--remove").click()
    expect(page.locator("#waiting")).to_be_hidden()
