"""The examples, run as their docstrings say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tusclient.client import TusClient

from tests.e2e.server import TUS, free_port, metadata, sha256, some_bytes, wait_for

ROOT = Path(__file__).parent.parent
DATA = some_bytes(3_000_000)
VIDEO = metadata(filename="holiday.mp4", filetype="video/mp4")


class Videos:
    """``examples.fastapi_login``, as its users see it."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.uploads = origin + "/api/uploads"

    def login(self, user: str, password: str) -> dict[str, str]:
        """The headers of a user who has logged in."""
        form = {"username": user, "password": password}
        answer = requests.post(self.origin + "/login", data=form, timeout=20)
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def create(self, user: dict[str, str], kind: str = VIDEO) -> requests.Response:
        headers = {**TUS, "Upload-Length": str(len(DATA)), "Upload-Metadata": kind, **user}
        return requests.post(self.uploads + "/", headers=headers, timeout=20)

    def listed(self, user: dict[str, str]) -> requests.Response:
        return requests.get(self.origin + "/api/videos", headers=user, timeout=20)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def videos(directory: Path) -> Iterator[Videos]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "examples.fastapi_login:app", "--app-dir", str(ROOT)]
    log = directory / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--port", str(port)], cwd=directory, stdout=file, stderr=file)
    origin = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(origin + "/openapi.json", timeout=2).ok
        except requests.RequestException:
            return False

    try:
        wait_for(answers, what="the example to answer")
        yield Videos(origin)
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text()


def stored(directory: Path) -> set[str]:
    return {path.name for path in (directory / "data/videos/uploads").rglob("[!.]*") if path.is_file()}


def test_who_has_not_logged_in_stores_nothing(videos: Videos, directory: Path) -> None:
    before = stored(directory)
    assert videos.create({}).status_code == 401
    assert videos.create({"Authorization": "Bearer guessed"}).status_code == 401
    assert videos.listed({}).status_code == 401
    assert videos.listed({"Authorization": "Bearer guessed"}).status_code == 401
    assert stored(directory) == before


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("user", ["ada", "nobody"])
def test_wrong_passwords(videos: Videos, user: str, password: str) -> None:
    answer = requests.post(videos.origin + "/login", data={"username": user, "password": password}, timeout=20)
    assert answer.status_code in (401, 422)
    assert "access_token" not in answer.text


def test_only_videos(videos: Videos, directory: Path) -> None:
    before = stored(directory)
    answer = videos.create(videos.login("ada", "engine"), metadata(filename="a.exe", filetype="application/x-dosexec"))
    assert answer.status_code == 415
    assert stored(directory) == before


def test_upload_with_tuspy_and_list(videos: Videos, tmp_path: Path) -> None:
    ada, grace = videos.login("ada", "engine"), videos.login("grace", "compiler")
    source = tmp_path / "holiday.mp4"
    source.write_bytes(DATA)
    client = TusClient(videos.uploads + "/", headers=ada)
    named = {"filename": "holiday.mp4", "filetype": "video/mp4"}
    with source.open("rb") as stream:
        uploader = client.uploader(file_stream=stream, chunk_size=1_000_000, metadata=named)
        uploader.upload()
    assert uploader.url is not None and uploader.url.startswith(videos.uploads + "/")
    listed = videos.listed(ada).json()
    assert [(video["name"], video["size"], video["owner"]) for video in listed] == [("holiday.mp4", len(DATA), "ada")]
    assert uploader.url == f"{videos.uploads}/{listed[0]['id']}"
    assert videos.listed(grace).json() == []
    downloaded = requests.get(uploader.url, headers=ada, timeout=20)
    assert sha256(downloaded.content) == sha256(DATA)
    assert requests.delete(uploader.url, headers={**TUS, **ada}, timeout=20).status_code == 204
    assert videos.listed(ada).json() == []


def test_only_the_owner_touches_an_upload(videos: Videos) -> None:
    ada, grace = videos.login("ada", "engine"), videos.login("grace", "compiler")
    url = videos.create(ada).headers["Location"]
    patching = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    for user, status in ((grace, 404), ({}, 401)):
        headers = {**TUS, **user}
        assert requests.head(url, headers=headers, timeout=20).status_code == status
        assert requests.patch(url, data=b"theirs", headers={**headers, **patching}, timeout=20).status_code == status
        assert requests.delete(url, headers=headers, timeout=20).status_code == status
        assert requests.get(url, headers=headers, timeout=20).status_code == status
    mine = requests.head(url, headers={**TUS, **ada}, timeout=20)
    assert (mine.status_code, mine.headers["Upload-Offset"]) == (200, "0")


def test_browsers_of_other_sites_may_send_the_login(videos: Videos) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,tus-resumable,upload-offset",
    }
    answer = requests.options(videos.uploads + "/", headers=asked, timeout=20)
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    refused = requests.post(videos.uploads + "/", headers={**TUS, "Origin": "https://app.example"}, timeout=20)
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
