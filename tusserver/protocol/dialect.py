"""A protocol is a dialect: headers -> command, outcome -> headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tusserver.protocol.commands import Checksum, Command, Outcome
from tusserver.protocol.messages import Request, Response
from tusserver.protocol.refusals import Refusal


class Dialect(Protocol):
    """One version of one protocol. Every method is pure."""

    def speaks(self, request: Request) -> bool:
        """Whether the request is in this dialect."""
        ...

    def parse(self, request: Request) -> Command:
        """What the request wants. Raises a Refusal for what the head alone shows to be wrong."""
        ...

    def parse_trailers(self, headers: Iterable[tuple[str, str]]) -> Checksum:
        """The checksum announced for the trailers. Raises BadChecksum when it is missing or malformed."""
        ...

    def render(self, outcome: Outcome, request: Request) -> Response:
        """The answer to a request that was carried out."""
        ...

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """The answer to a request that was refused."""
        ...
