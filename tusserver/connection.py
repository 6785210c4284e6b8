"""The connection of ``tusserver serve``: HTTP/1.1, as a uvicorn protocol class (``http=``).

Other than uvicorn's own:

* A shutdown first interrupts the uploads, which are saved and answered; uvicorn would wait for them to end.
* Request trailers come in a list of their own (the ASGI extension ``tusserver.trailers``); uvicorn adds them to the
  headers, where a client could add any header after these were checked.
* Bounded: the bytes and the seconds of a head, how many requests wait for answers, how long answers wait to be read.
* A request that asks for another protocol beside (``Upgrade``, as clients do that would rather speak HTTP/2) is
  answered in this one; uvicorn loses its body, and takes what comes later of it for a request.
* What is no HTTP is told only once the requests before it have been answered.
* A request takes half of the Python; see ``tusserver.cycle`` for it, and for what an application can do with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final
from urllib.parse import unquote

import uvicorn
from httptools.parser.url_parser import URL as Url
from uvicorn.server import ServerState

from tusserver.app import TusApp
from tusserver.cycle import Cycle
from tusserver.exchange import DIRECT, TRAILERS, Scope
from tusserver.listening import address
from tusserver.parser import NotHttp, Parser, TrailersTooLarge
from tusserver.patience import Patience
from tusserver.unread import Unread
from tusserver.wire import refusal

log = logging.getLogger("tusserver.connection")

MAX_HEAD: Final = 256 * 1024
"""Bytes of a request's head, not counting what came along with its beginning."""
WORTH_CLAIMING: Final = 128 * 1024
"""Bytes of a body from which on taking it off the connection is cheaper than reading it."""
HIGH_WATER: Final = 64 * 1024
"""Bytes of a body that wait until somebody asks for them, from which on reading stops."""
PIPELINED: Final = 16
"""Requests that have not been answered, beyond which reading stops."""
MOST_PIPELINED: Final = 100
"""Those that are answered. What one read brings beyond these is thrown away, and the connection closes behind them, as
it always may: RFC 9112 section 9.3.2."""

ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class UploadProtocol(asyncio.Protocol):
    """One connection. ``direct``: whether large bodies may be claimed."""

    direct = True
    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.state = server_state
        self.write_paused = False
        self._app: Any = config.loaded_app
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._keep_alive = config.timeout_keep_alive
        self._parser = Parser(self)
        self._cycles: deque[tuple[Cycle, Scope]] = deque()  # those not answered yet; the first is at it
        self._cycle: Cycle | None = None  # the one whose body comes, answered or not
        self._read_paused = False
        self._deaf = False
        self._room = asyncio.Event()

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected, and is expected to say what it wants."""
        self.state.connections.add(self)  # type: ignore[arg-type]
        self.transport = transport
        self._server = address(transport.get_extra_info("sockname"))
        self._client = address(transport.get_extra_info("peername"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._patience = Patience(self._loop, keep_alive=self._keep_alive, late=self._head_is_late, idle=self.close)
        self._unread = Unread(self._loop, transport)
        self._patience.expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self.state.connections.discard(self)
        self._patience.end()
        self._unread.stop()
        self._parser.close()
        self.resume_writing()
        for cycle, _ in self._cycles:
            cycle.lose()
        self._cycles.clear()
        self._cycle = None

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._deaf:
            return
        try:
            self._parser.feed(data)
        except NotHttp as error:
            log.info("not HTTP", extra={"why": str(error), "client": self._client and self._client[0]})
            self._refuse("bad_request")
        except TrailersTooLarge:
            self._refuse("trailers_too_large")
        head = self._parser.head
        if head is not None:
            self._patience.expect_head()
            if head > MAX_HEAD:
                self._refuse("headers_too_large")

    def pause_writing(self) -> None:
        """The client is slow to take what is written."""
        self.write_paused = True
        self._room.clear()
        self._unread.watch()

    def resume_writing(self) -> None:
        """It has taken most of it, or will never."""
        self.write_paused = False
        self._room.set()
        if not self.transport.is_closing():
            self._unread.stop()

    def shutdown(self) -> None:
        """The server is stopping: what has been asked is answered, and then the connection closes."""
        if self._cycles:
            self._cycles[-1][0].keep_alive = False
        else:
            self.close()
        if isinstance(self._app, TusApp):
            self._app.begin_drain()

    # The parser's side (``tusserver.parser.Listener``)

    def on_head(self, method: str, version: str, url: Url, keep_alive: bool) -> None:
        """See ``Listener``: the application is started, once the requests before have been answered."""
        self._patience.head_complete()
        if len(self._cycles) >= MOST_PIPELINED:
            return self._hang_up()
        said = dict(self._parser.headers)
        chunks = version == "1.1"
        length = self._claimable(method, said)
        self._cycle = cycle = Cycle(
            self,
            head_only=method == "HEAD",
            keep_alive=chunks and keep_alive,
            chunks=chunks,
            awaits_continue=chunks and said.get(b"expect", b"").strip().lower() == b"100-continue",
            claimable=length,
        )
        self._cycles.append((cycle, self._scope(method, version, url, cycle)))
        if len(self._cycles) == 1:
            self._begin()
            if length is not None:
                self.pause_reading()
        elif len(self._cycles) > PIPELINED:
            self.pause_reading()

    def on_body(self, block: bytes) -> None:
        """See ``Listener``."""
        cycle = self._cycle
        if cycle is not None and not cycle.answered:
            cycle.take(block)
            if cycle.waiting > HIGH_WATER:
                self.pause_reading()

    def on_end(self) -> None:
        """See ``Listener``."""
        if self._cycle is not None:
            self._cycle.end_body()

    # The request's side (``tusserver.cycle.Connection``)

    async def writable(self) -> None:
        """See ``Connection``."""
        while self.write_paused:
            await self._room.wait()

    def pause_reading(self) -> None:
        """See ``Connection``."""
        if not (self._read_paused or self.transport.is_closing()):
            self._read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """See ``Connection``."""
        if self._read_paused and self._may_read() and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """See ``Connection``."""
        self.transport.close()
        self._unread.watch()

    def answered(self) -> None:
        """See ``Connection``."""
        self._cycles.popleft()
        if self.transport.is_closing():
            return
        if self._cycles:
            self._begin()
        else:
            self._patience.rest()
        self.resume_reading()

    def body_taken(self) -> None:
        """See ``Connection``."""
        self._parser.renew()
        self.resume_reading()

    # What they have in common

    def _may_read(self) -> bool:
        """Whether what waits for the answers before leaves room for more. The one that is being answered may always
        have more of its body: it has asked."""
        if len(self._cycles) < 2:
            return True
        return len(self._cycles) <= PIPELINED and self._cycles[-1][0].waiting <= HIGH_WATER

    def _scope(self, method: str, version: str, url: Url, cycle: Cycle) -> Scope:
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self._parser.headers,
            "state": self._app_state.copy(),
            "extensions": {TRAILERS: self._parser.trailers, DIRECT: cycle},
        }

    def _claimable(self, method: str, said: dict[bytes, bytes]) -> int | None:
        """The length of a body that may be claimed: it is said, it is not small, and nobody has to decrypt it."""
        length = int(said.get(b"content-length", b"0"))
        if length < WORTH_CLAIMING or not self.direct or self._scheme == "https" or method not in ("PATCH", "POST"):
            return None
        return length

    def _begin(self) -> None:
        cycle, scope = self._cycles[0]
        task = self._loop.create_task(cycle.run(self._app, scope))
        tasks = self.state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _head_is_late(self) -> None:
        if self._read_paused:  # it may have come, and not been read
            self._patience.expect_head()
        else:
            self._refuse("headers_timeout")

    def _hang_up(self) -> None:
        """Answer what waits, and close then. Nothing else is taken in, but that the client goes is still noticed."""
        self._cycles[-1][0].keep_alive = False
        self._cycle = None
        self._deaf = True

    def _refuse(self, code: str) -> None:
        """Answer what is no request, or the request whose body is none, and close. Where others wait to be answered,
        there will be no answer to this one."""
        if self.transport.is_closing():
            return
        broken = self._cycles[-1][0] if self._cycles and not self._cycles[-1][0].complete else None
        if broken is not None and len(self._cycles) > 1:
            self._cycles.pop()
            return self._hang_up()
        if self._cycles and broken is None:
            return self._hang_up()
        if broken is None or not broken.started:
            self.transport.write(refusal(code))
        if broken is not None:  # the end of the connection may be far away still
            broken.lose()
        self.close()


class PlainProtocol(UploadProtocol):
    """One connection whose bodies are always read and handed over block by block."""

    direct = False
