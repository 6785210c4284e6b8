from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stores.sessions import BACKENDS, Clock, Pair, started
from tusserver.stores.mongodb import settled


@pytest.fixture(params=sorted(BACKENDS))
async def pair(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Pair]:
    """Every session store, seen from two sides."""
    pair = BACKENDS[request.param](tmp_path, Clock())
    stores = [pair.one] if pair.one is pair.other else [pair.one, pair.other]
    async with started(*stores):
        yield pair
    await settled(pair.close())
