"""``tusserver serve`` that also tells how long its event loop was held up: ``python -m tests.e2e.measured serve``.

``GET /stalls`` answers with the seconds of each time that the loop was late by more than LATE since it was last asked.
With ``FUSE_IS_NEAR=1`` a file system in user space counts as one of this machine's own. With ``CLAIMS_ALL=1`` every
body whose length is said goes from the socket into the file, however short. With ``NO_SPLICE=1`` the kernel refuses to.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final

import requests
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.e2e.seccomp import forbid_splice
from tests.e2e.server import ServerProcess
from tusserver import connection, server
from tusserver.app import TusApp
from tusserver.cli import main
from tusserver.hooks import Hooks
from tusserver.settings import Settings
from tusserver.stores import disk

ROOT: Final = Path(__file__).parents[2]
EVERY: Final = 0.002
LATE: Final = 0.005


class MeasuredApp(TusApp):
    """The application, and a task beside it that sleeps for EVERY seconds, over and over."""

    _stalls: list[float]
    _sampling: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/stalls":
            return await super().__call__(scope, receive, send)
        if self._sampling is None:
            self._stalls = []
            self._sampling = asyncio.create_task(self._sample())
        await asyncio.sleep(EVERY * 5)  # so that one that has just ended is told
        told, self._stalls = self._stalls, []
        await JSONResponse(told)(scope, receive, send)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            if (late := loop.time() - due) > LATE:
                self._stalls.append(late)


class MeasuredServer(ServerProcess):
    """That, as a process of one worker. ``near``: whether a file system in user space counts as near. ``claims_all``:
    whether short bodies take the direct way too. ``no_splice``: whether the kernel refuses that way."""

    module = "tests.e2e.measured"

    def __init__(
        self,
        directory: Path,
        settings: dict[str, object],
        *,
        near: bool = False,
        claims_all: bool = False,
        no_splice: bool = False,
    ) -> None:
        super().__init__(directory, settings)
        told = {"FUSE_IS_NEAR": near, "CLAIMS_ALL": claims_all, "NO_SPLICE": no_splice}
        self.environment |= {"PYTHONPATH": str(ROOT), **{name: "1" for name, said in told.items() if said}}

    def stalls(self) -> list[float]:
        """Seconds by which the event loop was late, each time, since this was last asked."""
        answer = requests.get(f"{self.origin}/stalls", timeout=60)
        assert answer.status_code == 200, answer.text
        told: list[Any] = answer.json()
        return [float(each) for each in told]


def measured(settings: Settings) -> TusApp:
    """What the server is to serve."""
    return MeasuredApp(settings, Hooks())


if __name__ == "__main__":
    vars(server)["create_app"] = measured
    if os.environ.get("FUSE_IS_NEAR"):
        vars(disk)["NEAR"] = disk.NEAR | {"fuse"}
    if os.environ.get("CLAIMS_ALL"):
        vars(connection)["WORTH_CLAIMING"] = 1
    if os.environ.get("NO_SPLICE"):
        forbid_splice()
    main()
