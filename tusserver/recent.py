"""What one process remembers of its latest requests, for people who watch; bounded, and nothing is decided by it."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, NamedTuple

REFUSALS: Final = 100
CLIENTS: Final = 2000


class Refused(NamedTuple):
    """A request that was refused. ``at``: seconds since the epoch."""

    at: float
    code: str
    status: int
    method: str
    upload: str | None
    client: str


class Recent:
    """The latest refusals, and which client sent to which upload last. Noting takes no time and never fails."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._refused: deque[Refused] = deque(maxlen=REFUSALS)
        self._clients: OrderedDict[str, str] = OrderedDict()

    @property
    def refusals(self) -> list[Refused]:
        """The latest refusals, newest first."""
        return list(reversed(self._refused))

    @property
    def refused_ago(self) -> float:
        """Seconds since the latest refusal; infinity where there was none."""
        return self._clock() - self._refused[-1].at if self._refused else math.inf

    def refused(self, code: str, *, status: int, method: str, upload: str | None, client: str) -> None:
        """A request was refused."""
        self._refused.append(Refused(self._clock(), code, status, method[:16], upload, client))

    def receiving(self, upload_id: str, client: str) -> None:
        """A client has made an upload, or wants to send to it."""
        self._clients[upload_id] = client
        self._clients.move_to_end(upload_id)
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)

    def client(self, upload_id: str) -> str | None:
        """The client that sent to the upload last; None where this process has not seen it, or has forgotten it."""
        return self._clients.get(upload_id)
