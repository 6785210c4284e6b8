"""``make takeover``: how long a client waits that comes back while its old connection hangs.

On the same server; on another one, which hears of it by a change stream (MongoDB in a replica set), by looking into a
MongoDB that has no change streams, or by looking into SQLite.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, wait_for
from tests.mongod import Node, replica_set

SIZE = 256 * 1024
SENT = 64 * 1024
TOKEN = "a-token-for-measuring"


@contextlib.contextmanager
def standalone(directory: Path) -> Iterator[str]:
    """The URL of a MongoDB that is in no replica set."""
    node = Node(directory / "standalone", "")
    node.start()
    try:
        yield f"mongodb://{node.address}/?retryWrites=false"
    finally:
        node.stop()


@contextlib.contextmanager
def servers(directory: Path, settings: dict[str, object]) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers with the same settings."""
    directory.mkdir()
    said = {"admin_token": TOKEN, "progress_every": "200ms", **settings}
    both = [ServerProcess(directory, said, name) for name in ("a", "b")]
    try:
        for server in both:
            server.start()
        yield both[0], both[1]
    finally:
        for server in both:
            server.stop()


def taken_over(old: ServerProcess, new: ServerProcess, method: str) -> float:
    """Seconds that the newcomer's request took, answer included."""
    url = old.create(SIZE)
    there = f"{new.url}/{url.rsplit('/', 1)[1]}"
    with old.opened_patch(url, 0, SIZE) as hung:
        hung.sendall(bytes(SENT))
        wait_for(lambda: _counted(old, url) == SENT)
        began = time.perf_counter()
        if method == "HEAD":
            assert int(requests.head(there, headers=TUS, timeout=20).headers["Upload-Offset"]) == SENT
        else:
            rest = bytes(SIZE - SENT)
            patch = {**OCTETS, "Upload-Offset": str(SENT)}
            assert requests.patch(there, data=rest, headers=patch, timeout=20).status_code == 204
        return time.perf_counter() - began


def _counted(server: ServerProcess, url: str) -> int:
    """The offset as the session says it; asking the upload itself would end its writer."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(f"{server.origin}/admin/uploads/{url.rsplit('/', 1)[1]}", headers=headers, timeout=20)
    return int(answer.json()["offset"])


@click.command()
@click.option("--trials", default=40, show_default=True)
def main(trials: int) -> None:
    """Measure and print p50 and p99 in milliseconds."""
    directory = Path(tempfile.mkdtemp(prefix="tusserver-takeover-"))
    with replica_set(3) as mongodb, standalone(directory) as alone:
        kinds: dict[str, dict[str, object]] = {
            "SQLite": {},
            "MongoDB, no replica set": {"sessions": "mongodb:", "mongo_url": alone},
            "MongoDB, replica set": {"sessions": "mongodb:", "mongo_url": mongodb.url},
        }
        click.echo(f"{'sessions':25}{'newcomer on':14}{'request':9}{'p50 ms':>8}{'p99 ms':>8}")
        for name, settings in kinds.items():
            with servers(directory / name.replace(" ", "-"), settings) as (a, b):
                for where, new in (("same server", a), ("another one", b)):
                    for method in ("HEAD", "PATCH"):
                        found = [taken_over(a, new, method) * 1000 for _ in range(trials)]
                        high = statistics.quantiles(found, n=100)[98]
                        click.echo(f"{name:25}{where:14}{method:9}{statistics.median(found):8.0f}{high:8.0f}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
