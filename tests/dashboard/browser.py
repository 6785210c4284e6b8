"""Debian's chromium, driven by its chromedriver as the WebDriver protocol says."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.server import free_port, wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window. ``driver``: the URL of the chromedriver."""

    def __init__(self, driver: str, *options: str) -> None:
        binary = shutil.which("chromium") or ""
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *options]
        chrome: dict[str, Any] = {"binary": binary, "args": arguments}
        always: dict[str, Any] = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
        wanted: Any = {"capabilities": {"alwaysMatch": always}}
        said = requests.post(f"{driver}/session", json=wanted, timeout=60).json()
        self._url = f"{driver}/session/{said['value']['sessionId']}"

    def _ask(self, path: str, **fields: Any) -> Any:
        answer = requests.post(f"{self._url}/{path}", json=fields, timeout=60).json()["value"]
        assert not isinstance(answer, dict) or "error" not in answer, answer
        return answer

    def open(self, url: str) -> None:
        self._ask("url", url=url)

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self._ask("execute/sync", script=script, args=[])

    def text(self, selector: str) -> str:
        """The text of an element; empty where there is none."""
        return str(self.run(f"return document.querySelector({selector!r})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """As a person clicks: it has to be visible and not covered."""
        self._ask(f"element/{self._found(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._ask(f"element/{self._found(selector)}/value", text=text)

    def resize(self, width: int, height: int) -> None:
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def dark(self) -> None:
        self._command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def screenshot(self) -> str:
        """A PNG in base64."""
        answer = requests.get(f"{self._url}/screenshot", timeout=60).json()
        return str(answer["value"])

    def complaints(self) -> list[str]:
        """What the console says since it was last asked: errors, and what the policy of the page forbids."""
        entries = self._ask("se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        requests.delete(self._url, timeout=60)

    def _command(self, name: str, **params: Any) -> None:
        self._ask("goog/cdp/execute", cmd=name, params=params)

    def _found(self, selector: str) -> str:
        return str(self._ask("element", using="css selector", value=selector)[ELEMENT])


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with nothing in it."""
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("no chromium: apt-get install chromium chromium-driver")
    port = free_port()
    with (directory / "chromedriver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _ready(url), what="chromedriver")
        window = Browser(url, f"--user-data-dir={directory / 'profile'}")
        try:
            yield window
        finally:
            window.close()
    finally:
        process.terminate()
        process.wait(20)


def _ready(url: str) -> bool:
    try:
        return bool(requests.get(f"{url}/status", timeout=5).json()["value"]["ready"])
    except requests.RequestException:
        return False
