"""The admin token: the one place that compares it, for the admin API and the dashboard.

Whoever has guessed wrong too often is not listened to for a while, and nobody else is held up by that. Behind a proxy
that is not trusted (``trusted_proxies``) all clients are one.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

GUESSES: Final = 10
WITHIN: Final = 60.0
"""Seconds: a client that has guessed wrong ``GUESSES`` times in so many waits until fewer have been so lately."""
CLIENTS: Final = 1000
"""Clients whose wrong guesses are remembered."""


class TooManyGuesses(Exception):
    """The client has guessed wrong too often, and what it brought was not looked at. ``seconds``: how long it waits."""

    text: Final = "The admin token was wrong too often; wait a minute and try again."

    def __init__(self, seconds: float) -> None:
        super().__init__(self.text)
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}


class AdminToken:
    """``client`` gives the address of whoever makes a request (its ASGI scope). ``clock`` only goes forward."""

    def __init__(
        self, token: str, client: Callable[[Mapping[str, Any]], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = token.encode()
        self._client = client
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def borne_by(self, request: Request) -> bool:
        """Whether the request brings it as ``Authorization: Bearer``. Raises TooManyGuesses."""
        scheme, _, brought = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and brought.strip() != "" and self.is_said(brought, request)

    def is_said(self, brought: str, request: Request) -> bool:
        """Whether this is it. Raises TooManyGuesses."""
        who = _counted_as(self._client(request.scope))
        self._check(self._wrong.get(who))
        right = hmac.compare_digest(brought.strip().encode("utf-8", "replace"), self._token)
        if not right:
            self._wrong.setdefault(who, deque(maxlen=GUESSES)).append(self._clock())
            self._wrong.move_to_end(who)
            if len(self._wrong) > CLIENTS:
                self._wrong.popitem(last=False)
        return right

    def signature(self, text: str) -> str:
        """What only those can put under the text who have the token."""
        return hmac.new(self._token, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _check(self, wrong: deque[float] | None) -> None:
        if wrong is not None and len(wrong) == GUESSES and (left := wrong[0] + WITHIN - self._clock()) > 0:
            raise TooManyGuesses(left)


def slow_down(request: Request, error: Exception) -> Response:
    """The answer to TooManyGuesses."""
    assert isinstance(error, TooManyGuesses)
    said = {"error": "too_many_guesses", "message": error.text}
    return JSONResponse(said, 429, headers={"Cache-Control": "no-store", **error.headers})


def _counted_as(client: str) -> str:
    """A network of IPv6 has more addresses than can be counted, and belongs to one client."""
    try:
        address = ip_address(client.strip("[]").partition("%")[0])
    except ValueError:
        return client
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or int(address) >> 64)
