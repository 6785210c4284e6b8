"""Where clients see this server: the outside URL of the base path, and the client's address.

What a proxy says in ``Forwarded`` or ``X-Forwarded-*`` counts only when the proxy is trusted (AMB-17). When somebody
untrusted says it, a proxy is evidently in front and nobody told us: the answer is then a relative reference, which is
right behind any proxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import quote

SAID_BY_PROXIES: Final = frozenset(("forwarded", "x-forwarded-host", "x-forwarded-proto"))

REMEMBERED: Final = 512
"""Characters up to which a client's own words are worth remembering, and cannot fill the memory."""

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PORT = re.compile(r":[0-9]+$")
# A pair begins at the start or at a semicolon only: from every letter on, it takes the square of their number
_PAIR = re.compile(r'(?:^|;)\s*([A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^;,"\s]*)')

Scope = Mapping[str, Any]


class Origin:
    """``public_url``: the server's outside URL without the base path, when it is known. ``trusted_proxies``: IP
    addresses and networks, ``*`` for any peer, ``unix`` for a peer without an address."""

    def __init__(self, public_url: str | None = None, trusted_proxies: Sequence[str] = ()) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._trust_all = "*" in trusted_proxies
        self._trust_unix = "unix" in trusted_proxies
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(each, strict=False) for each in trusted_proxies if each not in ("*", "unix")
        ]
        self._trusted = lru_cache(1024)(self._is_trusted)

    def base_url(self, scope: Scope, fields: Mapping[str, str], base_path: str) -> str:
        """The URL of the base path as this client should see it, without a final slash; only a path where the
        outside address is not known (AMB-16). ``fields``: the request's headers (see ``Request``)."""
        if self._public_url is not None:
            return self._public_url + base_path
        scheme, host = scope.get("scheme", "http"), fields.get("host", "")
        if not SAID_BY_PROXIES.isdisjoint(fields):
            if not self._trusted(_peer(scope)):
                host = ""
            else:
                scheme, host = _forwarded(fields, scheme, host)
        root_path = scope.get("root_path", "")
        made = _url if len(host) + len(root_path) <= REMEMBERED else _url.__wrapped__
        return made(scheme, host, root_path, base_path)

    def client(self, scope: Scope) -> str:
        """The client's address, for the log: the last one in ``X-Forwarded-For`` that is not a trusted proxy's."""
        peer = _peer(scope)
        if not self._trusted(peer):
            return peer or "unix"
        said = b",".join([value for name, value in scope["headers"] if name == b"x-forwarded-for"]).decode("latin-1")
        hops = [hop.strip() for hop in said.split(",") if hop.strip()]
        for hop in reversed(hops):
            if self._trust_all or not self._trusted(hop):
                return hop[:64]
        return peer or "unix"

    def _is_trusted(self, address: str | None) -> bool:
        if self._trust_all:
            return True
        if address is None:
            return self._trust_unix
        try:
            parsed = ip_address(address.strip("[]"))
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped  # how a socket that listens on both shows an IPv4 peer
        return any(parsed in network for network in self._networks)


@lru_cache(1024)
def _url(scheme: str, host: str, root_path: str, base_path: str) -> str:
    path = quote(root_path.rstrip("/"), safe="/:@!$&'()*+,;=~") + base_path
    return f"{scheme}://{host}{path}" if scheme in ("http", "https") and _HOST.fullmatch(host) else path


def _forwarded(headers: Mapping[str, str], scheme: str, host: str) -> tuple[str, str]:
    """What the nearest proxy says: its own entry is the last one of each list."""
    if "forwarded" in headers:
        entry = headers["forwarded"].rsplit(",", 1)[-1]
        said = {name.lower(): value.strip('"') for name, value in _PAIR.findall(entry)}
        return said.get("proto", scheme).lower(), said.get("host", host)
    scheme = _last(headers.get("x-forwarded-proto", scheme)).lower()
    host = _last(headers.get("x-forwarded-host", host))
    port = _last(headers.get("x-forwarded-port", ""))
    # 80 along with https is what a proxy behind the one that ends TLS says: no usual port is worth saying
    if port.isdecimal() and port not in ("80", "443") and not _PORT.search(host):
        host = f"{host}:{port}"
    return scheme, host


def _last(listed: str) -> str:
    return listed.rsplit(",", 1)[-1].strip()


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return (client[0] or None) if client else None
