"""How the values of settings are written: each form says what is right, reads it and writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from tusserver.stores import BYTE_URLS, GRIDFS, MONGODB, SESSION_URLS, open_byte_store, open_session_store
from tusserver.units import parse_duration, parse_size, show_duration, show_size


@dataclass(frozen=True, slots=True)
class Form:
    """``says`` completes "must be ..."; ``metavar`` stands for a value in the help; ``write`` gives text that reads
    back as the value, but for the password in one that is ``secret``: that one is not shown at all."""

    says: str
    metavar: str = "TEXT"
    write: Callable[[Any], str] = str
    secret: bool = False

    @classmethod
    def of(cls, annotation: Any) -> Form:
        """The form of a plain type."""
        if annotation is bool:
            return cls("true or false", "true|false", lambda value: str(value).lower())
        if get_origin(annotation) is Literal:
            choices = get_args(annotation)
            return cls(" or ".join(choices), "|".join(choices))
        return cls("text")


def _or(word: str, write: Callable[[Any], str] = str) -> Callable[[Any], str]:
    return lambda value: word if value is None else write(value)


def _none_or(word: str, parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None or value == word else parse(value)


def _above_zero(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        parsed = parse(value)
        if not parsed > 0:
            raise ValueError("not above zero")
        return parsed

    return check


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _written(value: tuple[str, ...]) -> str:
    return ", ".join(value)


def _network(text: str) -> str:
    if text not in ("*", "unix"):
        ip_network(text, strict=False)
    return text


def _media_type(text: str) -> str:
    if not re.fullmatch(r"[a-z]+/[a-z0-9][a-z0-9.+-]*", text):
        raise ValueError("not a media type")
    return text


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s,*]+|null|\*", origin):
            raise ValueError("not an origin")
    if "*" in origins and len(origins) > 1:
        raise ValueError("* and names")
    return origins


def _public_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.query or url.fragment:
        raise ValueError("not a URL of a server")
    if not re.fullmatch(r"[!-~]+", text) or (url.port is not None and url.port == 0):
        raise ValueError("not a URL")
    return text.rstrip("/")


def _base_path(text: str) -> str:
    path = text.rstrip("/")
    written = re.fullmatch(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", path)
    if written is None or path in ("/metrics", "/healthz", "/readyz", "/admin", "/dashboard"):
        raise ValueError("not a path of its own")
    return path


def _or_root(path: str) -> str:
    return path or "/"


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError("not readable") from error


def _session_url(url: str) -> str:
    if url != MONGODB:
        open_session_store(url, durable=True)
    return url


def _byte_url(url: str) -> str:
    if not url.startswith(GRIDFS):
        open_byte_store(url, durable=True)
    elif not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", url.removeprefix(GRIDFS)):
        raise ValueError("not a name of a bucket")
    return url


def _mongo_url(url: str) -> str:
    if not re.fullmatch(r"mongodb(\+srv)?://[^/\s]+(/\S*)?", url):
        raise ValueError("not a URL of MongoDB")
    return url


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", url)


def _database(name: str) -> str:
    if not re.fullmatch(r"[^/\\. \"$*<>:|?\0]{1,63}", name):
        raise ValueError("not a name of a database")
    return name


_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)

Port = Annotated[int, Field(ge=0, le=65535), Form("a port number from 0 to 65535", "NUMBER")]
PositiveNumber = Annotated[int, Field(ge=1), Form("a whole number from 1 on", "NUMBER")]

Size = Annotated[
    int, BeforeValidator(parse_size), Form("a size such as 8KiB, 500MB or 5GiB (or bytes)", "SIZE", show_size)
]
SizeOrNone = Annotated[
    int | None,
    BeforeValidator(_none_or("none", parse_size)),
    Form("a size such as 500MB or 5GiB (or bytes), or none", "SIZE|none", _or("none", show_size)),
]
_DURATION = "a duration such as 250ms, 30s, 5m, 24h or 7d"
Duration = Annotated[float, BeforeValidator(parse_duration), Form(_DURATION, "DURATION", show_duration)]
DurationAboveZero = Annotated[
    float, BeforeValidator(_above_zero(parse_duration)), Form(f"{_DURATION}, above zero", "DURATION", show_duration)
]
DurationOrNever = Annotated[
    float | None,
    BeforeValidator(_none_or("never", _above_zero(parse_duration))),
    Form(f"{_DURATION}, above zero, or never", "DURATION|never", _or("never", show_duration)),
]

Secret = Annotated[
    Annotated[str, Field(min_length=16, pattern=r"^[!-~]+$")] | None,
    _EMPTY_IS_NONE,
    Form("16 characters or more, without spaces", "TOKEN", _or("", lambda _: "***"), secret=True),
]
PathOrNone = Annotated[Path | None, _EMPTY_IS_NONE, Form("a path", "PATH", _or(""))]
ExistingPath = Annotated[
    Annotated[Path, AfterValidator(_readable)] | None,
    _EMPTY_IS_NONE,
    Form("the path of a file that can be read", "PATH", _or("")),
]
BasePath = Annotated[
    str,
    AfterValidator(_base_path),
    Form(
        "a path such as /files or /, and none of /metrics, /healthz, /readyz, /admin, /dashboard",
        "PATH",
        lambda path: path or "/",
    ),
]
PublicUrl = Annotated[
    Annotated[str, AfterValidator(_public_url)] | None,
    _EMPTY_IS_NONE,
    Form("a URL such as https://media.example.org", "URL", _or("")),
]
MongoUrl = Annotated[
    Annotated[str, AfterValidator(_mongo_url)] | None,
    _EMPTY_IS_NONE,
    Form("a URL such as mongodb://a,b,c/?replicaSet=rs0", "URL", _or("", _without_password), secret=True),
]
DatabaseName = Annotated[
    Annotated[str, AfterValidator(_database)] | None,
    _EMPTY_IS_NONE,
    Form("a name of letters, digits, - and _", "NAME", _or("")),
]
SessionUrl = Annotated[str, AfterValidator(_session_url), Form(SESSION_URLS, "URL")]
ByteUrl = Annotated[str, AfterValidator(_byte_url), Form(BYTE_URLS, "URL")]

Proxies = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...],
    BeforeValidator(_listed),
    Form("a comma-separated list of IP addresses and networks (10.0.0.0/8), *, or unix", "LIST", _written),
]
Origins = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    AfterValidator(_origins),
    Form("*, a comma-separated list of origins such as https://example.org, or empty", "LIST", _written),
]
MediaTypes = Annotated[
    tuple[Annotated[str, AfterValidator(_media_type)], ...],
    BeforeValidator(_listed),
    Form("a comma-separated list of media types such as image/png", "LIST", _written),
]
