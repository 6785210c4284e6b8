"""What every session store has to do (``tusserver.stores.base.SessionStore``)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator

import pytest
from msgspec.structs import replace

from tests.stores.sessions import Pair, an_upload, found, leased
from tusserver.protocol.refusals import UploadNotFound
from tusserver.protocol.rules import Want
from tusserver.protocol.timeline import MOMENTS
from tusserver.protocol.upload import Concat, Kind, Lease, Status, Upload
from tusserver.stores.base import NOTE, Conflict, Query, SessionStore, Tally

pytestmark = pytest.mark.anyio

FULL = replace(
    leased(
        an_upload(
            length=2**53 + 1,
            metadata="filename \u00fc\u4e16\U0001f600,flag",
            owner="o'brien\"",
            concat=Concat(raw="final;/files/a /files/b", kind=Kind.FINAL, parts=("a", "b")),
            expires_at=99.25,
        )
    )
    .advanced(5, now=11.0)
    .fenced()
    .advanced(2**52, now=0.1 + 0.2),
    completed_at=12.5,
    ended_at=13.5,
    stored=False,
    place="here",
)


async def test_a_new_upload_is_version_one_and_comes_back_with_every_field(pair: Pair) -> None:
    stored = await pair.one.create(replace(FULL, version=7, as_of=3.0))
    assert stored.version == 1
    moments = tuple(replace(moment, at=pair.clock.now) for moment in FULL.timeline)
    assert [moment.what for moment in moments] == ["taken", "received", "fenced", "received"]
    assert stored.same_as(replace(FULL, version=1, updated_at=0.3, timeline=moments))  # times to the millisecond
    assert (await pair.other.get(FULL.id)) == stored
    assert stored.as_of == pair.clock.now


async def test_an_id_is_given_once(pair: Pair) -> None:
    first = await pair.one.create(an_upload(length=1))
    with pytest.raises(Conflict):
        await pair.other.create(an_upload(length=2))
    assert (await pair.one.get("u")).same_as(first)


async def test_of_many_who_create_one_id_one_wins(pair: Pair) -> None:
    stores = [pair.one, pair.other] * 10
    made = await asyncio.gather(
        *(store.create(an_upload(length=n)) for n, store in enumerate(stores)), return_exceptions=True
    )
    winners = [upload for upload in made if isinstance(upload, Upload)]
    assert len(winners) == 1
    assert sum(isinstance(error, Conflict) for error in made) == 19
    assert (await pair.one.get("u")).same_as(winners[0])


async def test_an_unknown_upload_is_not_found(pair: Pair) -> None:
    with pytest.raises(UploadNotFound):
        await pair.one.get("nobody")


async def test_ids_differ_by_case(pair: Pair) -> None:
    await pair.one.create(an_upload("Ab"))
    await pair.one.create(an_upload("aB"))
    with pytest.raises(UploadNotFound):
        await pair.one.get("AB")


async def test_a_swap_moves_the_version_and_is_seen_at_once(pair: Pair) -> None:
    one = await pair.one.create(an_upload())
    for n in range(1, 20):
        writer, reader = (pair.one, pair.other) if n % 2 else (pair.other, pair.one)
        before = await writer.get("u")
        after = await writer.swap(before, replace(before.advanced(n, now=n), version=99))
        assert after.version == one.version + n
        assert await reader.get("u") == after


async def test_a_swap_from_an_older_version_is_a_conflict_and_changes_nothing(pair: Pair) -> None:
    old = await pair.one.create(an_upload())
    new = await pair.other.swap(old, old.advanced(5, now=1.0))
    with pytest.raises(Conflict):
        await pair.one.swap(old, old.advanced(9, now=1.0))
    with pytest.raises(Conflict):
        await pair.one.swap(replace(new, version=new.version + 1), new.advanced(9, now=1.0))
    assert (await pair.one.get("u")).same_as(new)


async def test_a_swap_of_what_is_gone_is_not_found_and_does_not_bring_it_back(pair: Pair) -> None:
    old = await pair.one.create(an_upload())
    await pair.other.delete("u")
    with pytest.raises(UploadNotFound):
        await pair.one.swap(old, old.advanced(5, now=1.0))
    with pytest.raises(UploadNotFound):
        await pair.one.get("u")


async def test_deleting_twice_is_fine_and_touches_nobody_else(pair: Pair) -> None:
    await pair.one.create(an_upload("a"))
    await pair.one.create(an_upload("b"))
    await pair.one.delete("a")
    await pair.other.delete("a")
    assert await found(pair.one) == ["b"]


async def add_one(store: SessionStore) -> int:
    """Move the offset by one, however often somebody else is faster; the version that this made."""
    while True:
        upload = await store.get("u")
        with contextlib.suppress(Conflict):
            return (await store.swap(upload, upload.advanced(upload.offset + 1, now=1.0))).version


async def test_two_hundred_tasks_swapping_one_upload_lose_nothing(pair: Pair) -> None:
    await pair.one.create(an_upload())
    versions = await asyncio.gather(*(add_one(store) for store in [pair.one, pair.other] * 100))
    assert sorted(versions) == list(range(2, 202))
    last = await pair.other.get("u")
    assert (last.offset, last.version) == (200, 201)


async def test_of_many_who_swap_one_version_one_wins(pair: Pair) -> None:
    old = await pair.one.create(an_upload())
    stores = [pair.one, pair.other] * 50
    ends = await asyncio.gather(
        *(store.swap(old, old.advanced(n + 1, now=1.0)) for n, store in enumerate(stores)), return_exceptions=True
    )
    winners = [end for end in ends if isinstance(end, Upload)]
    assert len(winners) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 99
    assert (await pair.one.get("u")).same_as(winners[0])


# Leases and the store's clock


async def test_a_lease_is_stamped_on_the_stores_clock_and_runs_out_there(pair: Pair) -> None:
    now = pair.clock.now
    stored = await pair.one.create(leased(an_upload(), ttl=3.0))
    assert stored.lease is not None
    assert stored.lease.expires_at == now + 3.0
    assert stored.leased
    pair.clock.now = now + 2.75
    assert (await pair.other.get("u")).leased
    pair.clock.now = now + 3.0
    run_out = await pair.other.get("u")
    assert run_out.as_of == now + 3.0
    assert not run_out.leased
    assert run_out.lease == stored.lease


@pytest.mark.parametrize("ttl", [3.0005, 0.0304999, 1e-5])
async def test_a_lease_lasts_whole_milliseconds(pair: Pair, ttl: float) -> None:
    stored = await pair.one.create(leased(an_upload(), ttl=ttl))
    assert await pair.other.get("u") == stored
    await pair.one.create(WANTED.named("v"))
    taken = await pair.one.take("v", WANT, replace(LEASE, ttl=ttl))
    assert await pair.other.get("v") == taken
    assert stored.lease is not None and taken.lease is not None
    assert stored.lease.expires_at == taken.lease.expires_at


async def test_a_swap_stamps_only_the_lease_that_asks_for_it(pair: Pair) -> None:
    now = pair.clock.now
    stored = await pair.one.create(leased(an_upload(), ttl=3.0))
    pair.clock.now = now + 1.0
    contested = await pair.one.swap(stored, stored.contested(0))
    assert contested.lease is not None
    assert contested.lease.expires_at == now + 3.0
    renewed = await pair.one.swap(contested, contested.uncontested().renewed())
    assert renewed.lease is not None
    assert renewed.lease.expires_at == now + 4.0
    assert renewed.as_of == now + 1.0
    assert await pair.other.get("u") == renewed
    free = await pair.other.swap(renewed, renewed.released())
    assert free.lease is None


WANT = Want(offset=5, size=3, deferred=False, now=50.0, place="here")
WANTED = an_upload(length=9, place="here", expires_at=60.0).advanced(5, now=11.0, by="pod-b")
LEASE = Lease(id="lease-of-pod-a", holder="pod-a", ttl=3.0)


@pytest.mark.parametrize(
    "upload",
    [
        WANTED,
        replace(WANTED, length=8, place=None, expires_at=None),
        replace(WANTED, concat=Concat(raw="partial", kind=Kind.PARTIAL), timeline=()),
        WANTED.noted("taken", by="$holder"),
    ],
)
async def test_what_is_as_wanted_is_leased_as_by_a_swap(pair: Pair, upload: Upload) -> None:
    await pair.one.create(upload)
    twin = await pair.one.create(upload.named("v"))
    pair.clock.now += 1.5
    swapped = await pair.one.swap(twin, leased(twin))
    taken = await pair.other.take("u", WANT, LEASE)
    assert taken == swapped.named("u")
    assert await pair.one.get("u") == taken


@pytest.mark.parametrize(
    "upload",
    [
        WANTED.advanced(6, now=12.0),
        replace(WANTED, parts=()),
        replace(WANTED, length=7),
        replace(WANTED, length=None),
        replace(WANTED, expires_at=50.0),
        replace(WANTED, place="there"),
        replace(WANTED, concat=Concat(raw="final;a b", kind=Kind.FINAL, parts=("a", "b"))),
        leased(WANTED, "pod-b"),
        replace(WANTED, length=5, status=Status.COMPLETED),
        WANTED.to(Status.CANCELLED, now=12.0),
        WANTED.to(Status.EXPIRED, now=12.0),
    ],
)
async def test_what_is_not_as_wanted_is_only_looked_at(pair: Pair, upload: Upload) -> None:
    stored = await pair.one.create(upload)
    assert await pair.other.take("u", WANT, LEASE) == stored
    assert await pair.one.get("u") == stored


async def test_room_where_the_length_is_not_known_yet(pair: Pair) -> None:
    stored = await pair.one.create(replace(WANTED, length=None))
    assert await pair.other.take("u", WANT, LEASE) == stored
    assert (await pair.other.take("u", replace(WANT, deferred=True), LEASE)).held_by(LEASE.id)


async def test_a_lease_that_has_run_out_is_not_taken_so(pair: Pair) -> None:
    await pair.one.create(leased(WANTED, "pod-b", ttl=3.0))
    pair.clock.now += 5.0
    assert (await pair.one.take("u", WANT, LEASE)).held_by("lease-of-pod-b")


async def test_taking_what_is_not_there(pair: Pair) -> None:
    with pytest.raises(UploadNotFound):
        await pair.one.take("nobody", WANT, LEASE)


async def test_of_many_who_take_an_upload_one_has_it_and_all_see_who(pair: Pair) -> None:
    await pair.one.create(WANTED)
    stores = [pair.one, pair.other] * 20
    leases = [replace(LEASE, id=f"lease-{n}") for n in range(len(stores))]
    seen = await asyncio.gather(
        *(store.take("u", WANT, lease) for store, lease in zip(stores, leases, strict=True)), return_exceptions=True
    )
    uploads = [upload for upload in seen if isinstance(upload, Upload)]
    assert len(uploads) == len(stores)
    assert len([upload for upload, lease in zip(uploads, leases, strict=True) if upload.held_by(lease.id)]) == 1
    assert len({upload.lease.id for upload in uploads if upload.lease is not None}) == 1
    assert (await pair.other.get("u")).version == 2


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_long_life_taking_is_no_other_than_swapping(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    taken = await pair.one.create(an_upload("u", length=1000, place="here"))
    swapped = await pair.one.create(an_upload("v", length=1000, place="here"))
    for _ in range(60):
        pair.clock.now += 0.25
        pod, why = chance.choice(["pod-a", "pod-b", "pod-c"]), chance.choice([None, None, "client_gone"])
        more = chance.randrange(3)
        lease = Lease(id=f"lease-of-{pod}", holder=pod, ttl=3.0)
        taken = await pair.other.take("u", replace(WANT, offset=taken.offset), lease)
        swapped = await pair.one.swap(swapped, leased(swapped, pod))
        assert taken.named("v") == swapped
        done = [each.advanced(each.offset + more, now=12.0).released(why) for each in (taken, swapped)]
        taken, swapped = await pair.one.swap(taken, done[0]), await pair.one.swap(swapped, done[1])
    assert len(taken.timeline) == MOMENTS


async def test_find_hands_out_the_stores_clock(pair: Pair) -> None:
    await pair.one.create(leased(an_upload(), ttl=3.0))
    pair.clock.now += 5.0
    (upload,) = [upload async for upload in pair.other.find(Query())]
    assert upload.as_of == pair.clock.now
    assert not upload.leased


# Finding


async def crowd(store: SessionStore) -> None:
    """Uploads that differ in everything that a query can ask for; their ids tell the order."""
    partial = Concat(raw="partial", kind=Kind.PARTIAL)
    final = Concat(raw="final;a b", kind=Kind.FINAL, parts=("a", "b"))
    crowd = [
        an_upload("a-plain", created_at=1.0, length=10).advanced(4, now=50.0),
        leased(an_upload("b-held", created_at=2.0, expires_at=100.0)),
        leased(an_upload("c-contested", created_at=3.0, concat=partial)).contested(0),
        leased(an_upload("d-elsewhere", created_at=4.0, expires_at=200.0), "pod-b").contested(-1),
        an_upload("e-final", created_at=5.0, concat=final),
        an_upload("f-complete", created_at=6.0, length=3).advanced(3, now=60.0),
        an_upload("g-cancelled", created_at=7.0, length=9).advanced(2, now=7.0).to(Status.CANCELLED, now=70.0),
        an_upload("h-erased", created_at=8.0, expires_at=80.0, length=9)
        .advanced(1, now=80.0)
        .to(Status.EXPIRED, now=90.0)
        .emptied(),
    ]
    for upload in reversed(crowd):
        await store.create(upload)


QUERIES = {
    "everything": (Query(), "abcdefgh"),
    "statuses": (Query(statuses=frozenset({Status.COMPLETED, Status.CANCELLED})), "fg"),
    "no status": (Query(statuses=frozenset()), ""),
    "kind whole": (Query(kind=Kind.WHOLE), "abdfgh"),
    "kind final": (Query(kind=Kind.FINAL), "e"),
    "holder": (Query(holder="pod-a"), "bc"),
    "unknown holder": (Query(holder="pod-c"), ""),
    "contested": (Query(contested=True), "cd"),
    "not contested": (Query(contested=False), "abefgh"),
    "stored": (Query(stored=True), "abcdefg"),
    "not stored": (Query(stored=False), "h"),
    "expires": (Query(expires_before=200.0), "bh"),
    "expires, later": (Query(expires_before=200.5), "bdh"),
    "ended": (Query(ended_before=90.0), "g"),
    "updated": (Query(updated_before=50.0), "bcde"),
    "leased": (Query(leased=True), "bcd"),
    "not leased": (Query(leased=False), "aefgh"),
    "created from": (Query(created_from=6.0), "fgh"),
    "beyond": (Query(beyond=(5.0, "e-final")), "fgh"),
    "beyond, same age": (Query(beyond=(5.0, "e")), "efgh"),
    "newest first": (Query(newest_first=True), "hgfedcba"),
    "newest first, beyond": (Query(newest_first=True, beyond=(5.0, "e-final")), "dcba"),
    "newest first, of some": (Query(newest_first=True, statuses=frozenset({Status.ACTIVE}), created_from=2.0), "edcb"),
    "all at once": (Query(statuses=frozenset({Status.ACTIVE}), holder="pod-a", contested=True), "c"),
    "to expire": (Query(statuses=frozenset({Status.ACTIVE, Status.COMPLETED}), expires_before=150.0), "b"),
    "to erase": (Query(statuses=frozenset({Status.CANCELLED, Status.EXPIRED}), stored=True), "g"),
    "to join": (Query(statuses=frozenset({Status.ACTIVE}), kind=Kind.FINAL), "e"),
    "joined": (Query(statuses=frozenset({Status.COMPLETED}), kind=Kind.FINAL), ""),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_find_answers_each_question_oldest_first(pair: Pair, name: str) -> None:
    query, expected = QUERIES[name]
    await crowd(pair.one)
    assert "".join(upload_id[0] for upload_id in await found(pair.other, query)) == expected


async def test_find_follows_what_a_swap_changed(pair: Pair) -> None:
    upload = await pair.one.create(leased(an_upload(expires_at=5.0)))
    assert await found(pair.other, Query(holder="pod-a", expires_before=9.0)) == ["u"]
    upload = await pair.one.swap(upload, upload.kept_until(20.0))
    assert await found(pair.other, Query(expires_before=9.0)) == []
    upload = await pair.one.swap(upload, upload.to(Status.CANCELLED, now=30.0))
    assert await found(pair.other, Query(holder="pod-a")) == []
    assert await found(pair.other, Query(ended_before=31.0, stored=True)) == ["u"]
    await pair.one.swap(upload, upload.emptied())
    assert await found(pair.other, Query(ended_before=31.0, stored=True)) == []


async def test_of_one_age_find_finds_each_once(pair: Pair) -> None:
    ids = [f"{n:03d}" for n in range(501)]
    await asyncio.gather(*(pair.one.create(an_upload(upload_id)) for upload_id in reversed(ids)))
    assert await found(pair.other) == ids


async def test_of_one_age_newest_first_finds_each_once(pair: Pair) -> None:
    ids = [f"{n:03d}" for n in range(501)]
    await asyncio.gather(*(pair.one.create(an_upload(upload_id)) for upload_id in ids))
    assert await found(pair.other, Query(newest_first=True)) == ids[::-1]


async def test_what_changes_during_find_costs_nobody_else_a_place(pair: Pair) -> None:
    ids = [f"{n:03d}" for n in range(1000)]
    await asyncio.gather(*(pair.one.create(an_upload(i, created_at=1000.0 + int(i))) for i in ids))
    gone, moved = ids[700:750], ids[750:800]
    seen = []
    async for upload in pair.other.find(Query(statuses=frozenset({Status.ACTIVE}))):
        assert upload.status is Status.ACTIVE
        seen.append(upload.id)
        if len(seen) % 3 == 0:  # it drops out of the query behind the place where find is
            await pair.one.swap(upload, upload.to(Status.CANCELLED, now=1.0))
        if upload.id == "100":
            await asyncio.gather(*(pair.one.delete(i) for i in gone))
            for i in moved:
                ahead = await pair.one.get(i)
                await pair.one.swap(ahead, ahead.to(Status.CANCELLED, now=1.0))
            await pair.one.create(an_upload("late", created_at=1.0))
    assert [i for i in seen if i not in (*gone, *moved)] == ids[:700] + ids[800:]


async def test_leaving_find_halfway_leaves_the_store_working(pair: Pair) -> None:
    await asyncio.gather(*(pair.one.create(an_upload(f"{n:03d}")) for n in range(450)))
    async with contextlib.aclosing(pair.one.find(Query())) as uploads:  # type: ignore[type-var]
        async for _ in uploads:
            break
    await pair.other.delete("000")
    assert len(await found(pair.one)) == 449


# Counting, answering


async def test_tally(pair: Pair) -> None:
    assert dict(await pair.one.tally()) == {}
    await crowd(pair.one)
    assert dict(await pair.other.tally()) == {
        Status.ACTIVE: Tally(count=5, held=4, remaining=6),
        Status.COMPLETED: Tally(count=1, held=3, remaining=0),
        Status.CANCELLED: Tally(count=1, held=2, remaining=7),
        Status.EXPIRED: Tally(count=1, held=0, remaining=8),
    }


async def test_ping(pair: Pair) -> None:
    await pair.one.ping()


async def test_tally_of_a_period(pair: Pair) -> None:
    await crowd(pair.one)
    tallies = await pair.other.tally(created_from=7.0)
    assert tallies == {
        Status.CANCELLED: Tally(count=1, held=2, remaining=7),
        Status.EXPIRED: Tally(count=1, held=0, remaining=8),
    }
    assert dict(await pair.other.tally(created_from=9.0)) == {}


# The place of the bytes


async def test_looking_at_the_claim_claims_nothing(pair: Pair) -> None:
    assert await pair.one.claimed_place() is None
    await pair.one.claim_place("here")
    assert await pair.other.claimed_place() == "here"


async def test_the_first_claim_stays(pair: Pair) -> None:
    assert await pair.one.claim_place("here") == "here"
    assert await pair.other.claim_place("there") == "here"
    assert await pair.one.claim_place("here") == "here"


async def test_of_many_first_claims_one_wins(pair: Pair) -> None:
    stores = [pair.one, pair.other] * 10
    claims = await asyncio.gather(*(store.claim_place(f"place-{n}") for n, store in enumerate(stores)))
    assert len(set(claims)) == 1


async def test_a_claim_by_force_replaces_the_first(pair: Pair) -> None:
    await pair.one.claim_place("here")
    assert await pair.other.claim_place("there", force=True) == "there"
    assert await pair.one.claim_place("here") == "there"


# Notes


async def test_a_note_is_seen_on_its_board_and_gives_way_to_the_next(pair: Pair) -> None:
    assert await pair.one.pinned("errors") == {}
    await pair.one.pin("errors", "pod-a", '{"$set": "$x \u00fc\u4e16"}', 60)
    await pair.other.pin("errors", "pod-b", "", 60)
    await pair.one.pin("watched", "pod-a", "elsewhere", 60)
    assert await pair.other.pinned("errors") == {"pod-a": '{"$set": "$x \u00fc\u4e16"}', "pod-b": ""}
    await pair.other.pin("errors", "pod-a", "$$NOW", 60)
    assert await pair.one.pinned("errors") == {"pod-a": "$$NOW", "pod-b": ""}


async def test_a_note_runs_out_on_the_stores_clock(pair: Pair) -> None:
    await pair.one.pin("errors", "short", "1", 1.5)
    await pair.one.pin("errors", "long", "2", 60)
    pair.clock.now += 1.25
    assert set(await pair.other.pinned("errors")) == {"short", "long"}
    pair.clock.now += 0.25
    assert set(await pair.other.pinned("errors")) == {"long"}
    await pair.one.pin("errors", "short", "3", 1)
    assert await pair.other.pinned("errors") == {"long": "2", "short": "3"}


async def test_a_note_is_no_larger_than_a_note_may_be(pair: Pair) -> None:
    await pair.one.pin("errors", "pod-a", "x" * NOTE, 60)
    with pytest.raises(ValueError):
        await pair.one.pin("errors", "pod-a", "\u00fc" * (NOTE // 2 + 1), 60)
    assert await pair.other.pinned("errors") == {"pod-a": "x" * NOTE}


async def test_many_pin_at_once(pair: Pair) -> None:
    stores = [pair.one, pair.other] * 10
    await asyncio.gather(*(store.pin("errors", f"pod-{n}", str(n), 60) for n, store in enumerate(stores)))
    await asyncio.gather(*(store.pin("errors", "pod-0", "same", 60) for store in stores))
    assert await pair.one.pinned("errors") == {f"pod-{n}": str(n) if n else "same" for n in range(20)}


async def test_notes_are_no_uploads(pair: Pair) -> None:
    await pair.one.pin("errors", "pod-a", "1", 60)
    assert await found(pair.one) == []
    assert await pair.one.tally() == {}


# Contests


async def heard(contests: AsyncGenerator[Upload | None, None]) -> Upload:
    async for upload in contests:
        if upload is not None:
            return upload
    raise AssertionError("contests are told of for ever")


async def test_contests_come_while_they_last_and_only_to_the_holder(pair: Pair) -> None:
    mine = await pair.one.create(leased(an_upload("mine"), "pod-a"))
    await pair.one.create(leased(an_upload("theirs"), "pod-b").contested(0))
    async with asyncio.timeout(20), contextlib.aclosing(pair.one.contests("pod-a", every=0.01)) as contests:
        assert await anext(contests) is None
        hearing = asyncio.create_task(heard(contests))
        await pair.other.swap(mine, mine.contested(7))
        contested = await hearing
        assert contested.id == "mine"
        assert contested.lease is not None and contested.lease.contest == 7
        assert (await heard(contests)).id == "mine"


async def test_a_contest_from_before_is_heard_of_too(pair: Pair) -> None:
    await pair.one.create(leased(an_upload("mine"), "pod-a").contested(3))
    async with asyncio.timeout(20), contextlib.aclosing(pair.other.contests("pod-a", every=0.01)) as contests:
        assert (await heard(contests)).id == "mine"
