"""Somebody records with the camera, or the screen, instead of picking a video; Chromium brings both."""

from __future__ import annotations

import re

import requests
from playwright.sync_api import Page, expect

from tests.e2e.server import ServerProcess
from tests.page.browsing import address, arrived, opened, plays

WEBM = bytes.fromhex("1a45dfa3")
MP4 = b"ftyp"


def test_what_the_camera_sees_arrives_and_plays(page: Page, server: ServerProcess) -> None:
    opened(page, server)
    page.locator("[data-uppy-acquirer-id=Webcam] button").click()
    page.get_by_role("button", name="Begin video recording").click()
    expect(page.locator(".uppy-Webcam-recordingLength")).to_have_text(re.compile("0:0[1-9]"))
    page.get_by_role("button", name="Stop video recording").click()
    page.get_by_role("button", name="Submit recorded file").click()
    assert_a_video_has_arrived(page)


def test_what_is_on_the_screen_arrives_and_plays(page: Page, server: ServerProcess) -> None:
    opened(page, server)
    page.locator("[data-uppy-acquirer-id=ScreenCapture] button").click()
    page.get_by_role("button", name="Begin screen capturing").click()
    expect(page.locator(".uppy-ScreenCapture-container")).to_contain_text(re.compile("0:0[1-9]"))
    page.get_by_role("button", name="Stop screen capturing").click()
    page.get_by_role("button", name="Submit recorded file").click()
    assert_a_video_has_arrived(page)


def assert_a_video_has_arrived(page: Page) -> None:
    player = arrived(page)
    plays(player)
    found = requests.get(address(player), timeout=20).content
    assert found.startswith(WEBM) or found[4:8] == MP4
    assert player.evaluate("player => player.videoWidth") > 0
