from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from tests.stores.sessions import an_upload
from tusserver.protocol.upload import Concat, Kind, Lease, Part, Status, Upload
from tusserver.stores.documents import as_stored, from_document, to_document

TIMES = some.floats(allow_nan=False, allow_infinity=False)
COUNTS = some.integers(min_value=0, max_value=2**63 - 1)
LEASES = some.builds(
    Lease,
    id=some.text(),
    holder=some.text(),
    ttl=TIMES,
    expires_at=some.none() | TIMES,
    contest=some.none() | some.integers(min_value=-1),
)
UPLOADS = some.builds(
    Upload,
    id=some.text(),
    created_at=TIMES,
    updated_at=TIMES,
    length=some.none() | COUNTS,
    metadata=some.none() | some.text(),
    owner=some.none() | some.text(),
    concat=some.none()
    | some.builds(
        Concat, raw=some.text(), kind=some.sampled_from(Kind), parts=some.lists(some.text(), max_size=4).map(tuple)
    ),
    status=some.sampled_from(Status),
    parts=some.lists(some.builds(Part, token=COUNTS, start=COUNTS, stop=COUNTS), max_size=4).map(tuple),
    token=COUNTS,
    lease=some.none() | LEASES,
    expires_at=some.none() | TIMES,
    completed_at=some.none() | TIMES,
    ended_at=some.none() | TIMES,
    stored=some.booleans(),
    version=COUNTS,
)


@given(upload=UPLOADS, as_of=TIMES)
def test_what_is_written_is_read_again(upload: Upload, as_of: float) -> None:
    written = json.dumps(to_document(replace(upload, as_of=1.0)))
    assert from_document(json.loads(written), as_of) == replace(upload, as_of=as_of)


def test_every_field_but_as_of_is_written() -> None:
    assert set(to_document(an_upload())) == set(Upload.__struct_fields__) - {"as_of"}


def test_a_field_of_a_newer_version_is_ignored() -> None:
    upload = an_upload(
        parts=(Part(token=1, start=0, stop=5),),
        lease=Lease(id="l", holder="h", ttl=3.0, expires_at=9.0),
        concat=Concat(raw="partial", kind=Kind.PARTIAL),
    )
    document = to_document(upload)
    for inner in (document, document["lease"], document["concat"], document["parts"][0]):
        inner["invented_later"] = {"x": 1}
    assert from_document(document, 0.0) == upload


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    oldest = {"id": "u", "version": 3, "status": "active", "created_at": 10.0, "updated_at": 10.0, "token": 1}
    assert from_document(oldest, 2.0) == an_upload(version=3, as_of=2.0)


def test_only_a_lease_without_a_time_is_stamped() -> None:
    lease = Lease(id="l", holder="h", ttl=3.0)
    stamped = as_stored(an_upload(lease=lease), version=2, now=100.0)
    assert stamped == an_upload(lease=replace(lease, expires_at=103.0, since=100.0), version=2, as_of=100.0)
    assert as_stored(stamped, version=3, now=200.0).lease == stamped.lease
