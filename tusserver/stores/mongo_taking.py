"""An upload that is looked at and leased by one ``findAndModify``: ``Want.met_by`` and ``Upload.acquired`` as MongoDB
computes them."""

from __future__ import annotations

from typing import Any

from bson.int64 import Int64

from tusserver.protocol.rules import Want
from tusserver.protocol.timeline import MOMENTS
from tusserver.protocol.upload import Kind, Lease, Status
from tusserver.stores.documents import milliseconds
from tusserver.stores.mongo_documents import Document, date


def takeable(upload_id: str, want: Want) -> Document:
    """The filter of the upload, if it meets ``want``."""
    # The field ``offset`` is for people; this is what an upload's offset is
    offset = {"$ifNull": [{"$arrayElemAt": ["$parts.stop", -1]}, 0]}
    room: Document = {"length": {"$gte": want.offset + want.size}}
    if want.deferred:
        room = {"$or": [room, {"length": None}]}
    kept = {"$or": [{"expires_at": None}, {"expires_at": {"$gt": date(want.now)}}]}
    return {
        "_id": upload_id,
        "status": Status.ACTIVE.value,
        "concat.kind": {"$ne": Kind.FINAL.value},
        "lease": None,
        "place": {"$in": [None, want.place]},
        "$expr": {"$eq": [offset, want.offset]},
        "$and": [room, kept],
    }


def taken_by(lease: Lease, offset: int, *, now: Any) -> list[Document]:
    """The update pipeline that gives an upload without a lease this one. ``now``: see ``stored_by``."""
    holder = {"$literal": lease.holder}
    given = {
        "id": {"$literal": lease.id},
        "holder": holder,
        "ttl": lease.ttl,
        "expires_at": {"$add": [now, milliseconds(lease.ttl)]},
        "contest": None,
        "since": now,
        "start": Int64(offset),
    }
    taking = {"what": "taken", "offset": Int64(offset), "by": holder, "at": now}
    changes = {"version": {"$add": ["$version", 1]}, "lease": given, "written_at": now}
    return [{"$set": {**changes, "timeline": _noted(taking)}}]


def _noted(taking: Document) -> Document:
    """What ``timeline.noted`` makes of it: nothing where the same holder has only received since it last took it."""
    timeline = {"$ifNull": ["$timeline", []]}
    kept = {
        "$cond": [
            {"$lt": [{"$size": timeline}, MOMENTS]},
            timeline,
            {"$concatArrays": [{"$slice": [timeline, 1]}, {"$slice": [timeline, 2, MOMENTS]}]},
        ]
    }
    beside_receiving = {"$filter": {"input": timeline, "cond": {"$ne": ["$$this.what", "received"]}}}
    same = {"$and": [{"$eq": ["$$last.what", "taken"]}, {"$eq": ["$$last.by", taking["by"]]}]}
    return {
        "$let": {
            "vars": {"last": {"$arrayElemAt": [beside_receiving, -1]}},
            "in": {"$cond": [same, timeline, {"$concatArrays": [kept, [taking]]}]},
        }
    }
