"""An upload as a value: each change by itself, and what holds after any row of changes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from tusserver.protocol.upload import (
    ANYWHERE,
    TOMBSTONES,
    TRANSITIONS,
    Concat,
    InvalidTransition,
    Kind,
    Lease,
    Part,
    Status,
    Upload,
)

NEW = Upload(id="u", created_at=1.0, updated_at=1.0, length=10)
DEFERRED = replace(NEW, length=None)
HELD = NEW.acquired(lease_id="one", holder="here", ttl=3.0)


def at(status: Status) -> Upload:
    """An upload that has come to this status as uploads do."""
    return NEW if status is Status.ACTIVE else NEW.to(status, now=2.0)


# What can be read off


@pytest.mark.requirement("CREA-31")
def test_a_new_upload_is_at_the_start() -> None:
    assert (NEW.offset, NEW.remaining, NEW.kind, NEW.completed, NEW.leased) == (0, 10, Kind.WHOLE, False, False)
    assert DEFERRED.remaining is None


@pytest.mark.parametrize("kind", [Kind.PARTIAL, Kind.FINAL])
def test_the_kind_is_what_concat_says(kind: Kind) -> None:
    assert replace(NEW, concat=Concat(raw="", kind=kind)).kind is kind


def test_the_offset_is_where_the_last_part_stops() -> None:
    parts = (Part(token=1, start=0, stop=3), Part(token=3, start=3, stop=7))
    upload = replace(NEW, parts=parts)
    assert (upload.offset, upload.remaining, parts[1].size) == (7, 3, 4)


def test_a_value_with_other_fields_leaves_the_first_as_it_was() -> None:
    assert NEW.but(length=3) == replace(NEW, length=3)
    assert NEW.length == 10
    with pytest.raises(TypeError, match="has no field 'lenght'"):
        NEW.but(lenght=3)


def test_values_are_the_same_whenever_they_were_read() -> None:
    assert NEW.same_as(replace(NEW, as_of=5.0))
    assert not NEW.same_as(replace(NEW, version=1))


# Leases


def test_a_lease_is_acquired_for_the_store_to_stamp() -> None:
    assert HELD.lease == Lease(id="one", holder="here", ttl=3.0)
    assert HELD.token == NEW.token and HELD.leased
    assert HELD.held_by("one") and not HELD.held_by("two") and not NEW.held_by("one")


@pytest.mark.parametrize(("as_of", "leased"), [(9.9, True), (10.0, False), (11.0, False)])
def test_a_lease_runs_out_on_the_clock_of_the_store(as_of: float, leased: bool) -> None:
    upload = replace(HELD, lease=Lease(id="one", holder="here", ttl=3.0, expires_at=10.0), as_of=as_of)
    assert upload.leased is leased
    assert upload.held_by("one")


def test_a_released_lease_leaves_its_token_to_the_next_writer() -> None:
    again = HELD.released().acquired(lease_id="two", holder="there", ttl=3.0)
    assert HELD.released().lease is None
    assert again.token == HELD.token and again.held_by("two")


def test_a_lease_that_was_not_released_costs_its_token() -> None:
    taken = HELD.acquired(lease_id="two", holder="there", ttl=3.0)
    assert taken.token == HELD.token + 1 and taken.held_by("two")
    assert (HELD.fenced().token, HELD.fenced().lease) == (HELD.token + 1, None)


def test_a_renewed_lease_is_stamped_anew() -> None:
    assert HELD.lease is not None
    stamped = replace(HELD, lease=replace(HELD.lease, expires_at=4.0))
    assert stamped.renewed() == HELD


@pytest.mark.parametrize("contest", [0, 7, ANYWHERE])
def test_a_contested_lease_is_left_to_run_out(contest: int) -> None:
    assert HELD.lease is not None
    stamped = replace(HELD, lease=replace(HELD.lease, expires_at=4.0)).contested(contest)
    assert stamped.lease is not None and stamped.lease.contest == contest
    assert stamped.renewed() == stamped
    assert stamped.uncontested().renewed() == HELD


def test_what_needs_a_lease_is_a_defect_without_one() -> None:
    for change in (NEW.renewed, lambda: NEW.contested(0), NEW.uncontested):
        with pytest.raises(InvalidTransition):
            change()


# Bytes


@pytest.mark.requirement("CORE-36")
def test_bytes_under_one_token_are_one_part() -> None:
    upload = NEW.advanced(3, now=2.0).advanced(7, now=3.0)
    assert upload.parts == (Part(token=1, start=0, stop=7),)
    assert upload.updated_at == 3.0 and upload.status is Status.ACTIVE


def test_bytes_under_another_token_are_another_part() -> None:
    upload = NEW.advanced(3, now=2.0).fenced().advanced(7, now=3.0).advanced(8, now=3.0)
    assert upload.parts == (Part(token=1, start=0, stop=3), Part(token=2, start=3, stop=8))


def test_no_bytes_are_no_part() -> None:
    assert NEW.advanced(0, now=2.0).parts == ()
    assert NEW.advanced(3, now=2.0).fenced().advanced(3, now=2.0).parts == (Part(token=1, start=0, stop=3),)


def test_the_last_byte_completes() -> None:
    upload = NEW.advanced(10, now=2.0)
    assert (upload.completed, upload.completed_at, upload.ended_at) == (True, 2.0, None)


@pytest.mark.requirement("CREA-12", "CREA-13")
def test_an_upload_of_no_bytes_is_complete_at_once() -> None:
    assert replace(NEW, length=0).advanced(0, now=2.0).completed


@pytest.mark.parametrize("offset", [-1, 2, 11])
def test_the_offset_goes_neither_back_nor_beyond_the_length(offset: int) -> None:
    with pytest.raises(InvalidTransition):
        NEW.advanced(3, now=2.0).advanced(offset, now=3.0)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.EXPIRED])
def test_only_an_active_upload_takes_bytes(status: Status) -> None:
    with pytest.raises(InvalidTransition):
        at(status).advanced(5, now=3.0)


@pytest.mark.requirement("CREA-08")
def test_a_deferred_length_is_declared() -> None:
    upload = DEFERRED.advanced(3, now=2.0).with_length(5, now=3.0)
    assert (upload.length, upload.remaining, upload.completed) == (5, 2, False)
    assert DEFERRED.advanced(3, now=2.0).with_length(3, now=3.0).completed


@pytest.mark.requirement("CREA-09")
def test_a_length_is_declared_once() -> None:
    with pytest.raises(InvalidTransition):
        NEW.with_length(10, now=2.0)
    with pytest.raises(InvalidTransition):
        DEFERRED.advanced(3, now=2.0).with_length(2, now=2.0)


# Living and ending


def test_the_transitions() -> None:
    assert {status: set(after) for status, after in TRANSITIONS.items()} == {
        Status.ACTIVE: {Status.COMPLETED, Status.CANCELLED, Status.EXPIRED},
        Status.COMPLETED: {Status.CANCELLED, Status.EXPIRED},
        Status.CANCELLED: set(),
        Status.EXPIRED: set(),
    }
    assert {status for status, after in TRANSITIONS.items() if not after} == TOMBSTONES


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_a_status_follows_as_the_table_says(before: Status, after: Status) -> None:
    if after in TRANSITIONS[before]:
        assert at(before).to(after, now=3.0).status is after
    else:
        with pytest.raises(InvalidTransition):
            at(before).to(after, now=3.0)


@pytest.mark.parametrize("status", sorted(TOMBSTONES))
def test_a_tombstone_says_when_and_holds_no_lease(status: Status) -> None:
    ended = HELD.to(status, now=3.0)
    assert (ended.ended_at, ended.updated_at, ended.lease, ended.completed_at) == (3.0, 3.0, None, None)


def test_a_completed_upload_keeps_its_lease_for_who_completed_it() -> None:
    assert HELD.advanced(10, now=2.0).held_by("one")


def test_expiry_and_emptying_are_noted() -> None:
    assert NEW.kept_until(5.0).expires_at == 5.0
    assert NEW.kept_until(5.0).kept_until(None).expires_at is None
    assert NEW.stored and not NEW.emptied().stored


def test_a_draft_is_named_and_described() -> None:
    draft = NEW.named("v").described(metadata="a YQ==", owner="me")
    assert (draft.id, draft.metadata, draft.owner) == ("v", "a YQ==", "me")


# What holds after any row of changes


class Lives(RuleBasedStateMachine):
    """Any changes in any order; those that are not allowed change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.upload = DEFERRED
        self.before = DEFERRED
        self.now = 1.0

    def become(self, upload: Upload) -> None:
        self.before, self.upload = self.upload, upload
        self.now += 1.0

    @rule(size=st.integers(0, 5))
    @precondition(lambda self: self.upload.status is Status.ACTIVE)
    def advance(self, size: int) -> None:
        remaining = self.upload.remaining
        size = size if remaining is None else min(size, remaining)
        self.become(self.upload.advanced(self.upload.offset + size, now=self.now))

    @rule(more=st.integers(0, 20))
    @precondition(lambda self: self.upload.status is Status.ACTIVE and self.upload.length is None)
    def declare(self, more: int) -> None:
        self.become(self.upload.with_length(self.upload.offset + more, now=self.now))

    @rule(lease_id=st.sampled_from("abc"))
    def acquire(self, lease_id: str) -> None:
        unreleased = self.upload.lease is not None
        self.become(self.upload.acquired(lease_id=lease_id, holder="here", ttl=3.0))
        assert self.upload.token == self.before.token + unreleased

    @rule()
    def release(self) -> None:
        self.become(self.upload.released())

    @rule()
    def fence(self) -> None:
        self.become(self.upload.fenced())

    @rule(offset=st.integers(ANYWHERE, 20))
    @precondition(lambda self: self.upload.lease is not None)
    def contest(self, offset: int) -> None:
        self.become(self.upload.contested(offset).renewed())

    @rule(status=st.sampled_from(sorted(TOMBSTONES)))
    def end(self, status: Status) -> None:
        try:
            self.become(self.upload.to(status, now=self.now))
        except InvalidTransition:
            assert self.upload.status in TOMBSTONES

    @rule(offset=st.integers(-1, 30))
    def jump(self, offset: int) -> None:
        with contextlib.suppress(InvalidTransition):
            self.become(self.upload.advanced(offset, now=self.now))

    @invariant()
    def what_was_counted_stays(self) -> None:
        assert self.upload.offset >= self.before.offset
        assert self.upload.token >= self.before.token
        assert self.before.length in (None, self.upload.length)
        for old, new in zip(self.before.parts, self.upload.parts, strict=False):
            assert (old.token, old.start) == (new.token, new.start) and old.stop <= new.stop

    @invariant()
    def the_parts_lie_end_to_end(self) -> None:
        position = token = 0
        for part in self.upload.parts:
            assert part.start == position and part.size > 0 and part.token > token
            position, token = part.stop, part.token
        assert position == self.upload.offset and token <= self.upload.token

    @invariant()
    def complete_means_every_byte(self) -> None:
        if self.upload.status not in TOMBSTONES:
            assert self.upload.completed == (self.upload.remaining == 0)
        assert self.upload.length is None or self.upload.offset <= self.upload.length

    @invariant()
    def the_status_went_where_it_may(self) -> None:
        before, after = self.before.status, self.upload.status
        assert after is before or after in TRANSITIONS[before]


TestLives = Lives.TestCase
