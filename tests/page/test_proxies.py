"""The page behind nginx: one that caps bodies, and one in front of several servers over one MongoDB."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page

from tests.deploy.conftest import in_front
from tests.deploy.proxies import ProxyProcess, nginx
from tests.e2e.server import ServerProcess, sha256
from tests.mongod import shared_replica_set
from tests.page.browsing import SLOW, Network, address, arrived, creations_of, in_the_middle, pick, plays

CAP = 1024 * 1024


def capped(proxy: ProxyProcess) -> list[str]:
    """The shipped nginx with a cap on bodies."""
    command = nginx(proxy)
    site = proxy.directory / "tusserver.conf"
    text = site.read_text(encoding="utf-8")
    uncapped = "client_max_body_size 0;"
    assert text.count(uncapped) == 1
    site.write_text(text.replace(uncapped, f"client_max_body_size {CAP};"), encoding="utf-8")
    return command


def test_a_cap_on_bodies_is_found_and_remembered(
    page: Page, server: ServerProcess, video: Path, tmp_path: Path
) -> None:
    assert video.stat().st_size > CAP
    (tmp_path / "proxy").mkdir()
    proxy = ProxyProcess(tmp_path / "proxy", [server] * 3, capped)
    proxy.start()
    try:
        creations = creations_of(page)
        page.goto(f"{proxy.origin}/")
        pick(page, video)
        found = requests.get(address(arrived(page)), timeout=60).content
        kept = page.evaluate("() => Object.entries(localStorage).find(([key]) => key.startsWith('part-size'))[1]")
    finally:
        proxy.stop()
    assert sha256(found) == sha256(video.read_bytes())
    assert CAP / 4 < int(kept) <= CAP
    assert len(creations) == 1


@pytest.mark.timeout(180)
def test_two_servers_of_three_die(page: Page, video: Path, tmp_path: Path) -> None:
    database = {"mongo_url": shared_replica_set().url, "db_name": f"page-{tmp_path.name[-20:]}"}
    with in_front("nginx", tmp_path, **database) as proxy:
        creations = creations_of(page)
        page.goto(f"{proxy.origin}/")
        network = Network(page)
        network.set(upload=SLOW)
        pick(page, video)
        in_the_middle(proxy.pods[0])
        proxy.pods[0].kill()
        proxy.pods[1].kill()
        network.set()
        player = arrived(page)
        plays(player)
        found = requests.get(address(player), timeout=60).content
    assert sha256(found) == sha256(video.read_bytes())
    assert len(creations) == 1
