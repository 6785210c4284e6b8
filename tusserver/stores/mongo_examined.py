"""What an operator should know of the MongoDB below."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from tusserver.stores.findings import Finding, ok, problem, warning
from tusserver.stores.mongodb import Mongo

OLDEST: Final = (4, 4)
SLOW: Final = 0.2


async def examined(mongo: Mongo, collection: str, indexes: Sequence[str]) -> AsyncGenerator[Finding, None]:
    """The findings about the deployment, its write concern and the indexes of the collection."""
    async with mongo.asking():
        hello = await mongo.client.admin.command("hello")
        build = await mongo.client.admin.command("buildInfo")
        present = await mongo.collection(collection).index_information()
        started = time.perf_counter()
        await mongo.collection("deployment").update_one({"_id": "examined"}, {"$inc": {"times": 1}}, upsert=True)
        acknowledged = time.perf_counter() - started
        await mongo.collection("deployment").delete_one({"_id": "examined"})
    yield _version(build)
    yield _topology(hello)
    said = f"a majority acknowledges in {acknowledged * 1000:.1f} ms"
    advice = "Each upload waits for that; look at the disks and the network of the MongoDB nodes."
    yield ok("write concern", said) if acknowledged < SLOW else warning("write concern", said, advice)
    missing = [name for name in (*indexes, "forgotten") if name not in present]
    if missing:
        yield problem("indexes", f"{', '.join(missing)} missing", "Restart a server, which makes them.")
    else:
        yield ok("indexes", f"all {len(indexes) + 1} are there")
    if not mongo.client.options.retry_writes:
        advice = "Leave retryWrites out of the URL, or set it to true."
        yield warning("retryWrites", "is off, so each fail-over is an error to somebody", advice)


def _version(build: dict[str, Any]) -> Finding:
    version = str(build["version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return problem("MongoDB", version, "Version 4.4 or newer is needed.")
    return ok("MongoDB", version)


def _topology(hello: dict[str, Any]) -> Finding:
    if hello.get("msg") == "isdbgrid":
        return ok("topology", "a sharded cluster")
    hosts = [*hello.get("hosts", []), *hello.get("passives", [])]
    if "setName" not in hello:
        return warning(
            "topology",
            "one server, in no replica set",
            "Use a replica set (one node is enough): without it there are no change streams and no fail-over.",
        )
    if len(hosts) < 3:
        advice = "Three nodes outlive the loss of one."
        return warning("topology", f"replica set {hello['setName']} of {len(hosts)} nodes", advice)
    return ok("topology", f"replica set {hello['setName']} of {len(hosts)} nodes")
