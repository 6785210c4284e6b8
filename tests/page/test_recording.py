"""Somebody records with the camera, or the screen, instead of picking a video; Chromium brings both."""

from __future__ import annotations

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.e2e.server import ServerProcess
from tests.page.browsing import address, arrived, opened, plays

WEBM = bytes.fromhex("1a45dfa3")
MP4 = b"ftyp"


@pytest.mark.parametrize(
    ("source", "what", "clock"),
    [
        ("Webcam", "video recording", ".uppy-Webcam-recordingLength"),
        ("ScreenCapture", "screen capturing", ".uppy-ScreenCapture-container"),
    ],
    ids=["camera", "screen"],
)
def test_what_is_recorded_arrives_and_plays(
    page: Page, server: ServerProcess, source: str, what: str, clock: str
) -> None:
    opened(page, server)
    page.locator(f"[data-uppy-acquirer-id={source}] button").click()
    page.get_by_role("button", name=f"Begin {what}").click()
    expect(page.locator(clock)).to_contain_text(re.compile("0:0[1-9]"))
    page.get_by_role("button", name=f"Stop {what}").click()
    page.get_by_role("button", name="Submit recorded file").click()
    player = arrived(page)
    plays(player)
    found = requests.get(address(player), timeout=20).content
    assert found.startswith(WEBM) or found[4:8] == MP4
    assert player.evaluate("player => player.videoWidth") > 0
