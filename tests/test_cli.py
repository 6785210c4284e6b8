"""The command ``tusserver`` where no server runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import done, run
from tusserver import __version__
from tusserver.settings import Settings, option


def test_version(tmp_path: Path) -> None:
    assert done("--version", cwd=tmp_path) == f"tusserver {__version__}\n"


def test_serve_has_an_option_for_every_setting(tmp_path: Path) -> None:
    page = done("serve", "--help", cwd=tmp_path)
    for name in Settings.model_fields:
        assert f"  {option(name)} " in page, name
    headings = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Listening:", "Storage:", "Limits:", "Lifetime:", "Browsers:", "Proxies:", "Operations:", "Other:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["serve", "--port", "x"], {}, "--port (TUSSERVER_PORT) must be a port number from 0 to 65535, not 'x'."),
        (["serve"], {"TUSSERVER_WORKERS": "0"}, "--workers (TUSSERVER_WORKERS) must be a whole number"),
        (["serve"], {"TUSSERVER_MAXSIZE": "1"}, "no setting TUSSERVER_MAXSIZE; did you mean TUSSERVER_MAX_SIZE?"),
        (["serve", "--workers", "2", "--sessions", "memory:"], {}, "use --workers 1"),
        (["serve", "--prot", "1"], {}, "No such option '--prot'"),
        (["sessions", "list", "--sessions", "x:"], {}, "--sessions (TUSSERVER_SESSIONS) must be"),
    ],
)
def test_a_wrong_value_is_told_and_ends_with_2(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], says: str
) -> None:
    result = run(*arguments, cwd=tmp_path, **variables)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_config_says_where_each_setting_comes_from(tmp_path: Path) -> None:
    settings = json.loads(
        done("config", "--max-size", "5GiB", "--no-metrics", "--json", cwd=tmp_path, CORS_ORIGINS="https://a.example")
    )
    assert settings["max_size"] == {"value": "5GiB", "from": "option"}
    assert settings["metrics"] == {"value": "false", "from": "option"}
    assert settings["cors_origins"] == {"value": "https://a.example", "from": "environment variable CORS_ORIGINS"}
    assert settings["port"] == {"value": "1080", "from": "default"}
    assert list(settings) == list(Settings.model_fields)
    lines = done("config", cwd=tmp_path, TUSSERVER_PORT="99").splitlines()
    assert lines[1].split() == ["port", "99", "[environment", "variable", "TUSSERVER_PORT]"]


@pytest.mark.parametrize("command", [["list"], ["stats"], ["show", "x"], ["cancel", "x"], ["unlock", "x"]])
def test_nothing_is_made_where_nothing_is(tmp_path: Path, command: list[str]) -> None:
    result = run("sessions", *command, cwd=tmp_path)
    assert result.returncode == 1
    assert (
        "There is nothing at sqlite:data/sessions.db; say with --sessions where the server keeps it." in result.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_memory_sessions_cannot_be_seen(tmp_path: Path) -> None:
    result = run("sweep", "--once", "--sessions", "memory:", cwd=tmp_path)
    assert result.returncode == 1
    assert "cannot be seen from here" in result.stderr
