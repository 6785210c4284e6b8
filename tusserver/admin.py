"""The admin API: what ``tusserver sessions`` shows and does, as JSON over HTTP, for whoever has the token.

It reads the session store and disturbs no upload. Whichever server is asked, it tells of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tusserver import records
from tusserver.admin_token import AdminToken
from tusserver.engine import Engine
from tusserver.leases import unlocked
from tusserver.protocol.headers import is_upload_id
from tusserver.protocol.refusals import Refusal, UploadNotFound
from tusserver.protocol.tus1_answers import status_of
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.base import Query
from tusserver.units import parse_duration

PATH: Final = "/admin"
PAGE: Final = 100
LARGEST_PAGE: Final = 1000

Answer = dict[str, Any]


class WrongQuestion(ValueError):
    """A query that cannot be: one sentence that says what would be right."""


class Operations:
    """What operators see and do: each takes the request that asks for it, whose asker has been let in, and returns
    what to answer. Raises WrongQuestion and Refusal (see ``answered``)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: Request) -> Answer:
        """A page of the uploads that the query parameters ask for, newest first."""
        query, limit = _query(request)
        uploads: list[Upload] = []
        more = False
        async for upload in self._engine.sessions.find(query):
            if query.leased and not upload.leased:
                continue
            more = len(uploads) == limit
            if more:
                break
            uploads.append(upload)
        last = uploads[-1] if more else None
        return {
            "uploads": [records.record(upload) for upload in uploads],
            "next": records.place(last) if last is not None else None,
        }

    async def show(self, request: Request) -> Answer:
        """One upload, with its timeline."""
        return records.record(await self._engine.sessions.get(_id(request)))

    async def cancel(self, request: Request) -> Answer:
        """Give an upload up."""
        return records.record(await self._engine.cancel(_id(request)))

    async def unlock(self, request: Request) -> Answer:
        """Take an upload's lease away."""
        before = await unlocked(self._engine.sessions, _id(request))
        return {"unlocked_from": before.lease.holder if before.lease is not None else None}

    async def stats(self, request: Request) -> Answer:
        """Counts by status."""
        since = request.query_params.get("since")
        tallies = await self._engine.sessions.tally(None if since is None else time.time() - _seconds("since", since))
        return {"statuses": records.tallied(tallies), "success": records.success(tallies)}


async def answered(work: Callable[[Request], Awaitable[Answer]], request: Request) -> Response:
    """The answer to a request whose asker has been let in."""
    try:
        return json_answer(await work(request))
    except WrongQuestion as error:
        return json_answer(said("bad_query", str(error)), 400)
    except Refusal as refusal:
        return json_answer(said(refusal.code, refusal.text), status_of(refusal))


class Admin:
    """The routes. ``token``: what ``Authorization: Bearer`` has to bring; they raise TooManyGuesses."""

    def __init__(self, engine: Engine, token: AdminToken) -> None:
        self._operations = Operations(engine)
        self._token = token

    def routes(self) -> list[Route]:
        """What to mount at the root."""
        one = f"{PATH}/uploads/{{upload_id}}"
        return [
            Route(f"{PATH}/uploads", self._answering(self._operations.list), methods=["GET"]),
            Route(one, self._answering(self._operations.show), methods=["GET"]),
            Route(f"{one}/cancel", self._answering(self._operations.cancel), methods=["POST"]),
            Route(f"{one}/unlock", self._answering(self._operations.unlock), methods=["POST"]),
            Route(f"{PATH}/stats", self._answering(self._operations.stats), methods=["GET"]),
        ]

    def _answering(self, work: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if not self._token.borne_by(request):
                headers = {"WWW-Authenticate": "Bearer"}
                return json_answer(
                    said("unauthorized", "Send Authorization: Bearer and the admin token."), 401, headers
                )
            return await answered(work, request)

        return endpoint


def _query(request: Request) -> tuple[Query, int]:
    asked = request.query_params
    unknown = set(asked) - {"status", "active", "stale", "after", "limit"}
    if unknown:
        raise WrongQuestion(f"There is no parameter {min(unknown)}; use status, active, stale, after and limit.")
    try:
        statuses = frozenset(Status(status) for status in asked.getlist("status"))
    except ValueError:
        raise WrongQuestion(f"status is one of {', '.join(Status)}.") from None
    stale = asked.get("stale")
    active = asked.get("active", "false")
    if active not in ("true", "false"):
        raise WrongQuestion("active is true or false.")
    limit = asked.get("limit", str(PAGE))
    if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:9]) <= LARGEST_PAGE:
        raise WrongQuestion(f"limit is a number from 1 to {LARGEST_PAGE}.")
    query = Query(
        statuses=statuses or (frozenset({Status.ACTIVE}) if stale is not None else None),
        leased=True if active == "true" else None,
        updated_before=None if stale is None else time.time() - _seconds("stale", stale),
        beyond=_place(asked["after"]) if "after" in asked else None,
        newest_first=True,
    )
    return query, int(limit)


def _place(after: str) -> tuple[float, str]:
    milliseconds, _, upload_id = after.partition("-")
    if not milliseconds.isascii() or not milliseconds.isdecimal() or len(milliseconds) > 15:
        raise WrongQuestion("after is what the page before gave as next.")
    return int(milliseconds) / 1000, upload_id


def _seconds(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise WrongQuestion(f"{name} is a duration such as 30m, 24h or 7d.") from None


def _id(request: Request) -> str:
    upload_id = str(request.path_params["upload_id"])
    if not is_upload_id(upload_id):
        raise UploadNotFound
    return upload_id


def said(code: str, message: str) -> Answer:
    """An error as an answer: its code, and a sentence."""
    return {"error": code, "message": message}


def json_answer(answer: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that nobody may keep."""
    return JSONResponse(answer, status, headers={"Cache-Control": "no-store", **(headers or {})})
