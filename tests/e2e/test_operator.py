"""The command ``tusserver sessions`` and ``tusserver sweep`` beside a running server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.command import done, run
from tests.e2e.server import TUS, ServerProcess, metadata, wait_for

KIB = 1024


class Operator:
    """Somebody with a shell on the server's machine."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def __call__(self, *arguments: str) -> str:
        return done(*arguments, cwd=self.server.directory, **self._where())

    def fails(self, *arguments: str) -> str:
        result = run(*arguments, cwd=self.server.directory, **self._where())
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        return result.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def _where(self) -> dict[str, str]:
        return {name: self.server.environment[name] for name in ("TUSSERVER_SESSIONS", "TUSSERVER_STORAGE")}


@pytest.fixture
def operator(server: ServerProcess) -> Operator:
    return Operator(server)


def id_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.fixture
def half(server: ServerProcess) -> str:
    """The URL of an upload that is half there."""
    url = server.create(4 * KIB, **{"Upload-Metadata": metadata(filename="über.png", filetype="image/png")})
    assert server.patch(url, 0, bytes(2 * KIB)).status_code == 204
    return url


def test_list(server: ServerProcess, operator: Operator, half: str) -> None:
    full = server.create(0)
    heading, first, second = operator("sessions", "list").splitlines()
    assert heading.split()[:2] == ["ID", "STATUS"]
    assert first.split()[:8] == [id_of(half), "active", "2.0", "KiB", "/", "4.0", "KiB", "(50%)"]
    assert first.endswith("über.png")
    assert second.split()[:2] == [id_of(full), "completed"]
    objects = [json.loads(line) for line in operator("sessions", "list", "--json").splitlines()]
    assert [each["id"] for each in objects] == [id_of(half), id_of(full)]
    assert [each["offset"] for each in objects] == [2 * KIB, 0]
    (completed,) = operator("sessions", "list", "--status", "completed", "--json").splitlines()
    assert json.loads(completed)["id"] == id_of(full)


def test_list_stale(operator: Operator, half: str) -> None:
    assert operator("sessions", "list", "--stale", "1h", "--json") == ""
    wait_for(lambda: operator("sessions", "list", "--stale", "10ms", "--json"))
    result = run("sessions", "list", "--stale", "soon", cwd=operator.server.directory, **operator._where())
    assert result.returncode == 2
    assert "--stale must be a duration" in result.stderr


def test_list_active(server: ServerProcess, operator: Operator, half: str) -> None:
    assert operator("sessions", "list", "--active", "--json") == ""
    with server.opened_patch(half, 2 * KIB, 2 * KIB) as raw:
        raw.sendall(bytes(KIB))

        def moving() -> Any:
            lines = operator("sessions", "list", "--active", "--json").splitlines()
            return [each for each in map(json.loads, lines) if each["bytes_per_second"]]

        (active,) = wait_for(moving, what="an upload that moves")
        assert (active["id"], active["offset"]) == (id_of(half), 3 * KIB)
        assert 0 < active["bytes_per_second"] <= KIB
        assert active["holder"]
        (line,) = operator("sessions", "list", "--active").splitlines()[1:]
        assert "B/s" in line
    wait_for(lambda: operator("sessions", "list", "--active", "--json") == "")


def test_show(server: ServerProcess, operator: Operator, half: str) -> None:
    shown = operator.json("sessions", "show", id_of(half))
    assert shown["name"] == "über.png"
    assert (shown["status"], shown["offset"], shown["length"]) == ("active", 2 * KIB, 4 * KIB)
    assert shown["location"] is None
    assert server.patch(half, 2 * KIB, bytes(2 * KIB)).status_code == 204
    location = operator.json("sessions", "show", id_of(half))["location"]
    assert Path(server.directory, location).stat().st_size == 4 * KIB
    sheet = operator("sessions", "show", id_of(half)).splitlines()
    assert ["location", location] in [line.split(maxsplit=1) for line in sheet]
    assert [moment["what"] for moment in shown["timeline"]] == ["created", "taken", "received"]
    assert [line.split()[1] for line in sheet[-4:]] == ["created", "taken", "received", "completed"]
    assert sheet[-2].split()[2:5] == ["at", "4.0", "KiB"]
    assert shown["timeline"][1]["by"] in sheet[-2]


def test_cancel(server: ServerProcess, operator: Operator, half: str) -> None:
    assert operator("sessions", "cancel", id_of(half)) == f"Cancelled {id_of(half)} at 2.0 KiB / 4.0 KiB (50%).\n"
    assert server.head(half).status_code == 404
    assert not any(path.is_file() and id_of(half) in str(path) for path in server.uploads.rglob("*"))
    assert operator.json("sessions", "show", id_of(half))["status"] == "cancelled"
    assert operator.fails("sessions", "cancel", id_of(half)) == f"Error: There is no upload {id_of(half)}.\n"


def test_an_unknown_upload(operator: Operator) -> None:
    for command in ("show", "cancel", "unlock"):
        assert operator.fails("sessions", command, "unknown") == "Error: There is no upload unknown.\n"
    for upload_id in ("-unknown", "--unknown", "-help"):  # ids may begin with "-"
        assert operator.fails("sessions", "show", upload_id) == f"Error: There is no upload {upload_id}.\n"


def test_unlock(start: Callable[..., ServerProcess]) -> None:
    server = start(lease_ttl="60s", patience="90s")
    operator = Operator(server)
    url = server.create(4 * KIB)
    assert operator("sessions", "unlock", id_of(url)) == f"Nobody holds {id_of(url)}.\n"
    with server.opened_patch(url, 0, 4 * KIB) as raw:
        raw.sendall(bytes(KIB))
        holder = wait_for(lambda: operator.json("sessions", "show", id_of(url))["holder"])
        wait_for(lambda: operator.json("sessions", "show", id_of(url))["offset"] == KIB)
        server.kill()
    assert operator("sessions", "unlock", id_of(url)) == (
        f"Unlocked {id_of(url)} at 1.0 KiB / 4.0 KiB (25%); {holder} held it.\n"
    )
    server.start()
    began = time.monotonic()
    assert server.patch(url, KIB, bytes(3 * KIB)).status_code == 204
    assert time.monotonic() - began < 10  # nobody waits for the lease of the dead


def test_stats(server: ServerProcess, operator: Operator, half: str) -> None:
    server.create(0)
    assert operator.json("sessions", "stats") == {
        "active": {"count": 1, "held": 2 * KIB, "remaining": 2 * KIB},
        "completed": {"count": 1, "held": 0, "remaining": 0},
        "cancelled": {"count": 0, "held": 0, "remaining": 0},
        "expired": {"count": 0, "held": 0, "remaining": 0},
        "success": 1.0,
    }
    operator("sessions", "cancel", id_of(half))
    assert operator("sessions", "stats").splitlines()[-1] == "50.0% of the uploads that ended were completed."
    assert operator("sessions", "stats", "--since", "1ms").splitlines()[-1] == "No upload has ended yet."
    assert operator.json("sessions", "stats", "--since", "1h")["success"] == 0.5


def test_stats_of_uploads_under_way(server: ServerProcess, operator: Operator, half: str) -> None:
    assert operator("sessions", "stats").splitlines()[1].split() == ["active", "1", "2.0", "KiB", "2.0", "KiB"]


def test_sweep(start: Callable[..., ServerProcess]) -> None:
    server = start(expire_after="100ms", sweep_every="1h")
    operator = Operator(server)
    assert requests.post(server.url, headers={**TUS, "Upload-Length": "5"}, timeout=20).status_code == 201
    nothing = "0 expired (they held 0 B), 0 left-overs erased, 0 finished, 0 forgotten.\n"
    swept = wait_for(lambda: line if (line := operator("sweep", "--once")) != nothing else "")
    assert swept == "1 expired (they held 0 B), 0 left-overs erased, 0 finished, 0 forgotten.\n"
    assert operator.json("sessions", "stats")["expired"]["count"] == 1


def test_fsck(server: ServerProcess, operator: Operator, half: str) -> None:
    full = server.create(5)
    assert server.patch(full, 0, b"hello").status_code == 204
    assert operator("fsck") == "4 looked at, 0 wrong, 0 repaired.\n"
    stray = "0" * 32
    (server.uploads / stray).write_bytes(b"whose?")
    (server.uploads / "parts" / f"{stray}.3").write_bytes(b"whose?")
    (server.uploads / "parts" / f"{id_of(half)}.1").write_bytes(b"short")
    result = run("fsck", cwd=server.directory, **operator._where())
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [[id_of(half), "missing"], [stray, "stray"]]
    assert lines[-1] == "5 looked at, 2 wrong, 0 repaired."
    assert (server.uploads / stray).exists()
    assert server.head(half).status_code == 200

    assert operator("fsck", "--repair").splitlines()[-1] == "4 looked at, 2 wrong, 2 repaired."
    assert server.held() == [id_of(full)]
    assert server.head(half).status_code == 404  # its client begins anew
    assert [moment["what"] for moment in operator.json("sessions", "show", id_of(half))["timeline"]][-2:] == [
        "bytes_missing",
        "cancelled",
    ]
    assert operator("fsck").splitlines()[-1].endswith("0 wrong, 0 repaired.")
    assert server.stored(full) == b"hello"


def test_fsck_deletes_nothing_for_a_wrong_option(server: ServerProcess, operator: Operator, half: str) -> None:
    where = {**operator._where(), "TUSSERVER_SESSIONS": f"sqlite://{server.directory}/other.db"}
    Path(server.directory, "other.db").touch()
    result = run("fsck", "--repair", cwd=server.directory, **where)
    assert result.returncode == 1
    assert "nothing was repaired" in result.stderr
    assert server.offset(half) == 2 * KIB
    server.stop()
    elsewhere = server.directory / "elsewhere"
    elsewhere.mkdir()
    result = run("fsck", "--repair", "--storage", f"disk://{elsewhere}", cwd=server.directory, **operator._where())
    assert result.returncode == 1
    assert "another storage" in result.stderr
    result = run("fsck", "--storage", f"disk://{elsewhere}", cwd=server.directory, **operator._where())
    assert f"{id_of(half)}  elsewhere" in result.stdout
