"""The connection to MongoDB that sessions and bytes share.

PyMongo's ``AsyncMongoClient``, or a client that an application has already: its own ``AsyncMongoClient``, or a Motor
one. Only such calls are made as both have, or that differ by no more than ``settled`` evens out.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import AutoReconnect, ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tusserver.protocol.refusals import StoreUnavailable

log = logging.getLogger("tusserver.mongodb")

DATABASE: Final = "tusserver"
TIMEOUT: Final = 6.0
"""Seconds that a call may take, unless the URL says otherwise (``timeoutMS``): an election is over by then."""

DEFAULTS: Final = {
    "appname": "tusserver",
    "connecttimeoutms": 2000,
    "heartbeatfrequencyms": 2000,
    "serverselectiontimeoutms": int(TIMEOUT * 1000),
    "timeoutms": int(TIMEOUT * 1000),
}
"""With PyMongo's own, a frozen primary holds a call up for half a minute."""

CODECS: Final[CodecOptions[Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


class Mongo:
    """``client``: a URL, as PyMongo takes it, or an application's client, which is then left open.

    ``database``: its name; None: the one in the URL, or ``tusserver``. With ``durable`` a write is acknowledged once a
    majority has it in its journal, without it once a majority has it. Raises ValueError for what is no such URL.
    """

    def __init__(self, client: Any, database: str | None = None, *, durable: bool = True) -> None:
        self._url: str | None = client if isinstance(client, str) else None
        self._client: Any = None if self._url is not None else client
        named, self.timeout = _said(self._url) if self._url is not None else (None, TIMEOUT)
        self.name = database or named or DATABASE
        self._write_concern = WriteConcern("majority", j=True if durable else None)
        self._users = 0
        self._collections: dict[str, Any] = {}

    async def open(self) -> None:
        """Connect, if nobody has; each one who opens it closes it."""
        self._users += 1
        if self._client is None:
            assert self._url is not None
            with explaining():
                self._client = AsyncMongoClient(self._url, **_defaults(self._url))

    async def close(self) -> None:
        """Disconnect, once everybody who has opened it has closed it; closing what nobody opened is fine."""
        self._users = max(0, self._users - 1)
        if self._users == 0 and self._url is not None and self._client is not None:
            client, self._client = self._client, None
            self._collections.clear()
            await settled(client.close())

    @property
    def client(self) -> Any:
        """The client. Raises StoreUnavailable before ``open``."""
        if self._client is None:
            raise StoreUnavailable("The connection to MongoDB is not open.")
        return self._client

    def collection(self, name: str) -> Any:
        """A collection: writes are acknowledged by a majority, reads are of what a majority has, which no fail-over
        takes back. Times come and go as ``DatetimeMS``."""
        found = self._collections.get(name)
        if found is None:  # making one takes as long as encoding what is sent to it
            found = self._collections[name] = self.client[self.name].get_collection(
                name,
                codec_options=CODECS,
                read_preference=ReadPreference.PRIMARY,
                write_concern=self._write_concern,
                read_concern=ReadConcern("majority"),
            )
        return found

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """What is asked inside ends within the timeout, and errors are raised as StoreUnavailable."""
        with explaining():
            try:
                async with asyncio.timeout(self.timeout + 1):  # an application's client may know no bound of its own
                    yield
            except TimeoutError as error:
                raise StoreUnavailable(AWAY, retry_after=1) from error

    async def each(self, cursor: Any) -> AsyncGenerator[dict[str, Any], None]:
        """The documents of a cursor, which is closed then. Raises StoreUnavailable."""
        try:
            while True:
                async with self.asking():
                    document = await anext(cursor, None)
                if document is None:
                    return
                yield document
        finally:
            await settled(cursor.close())

    async def ping(self) -> None:
        """Return when the primary answers. Raises StoreUnavailable."""
        async with self.asking():
            await self.client[self.name].command("ping", read_preference=ReadPreference.PRIMARY)


AWAY: Final = "MongoDB does not answer; try again shortly."


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Raise what PyMongo says as StoreUnavailable, but for what the caller expects."""
    try:
        yield
    except OperationFailure as error:
        if error.code in EXPECTED:
            raise
        log.debug("MongoDB refused", exc_info=True)
        raise StoreUnavailable(_refused(error), retry_after=1) from error
    except (ConfigurationError, InvalidURI) as error:
        raise StoreUnavailable(f"The MongoDB URL is not right: {error}") from error
    except PyMongoError as error:
        log.debug("MongoDB does not answer", exc_info=True)
        raise StoreUnavailable(AWAY, retry_after=1) from error


DUPLICATE_KEY: Final = 11000
INDEX_DIFFERS: Final = 85
EXPECTED: Final = frozenset({DUPLICATE_KEY, INDEX_DIFFERS})


def away(error: BaseException | None) -> bool:
    """Whether MongoDB was not to be reached, so that the same may work later."""
    return isinstance(error, AutoReconnect | TimeoutError) or (
        isinstance(error, PyMongoError) and (error.timeout or error.has_error_label("RetryableWriteError"))
    )


async def settled(value: Any) -> Any:
    """What PyMongo gives and what Motor gives, for calls that only one of them has to be awaited for."""
    return await value if inspect.isawaitable(value) else value


def _refused(error: OperationFailure) -> str:
    details = error.details or {}
    name = details.get("codeName", f"code {error.code}")
    return f"MongoDB refused ({name}); try again shortly, and have an operator look at its log."


def _defaults(url: str) -> dict[str, Any]:
    given = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
    return {name: value for name, value in DEFAULTS.items() if name not in given}


def _said(url: str) -> tuple[str | None, float]:
    """The database and the timeout (seconds) that a URL names."""
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("a MongoDB URL begins with mongodb:// or mongodb+srv://")
    parsed = urlsplit(url)
    options = {name.lower(): value for name, value in parse_qsl(parsed.query)}
    timeout = options.get("timeoutms", "")
    bounded = timeout.isdecimal() and int(timeout) > 0  # without bound would be a hang
    return parsed.path.strip("/") or None, int(timeout) / 1000 if bounded else TIMEOUT
