"""What an upload remembers of what happened to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tusserver.protocol.timeline import MOMENTS, Moment, Timeline, noted
from tusserver.protocol.upload import Status, Upload

NEW = Upload(id="u", created_at=0.0, updated_at=0.0, length=100).noted("created")


def whats(upload: Upload) -> list[str]:
    return [moment.what for moment in upload.timeline]


def patched(upload: Upload, to: int, pod: str = "a") -> Upload:
    return upload.acquired(lease_id="l", holder=pod, ttl=3.0).advanced(to, now=1.0).released()


def test_an_ordinary_upload_in_many_requests_is_four_moments() -> None:
    upload = NEW
    for to in range(10, 101, 10):
        upload = patched(upload, to)
    assert whats(upload) == ["created", "taken", "received", "completed"]
    assert [moment.offset for moment in upload.timeline] == [0, 0, 100, 100]


def test_each_change_of_hands_is_seen() -> None:
    upload = patched(patched(patched(NEW, 10), 20, "b"), 30)
    assert [(moment.what, moment.by) for moment in upload.timeline[1:]] == [
        ("taken", "a"), ("received", "a"), ("taken", "b"), ("received", "b"), ("taken", "a"), ("received", "a"),
    ]  # fmt: skip


def test_an_interruption_is_seen_and_so_is_coming_back() -> None:
    held = NEW.acquired(lease_id="l", holder="a", ttl=3.0).advanced(10, now=1.0)
    upload = patched(held.released("client_gone"), 20)
    assert whats(upload) == ["created", "taken", "received", "client_gone", "taken", "received"]
    assert upload.timeline[3].by == "a"


def test_a_lease_that_is_taken_by_force_says_from_whom() -> None:
    held = NEW.acquired(lease_id="l", holder="a", ttl=3.0)
    upload = held.acquired(lease_id="m", holder="b", ttl=3.0)
    assert [(moment.what, moment.by) for moment in upload.timeline[1:]] == [
        ("taken", "a"), ("fenced", "a"), ("taken", "b"),
    ]  # fmt: skip
    assert whats(held.fenced("unlocked"))[-1] == "unlocked"


def test_the_end_is_seen() -> None:
    assert whats(NEW.to(Status.EXPIRED, now=1.0)) == ["created", "expired"]


@given(st.lists(st.sampled_from(["taken", "received", "client_gone", "fenced"]), max_size=200))
def test_it_stays_short_and_keeps_the_first_and_the_latest(whats: list[str]) -> None:
    timeline: Timeline = (Moment(what="created", offset=0),)
    for number, what in enumerate(whats):
        timeline = noted(timeline, Moment(what=what, offset=number, by=f"pod-{number % 3}"))
    assert len(timeline) <= MOMENTS
    assert timeline[0].what == "created"
    if whats and whats[-1] in ("client_gone", "fenced", "received"):
        assert (timeline[-1].what, timeline[-1].offset) == (whats[-1], len(whats) - 1)
