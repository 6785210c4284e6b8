"""Makes one replica set of MongoDB nodes, once, and waits for its primary: ``replica_set.py NAME HOST:PORT ...``.

Harmless to repeat: a replica set that is there is left as it is. Needs PyMongo, which tusserver's image has.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

ALREADY_INITIALIZED = 23
SECONDS = 120.0


def initiate(name: str, nodes: list[str]) -> None:
    """Ask the first node to make the replica set. Raises PyMongoError while it can't."""
    members = [{"_id": number, "host": node} for number, node in enumerate(nodes)]
    client: MongoClient[Any] = MongoClient(nodes[0], directConnection=True, serverSelectionTimeoutMS=2000)
    with client:
        try:
            client.admin.command("replSetInitiate", {"_id": name, "members": members})
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:
                raise


def primary(name: str, nodes: list[str]) -> str:
    """The address of the primary. Raises PyMongoError while there is none."""
    client: MongoClient[Any] = MongoClient(nodes, replicaSet=name, serverSelectionTimeoutMS=2000)
    with client:
        return str(client.admin.command("hello")["me"])


def main(name: str, nodes: list[str]) -> int:
    """0 when there is a primary, 1 when there is none after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            initiate(name, nodes)
            print(f"{name}: {primary(name, nodes)} is the primary")
            return 0
        except PyMongoError as error:
            if time.monotonic() > deadline:
                print(f"{name} has no primary: look at the logs of {', '.join(nodes)}. {error}", file=sys.stderr)
                return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
