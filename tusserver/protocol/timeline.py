"""What happened to an upload, for people who look into it; nothing is decided by it."""

from __future__ import annotations

from typing import Final

import msgspec

MOMENTS: Final = 32
"""Moments that an upload remembers: the first one, and the latest of the others."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to an upload.

    ``what``: created, taken, received, fenced, unlocked, completed, cancelled, expired, or the code of the refusal
    that ended a request early (client_gone, taken_over ...). ``at`` is on the session store's clock, in seconds since
    the epoch (None: to be stamped); ``by`` the process; ``offset`` the upload's offset then, in bytes.
    """

    what: str
    offset: int
    by: str | None = None
    at: float | None = None


Timeline = tuple[Moment, ...]

CREATED: Final[Timeline] = (Moment("created", 0),)
"""What each upload begins with."""


def noted(timeline: Timeline, moment: Moment) -> Timeline:
    """The timeline with one more moment. What only goes on (the same process receives more, or takes the upload
    again after its last request has ended) moves the moment that is there, or adds none."""
    if moment.what == "taken" and moment.by == _taker(timeline):
        return timeline
    if moment.what == "received" and timeline and timeline[-1].what == "received" and timeline[-1].by == moment.by:
        timeline = timeline[:-1]
    timeline = (*timeline, moment)
    return timeline if len(timeline) <= MOMENTS else (timeline[0], *timeline[2:])


def _taker(timeline: Timeline) -> str | None:
    """Who took the upload, if it has only received since."""
    for moment in reversed(timeline):
        if moment.what != "received":
            return moment.by if moment.what == "taken" else None
    return None
