"""Whose turn it is, as each worker works it out from what all of them show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tusserver.shares import Shares, claim, make


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Shares]]:
    """Three that take connections since 1."""
    path = tmp_path / "connections"
    make(path, 3)
    with path.open("r+b") as file:
        found = [Shares(file.fileno(), slot) for slot in range(3)]
        for each in found:
            each.enter(1)
        yield found


def test_with_as_many_as_each_other_it_is_everybodys(workers: list[Shares]) -> None:
    assert not any(each.is_anothers_turn(2) for each in workers)


def test_it_is_for_whoever_has_fewer(workers: list[Shares]) -> None:
    first, second, third = workers
    first.add(1)
    second.add(1)
    assert first.is_anothers_turn(2) and second.is_anothers_turn(2)
    assert not third.is_anothers_turn(2)
    third.add(1)
    assert not first.is_anothers_turn(3)
    second.add(-1)
    assert first.is_anothers_turn(4) and third.is_anothers_turn(4)
    assert not second.is_anothers_turn(4)


def test_nobody_waits_for_one_that_has_not_started_or_has_left(workers: list[Shares]) -> None:
    first, second, third = workers
    second.leave()
    third.add(5)
    first.add(5)
    assert not first.is_anothers_turn(2)
    second.enter(3)
    assert first.is_anothers_turn(4)


def test_nobody_waits_again_for_one_that_does_not_look(workers: list[Shares]) -> None:
    first, second, third = workers
    first.add(2)
    third.add(1)
    assert first.is_anothers_turn(2)
    first.go_on_without(10)
    assert not first.is_anothers_turn(11)
    assert third.is_anothers_turn(12)  # which is waiting for the second, and so is there itself
    assert first.is_anothers_turn(13)
    third.add(1)
    assert not first.is_anothers_turn(14)
    second.is_anothers_turn(15)  # awake again
    assert first.is_anothers_turn(16)


def test_a_slot_is_free_again_as_soon_as_its_process_has_ended(tmp_path: Path) -> None:
    """However it has: here, killed. What the dead one showed does not count."""
    path = tmp_path / "connections"
    make(path, 1)
    program = (
        "import pathlib, sys; from tusserver.shares import claim;"
        "mine = claim(pathlib.Path(sys.argv[1])); mine.enter(1); mine.add(3); print('here', flush=True);"
        "sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout is not None and other.stdout.readline() == b"here\n"
        shown = path.read_bytes()
        with path.open("r+b") as file:
            watching = Shares(file.fileno(), 1)
            watching.add(4)
            assert watching.is_anothers_turn(2)
            other.kill()
            other.wait()
            claim(path)
            assert path.read_bytes()[:8] == bytes(8) != shown[:8]
            assert not watching.is_anothers_turn(3)


def test_those_for_whom_no_slot_is_left_share_one(tmp_path: Path) -> None:
    path = tmp_path / "connections"
    path.write_bytes(bytes(16))
    alone = claim(path)
    alone.enter(1)
    alone.add(1)
    assert not alone.is_anothers_turn(2)
