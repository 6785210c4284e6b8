"""Who may see the dashboard: whoever has the admin token; where there is none, whoever sits at this machine."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from tusserver.admin_token import AdminToken

COOKIE: Final = "tusserver_dashboard"
SESSION_SECONDS: Final = 12 * 3600
SAID_BY_PROXIES: Final = ("forwarded", "via", "x-real-ip", "x-forwarded-")
"""How the names of headers begin that only proxies add."""

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class Access:
    """``token``: the admin token. ``proxied``: the settings say that a proxy is in front, so that nobody is local.
    ``secure``: clients come by HTTPS."""

    def __init__(
        self,
        token: AdminToken | None,
        *,
        proxied: bool = False,
        secure: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token
        self._proxied = proxied
        self._secure = secure
        self._clock = clock

    @property
    def by_token(self) -> bool:
        """Whether the token lets in; without one, being local does."""
        return self._token is not None

    def may_see(self, request: Request) -> bool:
        """Whether whoever asks may see what is going on. Raises TooManyGuesses."""
        if self._token is None:
            return self._is_local(request)
        return self._is_session(request.cookies.get(COOKIE, "")) or self._token.borne_by(request)

    def may_act(self, request: Request) -> bool:
        """Whether a request that changes something comes from the dashboard's own page, not from another site's.

        A browser says so in ``Sec-Fetch-Site``, which no page can forge. Where it says nothing, and for whoever is let
        in for being local, ``Origin`` has to name the host that was asked.
        """
        site = request.headers.get("sec-fetch-site")
        if site not in (None, "same-origin"):
            return False
        return _is_own_origin(request) or (site is not None and self.by_token)

    def knows(self, token: str, request: Request) -> bool:
        """Whether this is the admin token. Raises TooManyGuesses."""
        return self._token is not None and self._token.is_said(token, request)

    def let_in(self, request: Request, response: Response) -> None:
        """Remember in the browser that it brought the token. Any server with the same token lets it in then."""
        expires = str(int(self._clock()) + SESSION_SECONDS)
        response.set_cookie(
            COOKIE,
            f"{expires}.{self._signature(expires)}",
            max_age=SESSION_SECONDS,
            path=request.scope.get("root_path", "") + "/dashboard",
            httponly=True,
            samesite="strict",
            secure=self._secure or request.url.scheme == "https",
        )

    def let_out(self, request: Request, response: Response) -> None:
        """Forget it."""
        response.delete_cookie(COOKIE, path=request.scope.get("root_path", "") + "/dashboard")

    def _is_session(self, cookie: str) -> bool:
        expires, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(expires).encode()):
            return False
        return int(expires) > self._clock()

    def _signature(self, expires: str) -> str:
        assert self._token is not None
        return self._token.signature(f"dashboard until {expires}")

    def _is_local(self, request: Request) -> bool:
        """A page of another site can make a browser ask a local server under that site's name (DNS rebinding), and a
        proxy on this machine asks for anybody: hence more than the peer's address has to be right."""
        if self._proxied or any(name.startswith(SAID_BY_PROXIES) for name in request.headers):
            return False
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        referer = request.headers.get("referer")
        if referer is not None and urlsplit(referer).netloc != request.headers.get("host"):
            return False
        return _is_loopback(request) and _HOST.fullmatch(request.headers.get("host", "")) is not None


def _is_loopback(request: Request) -> bool:
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_own_origin(request: Request) -> bool:
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")
