"""Videos behind a login: a FastAPI application with tusserver mounted under /api/uploads.

    uvicorn examples.fastapi_login:app
    curl -d 'username=ada&password=engine' http://127.0.0.1:8000/login
    curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:8000/api/videos

tus clients upload to http://127.0.0.1:8000/api/uploads/ with that Authorization header. Users, tokens and the list of
videos are dictionaries here; put your database in their place.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm

from tusserver import Hooks, Settings, create_app
from tusserver.hooks import Caller, Change, Event, HookRefused

PASSWORDS = {"ada": "engine", "grace": "compiler"}
TOKENS: dict[str, str] = {}
VIDEOS: dict[str, Video] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A finished upload, as the application knows it."""

    id: str
    owner: str
    name: str
    size: int


def user_of(caller: Caller) -> str:
    """The user whose token the request carries. Raises HookRefused with 401."""
    scheme, _, token = caller.headers.get("authorization", "").partition(" ")
    user = TOKENS.get(token) if scheme.lower() == "bearer" else None
    if user is None:
        raise HookRefused(401, "Log in first: POST /login, then send Authorization: Bearer TOKEN.")
    return user


async def own_and_check(event: Event) -> Change:
    """pre_create: only videos, and they belong to who is logged in."""
    user = user_of(event.caller)
    if not event.metadata.get("filetype", b"").startswith(b"video/"):
        raise HookRefused(415, "Only videos are taken here; say filetype video/... in Upload-Metadata.")
    return Change(owner=user)


async def only_the_owner(event: Event) -> None:
    """authorize: to everybody else the upload does not exist."""
    if event.upload.owner != user_of(event.caller):
        raise HookRefused(404, "There is no such upload.")


async def record(event: Event) -> None:
    """post_finish: every byte is there, durably."""
    upload = event.upload
    name = event.metadata.get("filename", b"video").decode(errors="replace")
    VIDEOS[upload.id] = Video(id=upload.id, owner=upload.owner or "", name=name, size=upload.offset)


async def forget(event: Event) -> None:
    """post_terminate: the owner has deleted it."""
    VIDEOS.pop(event.upload.id, None)


uploads = create_app(
    Settings(
        base_path="",
        sessions="sqlite:data/videos/sessions.db",
        storage="disk:data/videos/uploads",
        metrics=False,
    ),
    Hooks(pre_create=own_and_check, authorize=only_the_owner, post_finish=record, post_terminate=forget),
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Uploads are served as long as the application is."""
    async with uploads.running():
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/api/uploads", uploads)
bearer = OAuth2PasswordBearer(tokenUrl="login")


@app.post("/login")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    """A token for a user and a password."""
    if not hmac.compare_digest(PASSWORDS.get(form.username, "").encode(), form.password.encode()) or not form.password:
        raise HTTPException(401, "Wrong user or password.")
    token = secrets.token_urlsafe(24)
    TOKENS[token] = form.username
    return {"access_token": token, "token_type": "bearer"}


@app.get("/api/videos")
async def videos(token: Annotated[str, Depends(bearer)]) -> list[Video]:
    """The videos of who is logged in; GET /api/uploads/ID has the bytes."""
    if token not in TOKENS:
        raise HTTPException(401, "Log in first.")
    return [video for video in VIDEOS.values() if video.owner == TOKENS[token]]
