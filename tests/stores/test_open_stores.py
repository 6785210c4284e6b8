from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores.sessions import an_upload, started
from tusserver.stores import open_byte_store, open_session_store

pytestmark = pytest.mark.anyio


async def test_memory() -> None:
    async with started(store := open_session_store("memory:", durable=True)):
        assert (await store.create(an_upload())).version == 1


@pytest.mark.parametrize("form", ["sqlite:{}", "sqlite://{}"])
async def test_sqlite_at_an_absolute_path(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a" / "sessions.db"
    async with started(open_session_store(form.format(path), durable=True)):
        assert path.is_file()


async def test_sqlite_at_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with started(open_session_store("sqlite:a/sessions.db", durable=False)):
        assert (tmp_path / "a" / "sessions.db").is_file()


async def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (("disk:b/bytes", tmp_path / "b" / "bytes"), (f"disk://{tmp_path}/c", tmp_path / "c")):
        store = open_byte_store(url, durable=True)
        await store.start()
        assert path.is_dir()
        await store.close()


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:x", "sqlite:", "sqlite://", "sqlite://host/x.db", "SQLITE:x", "redis://h", "x.db"]
)
def test_other_session_urls_are_refused_with_those_that_work(url: str) -> None:
    with pytest.raises(ValueError, match="use memory:, sqlite:relative"):
        open_session_store(url, durable=True)


@pytest.mark.parametrize("url", ["", "disk", "disk:", "disk://host/x", "s4://bucket", "memory:"])
def test_other_byte_urls_are_refused_with_those_that_work(url: str) -> None:
    with pytest.raises(ValueError, match="use disk:relative"):
        open_byte_store(url, durable=True)
