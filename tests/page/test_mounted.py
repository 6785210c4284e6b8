"""The page of an application that is mounted in another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.e2e.server import sha256
from tests.page.browsing import address, arrived, creations_of, pick, plays
from tests.serving import serving
from tusserver import Settings, create_app


def hosted(directory: Path, **settings: object) -> Starlette:
    """An application with uploads below /video."""
    kept = {"sessions": "memory:", "storage": f"disk://{directory}/uploads"}
    uploads = create_app(Settings(**kept, **settings))
    return Starlette(routes=[Mount("/video", uploads)], lifespan=lambda app: uploads.running())


def test_the_page_below_a_path_uploads_below_it(page: Page, video: Path, tmp_path: Path) -> None:
    with serving(hosted(tmp_path)) as origin:
        creations = creations_of(page)
        page.goto(f"{origin}/video")  # the host's redirect adds the slash
        pick(page, video)
        player = arrived(page)
        plays(player)
        assert address(player).startswith(f"{origin}/video/files/")
        assert [each.url for each in creations] == [f"{origin}/video/files"]
        assert sha256(requests.get(address(player), timeout=20).content) == sha256(video.read_bytes())
        page.goto("about:blank")


@pytest.mark.parametrize("settings", [{"page": False}, {"base_path": ""}], ids=["off", "no room"])
def test_an_application_without_the_page(tmp_path: Path, settings: dict[str, object]) -> None:
    with serving(hosted(tmp_path, **settings)) as origin:
        answer = requests.get(f"{origin}/video/", timeout=20)
    assert answer.status_code in (404, 405)
