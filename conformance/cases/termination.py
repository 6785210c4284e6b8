"""Termination."""

from __future__ import annotations

from conformance.cases import case
from conformance.target import Target


@case("termination/unfinished", "TERM-01", "TERM-03", "TERM-04")
def unfinished(tus: Target) -> None:
    """DELETE of an unfinished upload: 204, and it is gone."""
    tus.needs("termination")
    named = tus.named()
    tus.check("TERM-01", "termination" in named, "termination in Tus-Extension", named)
    url = tus.made(length=10)
    tus.patch(url, 0, b"01234")
    _gone(tus, url)


@case("termination/finished", "TERM-03", "TERM-04")
def finished(tus: Target) -> None:
    """DELETE of a finished upload: 204, and it is gone."""
    tus.needs("termination")
    _gone(tus, tus.filled(b"0123456789"))


@case("termination/resources", "TERM-02")
def resources(tus: Target) -> None:
    """Its bytes are not handed out any more."""
    tus.needs("termination")
    url = tus.filled(b"0123456789")
    tus.delete(url)
    answer = tus.ask("GET", url)
    tus.check("TERM-02", answer.status >= 400, "an error for GET", answer.status)


@case("termination/unknown", "TERM-05")
def unknown(tus: Target) -> None:
    """DELETE of an upload that is not there is an error."""
    tus.needs("termination")
    answer = tus.delete(tus.unknown())
    tus.check("TERM-05", 400 <= answer.status < 500, "a 4xx", answer.status)


def _gone(tus: Target, url: str) -> None:
    answer = tus.delete(url)
    tus.check("TERM-03", answer.status == 204, "204", answer.status)
    later = {"HEAD": tus.head(url), "PATCH": tus.patch(url, 5, b"5"), "DELETE": tus.delete(url)}
    for method, told in later.items():
        tus.check("TERM-04", told.status in (404, 410), f"404 or 410 for {method}", told.status)
