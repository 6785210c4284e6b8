"""A video that is larger than what the browser keeps for the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page
from requests import head

from tests.e2e.server import ServerProcess
from tests.page.browsing import in_the_middle, opened, pick, remembered

KEPT = 2 * 1024**3


@pytest.mark.timeout(240)
def test_a_video_that_cannot_be_kept_is_picked_again_and_goes_on(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    page.set_default_timeout(120_000)
    video = tmp_path / "large.mp4"
    video.touch()
    os.truncate(video, KEPT + 1)
    creations = opened(page, server)
    pick(page, video)
    in_the_middle(server, 100_000_000)
    remembered(page)
    page.reload()
    page.get_by_text("Re-select", exact=True).click()
    page.set_input_files(".uppy-Dashboard-AddFilesPanel input.uppy-Dashboard-input >> nth=0", [video])
    url = str(page.get_by_role("link", name="Open large.mp4").get_attribute("href"))  # zeros do not play
    assert len(creations) == 1
    said = head(url, headers={"Tus-Resumable": "1.0.0"}, timeout=60).headers
    assert said["Upload-Offset"] == said["Upload-Length"] == str(KEPT + 1)
