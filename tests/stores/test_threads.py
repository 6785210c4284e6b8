"""Threads that need not be waited for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tusserver.protocol.refusals import StoreUnavailable
from tusserver.stores.threads import Threads


def test_there_are_as_many_as_there_is_work_and_no_more() -> None:
    threads = Threads(2, "some")
    assert [threads.submit(str, each).result(20) for each in range(3)] == ["0", "1", "2"]
    gate, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> str:
        begun.release()
        assert gate.wait(20)
        return threading.current_thread().name

    waiting = [threads.submit(wait) for _ in range(3)]
    assert begun.acquire(timeout=20) and begun.acquire(timeout=20)
    assert not waiting[2].running()
    gate.set()
    assert {each.result(20) for each in waiting} == {"some_0", "some_1"}
    assert threads.end(20)


def test_what_work_raises_is_what_comes_of_it() -> None:
    threads = Threads(1, "some")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(20)
    assert threads.submit(divmod, 7, 2).result(20) == (3, 1)
    assert threads.end(20)


def test_what_was_taken_is_done_before_the_end_and_nothing_is_taken_after() -> None:
    threads = Threads(1, "some")
    gate = threading.Event()
    held = threads.submit(gate.wait, 20)
    last = threads.submit(str, 5)
    dropped = threads.submit(str, 6)
    assert dropped.cancel()
    assert not threads.end(0)
    gate.set()
    assert held.result(20) and last.result(20) == "5"
    assert threads.end(20)
    with pytest.raises(StoreUnavailable):
        threads.submit(str, 7)


NEVER = """
import threading
from tusserver.protocol.refusals import StoreUnavailable
from tusserver.stores.threads import Threads
begun = threading.Event()
threads = Threads(1, "some")
threads.submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
print(threads.end(0.1))
"""


def test_a_process_ends_although_a_call_never_returns() -> None:
    ended = subprocess.run([sys.executable, "-c", NEVER], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "False\n", "")
