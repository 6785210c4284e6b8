"""Settings: where they come from, what they may be, what is said when they cannot be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from scripts.generated_docs import tables, updated
from tusserver.settings import Settings, WrongSetting, default, environment_name, form, option, unknown_variables


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TUSSERVER_{name.upper()}", raising=False)
    monkeypatch.delenv("CORS_ORIGINS", raising=False)


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.base_path) == ("127.0.0.1", 1080, "/files")
    assert (settings.max_size, settings.max_metadata, settings.max_header) == (None, 8192, 65536)
    assert (settings.expire_after, settings.expire_completed_after, settings.forget_after) == (86400, None, 604800)
    assert (settings.cors_origins, settings.trusted_proxies, settings.public_url) == (("*",), (), None)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSSERVER_MAX_SIZE", "5GiB")
    monkeypatch.setenv("TUSSERVER_TRUSTED_PROXIES", "10.0.0.0/8, unix")
    monkeypatch.setenv("TUSSERVER_METRICS", "false")
    assert Settings().max_size == 5 * 1024**3
    assert Settings().trusted_proxies == ("10.0.0.0/8", "unix")
    assert Settings().metrics is False
    assert Settings(max_size="none", metrics=True).max_size is None
    assert Settings(max_size=7).max_size == 7


def test_cors_origins_has_a_second_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example")
    assert Settings().cors_origins == ("https://a.example",)
    monkeypatch.setenv("TUSSERVER_CORS_ORIGINS", "https://b.example,https://c.example:8443")
    assert Settings().cors_origins == ("https://b.example", "https://c.example:8443")
    monkeypatch.setenv("TUSSERVER_CORS_ORIGINS", "")
    assert Settings().cors_origins == ()


def test_what_kubernetes_adds_for_a_service_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    added = {
        "TUSSERVER_PORT": "tcp://10.0.0.1:1080",
        "TUSSERVER_SERVICE_HOST": "10.0.0.1",
        "TUSSERVER_SERVICE_PORT_HTTP": "1080",
        "TUSSERVER_PORT_1080_TCP_ADDR": "10.0.0.1",
    }
    for name, value in added.items():
        monkeypatch.setenv(name, value)
    assert Settings().port == 1080
    assert unknown_variables(added) == []
    assert environment_name("port", added) is None


def test_a_misspelt_variable_is_found() -> None:
    assert unknown_variables({"TUSSERVER_MAXSIZE": "1", "HOME": "/", "TUSSERVER_PORT": "1"}) == [
        "There is no setting TUSSERVER_MAXSIZE; did you mean TUSSERVER_MAX_SIZE?"
    ]


def test_a_misspelt_argument_is_found() -> None:
    with pytest.raises(WrongSetting, match=r"^There is no setting max_sice; did you mean max_size\?$"):
        Settings(max_sice=1)


WRONG: list[tuple[str, Any]] = [
    ("port", "x"), ("port", "65536"), ("port", -1), ("port", ""),
    ("workers", 0), ("max_uploads", "0"),
    ("tls_key", "/does/not/exist"), ("tls_certificate", "/does/not/exist"),
    ("public_url", "media.example.org"), ("public_url", "ftp://x"), ("public_url", "https://u:p@x"),
    ("public_url", "https://x/?q"), ("public_url", "https://x:y"), ("public_url", "https://x/ y"),
    ("base_path", "files"), ("base_path", "/a//b"), ("base_path", "/../x"), ("base_path", "/{x}"),
    ("base_path", "/metrics"), ("base_path", "/a?b"),
    ("trusted_proxies", "proxy.local"),
    ("sessions", "postgres:x"), ("sessions", "sqlite:"), ("storage", "memory:"), ("storage", "disk:"),
    ("durability", "maybe"),
    ("max_size", "5 apples"), ("max_size", "-1"), ("max_metadata", "none"), ("max_header", ""),
    ("cors_origins", "a.example"), ("cors_origins", "https://a.example/"), ("cors_origins", "*,https://a.example"),
    ("cors_credentials", "perhaps"),
    ("expire_after", "0s"), ("expire_after", "soon"), ("expire_after", ""), ("forget_after", "never"),
    ("sweep_every", 0), ("idle_timeout", "0"), ("lease_ttl", "-1s"), ("shutdown_timeout", "x"),
    ("inline_types", "png"), ("inline_types", "image/png;q=1"),
    ("metrics", "x"), ("log_format", "xml"), ("log_level", "loud"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_said_in_one_sentence(name: str, value: Any) -> None:
    with pytest.raises(WrongSetting) as caught:
        Settings(**{name: value})
    sentence = str(caught.value)
    assert sentence == f"{option(name)} (TUSSERVER_{name.upper()}) must be {form(name).says}, not {value!r}."


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tls_key": __file__}, "Give both --tls-certificate and --tls-key, or neither."),
        ({"cors_credentials": True}, "--cors-credentials needs --cors-origins"),
        ({"workers": 2, "sessions": "memory:"}, "use --workers 1"),
        ({"progress_every": "1500ms"}, "--progress-every must be less than half of --lease-ttl"),
        ({"patience": "3s"}, "--patience must be more than --lease-ttl"),
    ],
)
def test_settings_that_do_not_fit_together(values: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongSetting) as caught:
        Settings(**values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_a_list_only_what_is_wrong_is_told() -> None:
    with pytest.raises(WrongSetting, match=r"not 'nonsense'\.$"):
        Settings(trusted_proxies="10.0.0.0/8, nonsense")


def test_every_wrong_value_is_told_at_once() -> None:
    with pytest.raises(WrongSetting) as caught:
        Settings(port="x", workers=0)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("base_path", "/", ""),
        ("base_path", "", ""),
        ("base_path", "/api/v1/files/", "/api/v1/files"),
        ("public_url", "https://x.org/media/", "https://x.org/media"),
        ("public_url", "", None),
        ("unix_socket", "", None),
        ("tls_key", "", None),
        ("expire_after", "never", None),
        ("cors_origins", "*", ("*",)),
        ("trusted_proxies", ["127.0.0.1", "::1"], ("127.0.0.1", "::1")),
        ("storage", "disk:///srv/uploads", "disk:///srv/uploads"),
    ],
)
def test_what_is_meant(name: str, given: Any, value: Any) -> None:
    assert getattr(Settings(**{name: given}), name) == value


def test_what_is_written_reads_back() -> None:
    settings = Settings(public_url="https://x.org", trusted_proxies="*", max_size="3MB", unix_socket="run/it.sock")
    written = {name: form(name).write(getattr(settings, name)) for name in Settings.model_fields}
    assert Settings(**written) == settings


def test_defaults_as_text_are_the_defaults() -> None:
    assert Settings(**{name: default(name) for name in Settings.model_fields}) == Settings()


def test_worker_processes_get_the_same() -> None:
    settings = Settings(max_size="3MB", cors_origins="https://a.example")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_checking_urls_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Settings()
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_described_for_people() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_table_in_the_docs_is_checked() -> None:
    new = updated("before <!-- settings --> old <!-- /settings --> after", "settings", tables())
    assert new.startswith("before ")
    assert new.endswith(" after")
    assert "| `--max-size` `TUSSERVER_MAX_SIZE` | `none` |" in new
    assert updated(new, "settings", tables()) == new
    with pytest.raises(ValueError):
        updated("no markers", "settings", tables())
