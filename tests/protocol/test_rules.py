"""What may be done to an upload, decided on values alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tusserver.protocol import rules
from tusserver.protocol.commands import Append, Body, Create
from tusserver.protocol.refusals import (
    BadConcat,
    FinalUploadFixed,
    LengthExceeded,
    LengthFixed,
    OffsetMismatch,
    Refusal,
    TooLarge,
    UploadExpired,
    UploadNotFound,
)
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Concat, Kind, Lease, Part, Status, Upload

LIMITS = Limits(max_size=100, expire_after=60.0)
NEW = Upload(id="u", created_at=0.0, updated_at=0.0, length=10)
DEFERRED = replace(NEW, length=None)
AT_FOUR = NEW.advanced(4, now=1.0)
FULL = NEW.advanced(10, now=1.0)
PARTIAL = Concat(raw="partial", kind=Kind.PARTIAL)
FINAL = Concat(raw="final;a b", kind=Kind.FINAL, parts=("a", "b"))
A = replace(NEW, id="a", length=3, concat=PARTIAL, metadata="secret")
B = replace(NEW, id="b", length=4, concat=PARTIAL)


def append(offset: int, size: int | None = 0, length: int | None = None) -> Append:
    return Append(upload_id="u", offset=offset, body=Body(size=size), length=length)


def check(upload: Upload, command: Append) -> Upload:
    return rules.appendable(upload, command, limits=LIMITS, now=5.0)


# Living


@pytest.mark.requirement("EXP-06", "EXP-01")
def test_the_expiry_slides_for_what_is_unfinished() -> None:
    assert rules.kept(NEW, LIMITS, 5.0).expires_at == 65.0
    assert rules.kept(rules.kept(NEW, LIMITS, 5.0), LIMITS, 7.0).expires_at == 67.0
    assert rules.kept(NEW, Limits(expire_after=None), 5.0).expires_at is None


@pytest.mark.requirement("EXP-01")
def test_a_completed_upload_expires_only_where_it_is_told_to() -> None:
    assert rules.expiry(FULL, LIMITS, 5.0) is None
    assert rules.expiry(FULL, Limits(expire_completed_after=7.0), 5.0) == 12.0
    assert rules.expiry(replace(FULL, concat=PARTIAL), LIMITS, 5.0) == 65.0


@pytest.mark.requirement("EXP-07", "EXP-08", "TERM-04")
def test_what_is_gone_is_not_alive() -> None:
    with pytest.raises(UploadNotFound):
        rules.alive(NEW.to(Status.CANCELLED, now=1.0), 1.0)
    with pytest.raises(UploadExpired):
        rules.alive(NEW.to(Status.EXPIRED, now=1.0), 1.0)
    due = NEW.kept_until(5.0)
    assert rules.alive(due, 4.9) is due
    with pytest.raises(UploadExpired):
        rules.alive(due, 5.0)


def test_what_is_being_written_does_not_expire() -> None:
    held = NEW.kept_until(5.0).acquired(lease_id="one", holder="here", ttl=3.0)
    assert rules.alive(held, 9.0) is held


# Creating


@pytest.mark.requirement("CREA-12", "CREA-13", "CREA-25", "CREA-31", "EXP-05")
@pytest.mark.parametrize(("length", "completed"), [(None, False), (0, True), (1, False), (100, False)])
def test_a_creation(length: int | None, completed: bool) -> None:
    command = Create(length=length, metadata="a YQ==", concat=PARTIAL)
    upload = rules.created(command, upload_id="u", limits=LIMITS, now=5.0)
    assert (upload.id, upload.length, upload.offset, upload.completed) == ("u", length, 0, completed)
    assert (upload.metadata, upload.concat, upload.created_at, upload.expires_at) == ("a YQ==", PARTIAL, 5.0, 65.0)


@pytest.mark.requirement("CREA-25")
def test_a_creation_beyond_the_maximum_is_refused() -> None:
    with pytest.raises(TooLarge):
        rules.created(Create(length=101), upload_id="u", limits=LIMITS, now=5.0)


# Joining


def join(partials: Sequence[Upload | None], limits: Limits = LIMITS) -> Upload:
    command = Create(length=None, metadata="mine", concat=FINAL)
    return rules.joined(command, FINAL, partials, upload_id="u", limits=limits, now=5.0)


@pytest.mark.requirement("CONC-04", "CONC-10", "CONC-12", "CONC-13")
def test_a_final_upload_is_as_long_as_its_partial_uploads() -> None:
    final = join([A, B])
    assert (final.length, final.kind, final.metadata, final.status) == (7, Kind.FINAL, "mine", Status.ACTIVE)


@pytest.mark.requirement("CONC-21")
def test_a_final_upload_has_no_length_while_one_is_unknown() -> None:
    assert join([A, replace(B, length=None)]).length is None


@pytest.mark.requirement("CONC-15")
def test_a_partial_upload_counts_as_often_as_it_is_named() -> None:
    assert join([A, A]).length == 6


@pytest.mark.requirement("CONC-26")
def test_a_final_upload_beyond_the_maximum_is_refused() -> None:
    assert join([A, B], Limits(max_size=7)).length == 7
    with pytest.raises(TooLarge):
        join([A, B], Limits(max_size=6))


@pytest.mark.parametrize(
    "partial",
    [None, NEW, replace(NEW, concat=FINAL), B.to(Status.CANCELLED, now=1.0), B.kept_until(4.0)],
    ids=["missing", "whole", "final", "cancelled", "expired"],
)
def test_only_partial_uploads_are_joined(partial: Upload | None) -> None:
    with pytest.raises(BadConcat, match="Upload-Concat names b"):
        join([A, partial])


# Appending


@pytest.mark.requirement("CORE-30")
@pytest.mark.parametrize(
    ("upload", "command"),
    [
        (NEW, append(0, 10)),
        (AT_FOUR, append(4, 6)),
        (AT_FOUR, append(4, 1)),
        (AT_FOUR, append(4, 0)),
        (AT_FOUR, append(4, None)),
        (FULL, append(10, 0)),
        (DEFERRED, append(0, 100)),
        (DEFERRED, append(0, 10, length=10)),
        (DEFERRED.advanced(4, now=1.0), append(4, 0, length=4)),
        (DEFERRED, append(0, 0, length=100)),
    ],
)
def test_what_may_be_appended(upload: Upload, command: Append) -> None:
    assert check(upload, command) is upload


@pytest.mark.requirement("CORE-30", "CREA-09", "CREA-25")
@pytest.mark.parametrize(
    ("upload", "command", "refusal"),
    [
        (AT_FOUR, append(0, 4), OffsetMismatch),
        (AT_FOUR, append(5, 1), OffsetMismatch),
        (FULL, append(0, 10), OffsetMismatch),
        (FULL, append(11, 0), OffsetMismatch),
        (FULL, append(10, 1), LengthExceeded),
        (AT_FOUR, append(4, 7), LengthExceeded),
        (DEFERRED, append(0, 11, length=10), LengthExceeded),
        (DEFERRED, append(0, 101), TooLarge),
        (DEFERRED, append(0, 0, length=101), TooLarge),
        (AT_FOUR, append(4, 1, length=10), LengthFixed),
        (AT_FOUR, append(4, 1, length=11), LengthFixed),
        (DEFERRED.advanced(4, now=1.0), append(4, 0, length=3), LengthFixed),
    ],
)
def test_what_may_not_be_appended(upload: Upload, command: Append, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal) as caught:
        check(upload, command)
    assert caught.value.upload is upload


@pytest.mark.requirement("CONC-16")
@pytest.mark.parametrize("command", [append(0, 1), append(9, 1), append(0, 0), append(0, 0, length=3), append(0, 999)])
@pytest.mark.parametrize("final", [replace(NEW, concat=FINAL), replace(NEW, concat=FINAL).advanced(10, now=1.0)])
def test_nothing_is_appended_to_a_final_upload(final: Upload, command: Append) -> None:
    with pytest.raises(FinalUploadFixed):
        check(final, command)


@pytest.mark.requirement("CORE-37", "EXP-07", "EXP-08", "TERM-04")
@pytest.mark.parametrize(("status", "refusal"), [(Status.CANCELLED, UploadNotFound), (Status.EXPIRED, UploadExpired)])
def test_gone_comes_before_everything_else(status: Status, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        check(replace(NEW, concat=FINAL).to(status, now=1.0), append(99, 99, length=99))


@pytest.mark.parametrize(
    ("upload", "length", "bound", "refusal"),
    [
        (NEW, None, 10, LengthExceeded),
        (DEFERRED, 7, 7, LengthExceeded),
        (DEFERRED, None, 100, TooLarge),
    ],
)
def test_no_byte_passes_the_bound(upload: Upload, length: int | None, bound: int, refusal: type[Refusal]) -> None:
    command = append(0, None, length=length)
    assert rules.bound(upload, command, LIMITS) == bound
    assert isinstance(rules.overflow(upload, command), refusal)


def test_there_may_be_no_bound() -> None:
    assert rules.bound(DEFERRED, append(0, None), Limits(max_size=None)) is None


def every_upload() -> Iterator[Upload]:
    bases = (
        NEW,
        AT_FOUR,
        FULL,
        DEFERRED,
        DEFERRED.advanced(4, now=1.0),
        AT_FOUR.to(Status.CANCELLED, now=2.0),
        AT_FOUR.to(Status.EXPIRED, now=2.0),
    )
    lease = Lease(id="l", holder="a", ttl=3.0)
    for base, expires_at, concat, place, held in product(
        bases, (None, 5.0, 6.0), (None, PARTIAL, FINAL), (None, "here", "there"), (None, lease)
    ):
        yield replace(base, expires_at=expires_at, concat=concat, place=place, lease=held)


@pytest.mark.parametrize("size", [None, 0, 6, 7, 10, 11, 96, 97, 100, 101])
@pytest.mark.parametrize("offset", [0, 4, 10])
def test_what_is_wanted_is_what_may_be_appended_to_at_once(offset: int, size: int | None) -> None:
    command = append(offset, size)
    want = rules.wanted(command, place="here", limits=LIMITS, now=5.0)
    assert want is not None
    for upload in every_upload():
        try:
            may = not check(upload, command).completed
        except Refusal:
            may = False
        at_once = upload.lease is None and upload.place in (None, "here")
        assert want.met_by(upload) == (may and at_once), upload


@pytest.mark.parametrize("command", [append(0, 10, length=10), append(2**63 - 1, 1), append(1, 2**63 - 1)])
def test_where_a_length_is_declared_or_no_upload_is_so_long_nothing_is_wanted_at_once(command: Append) -> None:
    assert rules.wanted(command, place="here", limits=LIMITS, now=5.0) is None


def test_where_the_bytes_are_to_be_has_to_be_known() -> None:
    assert rules.wanted(append(0, 10), place=None, limits=LIMITS, now=5.0) is None


# Counting


@pytest.mark.requirement("CORE-36", "CREA-08", "EXP-06")
def test_counting_moves_the_offset_the_length_and_the_expiry() -> None:
    moved = rules.counted(DEFERRED, 4, limits=LIMITS, now=5.0, length=6)
    assert (moved.offset, moved.length, moved.expires_at, moved.completed) == (4, 6, 65.0, False)
    done = rules.counted(moved, 6, limits=LIMITS, now=6.0)
    assert (done.completed, done.expires_at) == (True, None)
    assert done.parts == (Part(token=1, start=0, stop=6),)


@given(st.lists(st.none() | st.integers(0, 100)))
def test_a_sum_is_unknown_while_one_of_its_numbers_is(lengths: list[int | None]) -> None:
    if None in lengths:
        assert rules.total(lengths) is None
    else:
        assert rules.total(lengths) == sum(length or 0 for length in lengths)
