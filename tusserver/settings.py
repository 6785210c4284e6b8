"""Every setting, once: its name, meaning, form, default and check. Options, documentation and environment follow.

A setting comes from (first wins): an argument or command line option, the environment (``environment_name``), the
default. Values may be given as text, as people write them (``max_size="5GiB"``, ``expire_after="7d"``).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tusserver.forms import (
    BasePath,
    ByteUrl,
    DatabaseName,
    Duration,
    DurationAboveZero,
    DurationOrNever,
    ExistingPath,
    Form,
    MediaTypes,
    MongoUrl,
    Origins,
    PathOrNone,
    Port,
    PositiveNumber,
    Proxies,
    PublicUrl,
    Secret,
    SessionUrl,
    Size,
    SizeOrNone,
)
from tusserver.stores import MONGODB

PREFIX: Final = "TUSSERVER_"
WELL_KNOWN: Final = frozenset({"cors_origins", "mongo_url", "db_name"})
"""Settings that the environment may also give without the prefix."""

INLINE_TYPES: Final = (
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif",
    "video/mp4", "video/webm", "video/ogg", "video/quicktime",
    "audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/mp4", "audio/aac", "audio/flac",
    "text/plain",
)  # fmt: skip

# What Kubernetes puts into each container for a Service that is called "tusserver"
_SERVICE_LINK = re.compile(r"TUSSERVER_(SERVICE_(HOST|PORT).*|PORT_[0-9]+_.*)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://.*")


class WrongSetting(ValueError):
    """A setting that cannot be: one sentence for each, naming the option and what would be right."""


def _setting(default: Any, group: str, description: str) -> Any:
    return Field(default, description=description, json_schema_extra={"group": group})


class _Environment(PydanticBaseSettingsSource):
    """The settings that the environment gives."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The raw text for one setting, or None."""
        name = environment_name(field_name, os.environ)
        return (os.environ[name] if name else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The raw texts by setting."""
        given = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: text for name, text in given.items() if text is not None}


class Settings(BaseSettings):
    """The settings of one server. Raises WrongSetting. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, validate_default=True)

    host: str = _setting("127.0.0.1", "Listening", "Address to listen on; 0.0.0.0 or :: for every interface.")
    port: Port = _setting(1080, "Listening", "Port to listen on; 0 takes a free one.")
    unix_socket: PathOrNone = _setting(None, "Listening", "Listen on this Unix socket instead of on host and port.")
    workers: PositiveNumber = _setting(1, "Listening", "Processes that serve; they share the sessions and the storage.")
    tls_certificate: ExistingPath = _setting(None, "Listening", "Serve HTTPS with this certificate chain (PEM).")
    tls_key: ExistingPath = _setting(None, "Listening", "Private key of the TLS certificate (PEM).")
    base_path: BasePath = _setting("/files", "Listening", "Path below which uploads are created and found.")

    sessions: SessionUrl = _setting("sqlite:data/sessions.db", "Storage", "Where the state of the uploads is kept.")
    storage: ByteUrl = _setting("disk:data/uploads", "Storage", "Where the bytes of the uploads are kept.")
    mongo_url: MongoUrl = _setting(
        None, "Storage", "MongoDB, as PyMongo takes it; sessions are then kept there unless --sessions says otherwise."
    )
    db_name: DatabaseName = _setting(
        None, "Storage", "Database in MongoDB; without it the one that the URL names, or tusserver."
    )
    durability: Literal["safe", "page-cache"] = _setting(
        "safe",
        "Storage",
        "What a confirmed offset outlives: a loss of power (safe), or only a crash of the process (page-cache).",
    )
    direct: bool = _setting(
        True, "Storage", "Move bodies from the connection into the file within the kernel, where that can be."
    )
    downloads: bool = _setting(True, "Storage", "Let GET serve finished uploads.")
    inline_types: MediaTypes = _setting(
        INLINE_TYPES, "Storage", "Media types that a browser may show; all others are offered as a download."
    )

    max_size: SizeOrNone = _setting(None, "Limits", "Largest upload that is accepted.")
    max_metadata: Size = _setting("8KiB", "Limits", "Largest Upload-Metadata header that is accepted.")
    max_header: Size = _setting("64KiB", "Limits", "Largest sum of a request's headers that is accepted.")
    max_uploads: PositiveNumber = _setting(1000, "Limits", "Uploads that one process receives at the same time.")
    idle_timeout: DurationAboveZero = _setting("1m", "Limits", "End a request whose body stops arriving for this long.")

    expire_after: DurationOrNever = _setting(
        "24h", "Lifetime", "Remove unfinished uploads that nobody has continued for this long."
    )
    expire_completed_after: DurationOrNever = _setting(None, "Lifetime", "Remove finished uploads after this long.")
    forget_after: Duration = _setting(
        "7d", "Lifetime", "Remember removed uploads for this long, to answer 410 Gone instead of 404 Not Found."
    )
    sweep_every: DurationAboveZero = _setting("1m", "Lifetime", "How often to look for uploads to remove.")
    lease_ttl: DurationAboveZero = _setting(
        "3s", "Lifetime", "An upload held by a process that died is free again after this long."
    )
    progress_every: DurationAboveZero = _setting(
        "1s", "Lifetime", "How often the offset of a running upload is saved; less than half of the lease TTL."
    )
    patience: DurationAboveZero = _setting(
        "10s", "Lifetime", "How long a request waits for another one that is writing to the upload to end."
    )
    shutdown_timeout: Duration = _setting(
        "1s", "Lifetime", "At shutdown, once uploads are saved, wait this long for connections to end."
    )

    cors_origins: Origins = _setting(
        ("*",), "Browsers", "Origins whose pages may upload; * for all, empty for no CORS headers at all."
    )
    cors_credentials: bool = _setting(False, "Browsers", "Let those pages send cookies; needs named origins.")

    page: bool = _setting(True, "Browsers", "Serve a page at / from which people upload videos.")

    public_url: PublicUrl = _setting(
        None, "Proxies", "Address of the server as clients see it, without the base path, when a proxy is in front."
    )
    trusted_proxies: Proxies = _setting(
        (), "Proxies", "Proxies whose Forwarded and X-Forwarded-* headers count; * for any, unix for a Unix socket."
    )

    admin_token: Secret = _setting(
        None, "Operations", "Serve the admin API at /admin to whoever brings this token (16 characters or more)."
    )
    dashboard: bool = _setting(
        True, "Operations", "Serve the dashboard at /dashboard, to whoever has the admin token; without one, locally."
    )
    metrics: bool = _setting(True, "Operations", "Serve Prometheus metrics at /metrics.")
    log_format: Literal["auto", "console", "json"] = _setting(
        "auto", "Operations", "How logs look; auto is console on a terminal and JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Operations", "The least that is logged."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise WrongSetting("\n".join(_sentences(error))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _kept_in_mongodb(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"sessions": MONGODB, **given} if given.get("mongo_url") else given

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("Give both --tls-certificate and --tls-key, or neither.")
        if self.cors_credentials and self.cors_origins == ("*",):
            raise ValueError("--cors-credentials needs --cors-origins to name the origins that may send cookies.")
        if self.workers > 1 and self.sessions == "memory:":
            raise ValueError("memory: sessions live in one process: use --workers 1, or sqlite: for --sessions.")
        if self.progress_every >= self.lease_ttl / 2:
            raise ValueError("--progress-every must be less than half of --lease-ttl, or leases run out while in use.")
        if self.patience <= self.lease_ttl:
            raise ValueError("--patience must be more than --lease-ttl, or nobody can wait for a dead process's lease.")
        return self


def form(name: str) -> Form:
    """How values of this setting are written."""
    field = Settings.model_fields[name]
    for each in field.metadata:
        if isinstance(each, Form):
            return each
    return Form.of(field.annotation)


def default(name: str) -> str:
    """The default of this setting, as text."""
    value = Settings.model_fields[name].default
    return value if isinstance(value, str) else form(name).write(value)


def group(name: str) -> str:
    """Which settings this one stands with in help and documentation."""
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def option(name: str) -> str:
    """The command line option of a setting."""
    return "--" + name.replace("_", "-")


def environment_name(name: str, environ: Mapping[str, str]) -> str | None:
    """The environment variable that gives this setting: ``TUSSERVER_`` and its name, or for some just the name."""
    variable = PREFIX + name.upper()
    if variable in environ and not (name == "port" and _SERVICE_URL.fullmatch(environ[variable])):
        return variable
    return name.upper() if name in WELL_KNOWN and name.upper() in environ else None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each ``TUSSERVER_`` variable that is no setting: most likely a misspelt one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return [
        f"There is no setting {name}{_nearest(name, known)}" for name in unknown if not _SERVICE_LINK.fullmatch(name)
    ]


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for each in error.errors(include_url=False):
        name = str(each["loc"][0]) if each["loc"] else ""
        if not name:
            sentences.append(str(each["ctx"]["error"]))
        elif name not in Settings.model_fields:
            sentences.append(f"There is no setting {name}{_nearest(name, list(Settings.model_fields))}")
        else:
            said = "" if form(name).secret else f", not {_said(each)}"
            sentences.append(f"{option(name)} ({PREFIX}{name.upper()}) must be {form(name).says}{said}.")
    return sentences


def _said(error: Mapping[str, Any]) -> str:
    value = error["input"]
    return repr(str(value) if isinstance(value, Path) else value)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else "."
