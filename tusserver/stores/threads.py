"""Threads for calls that may never return: a disk that hangs must not keep a process from ending.

Those of ``concurrent.futures`` are waited for when the interpreter ends, for ever if need be.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from tusserver.protocol.refusals import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

Piece = tuple[Future[Any], Callable[[], Any]]


class Threads(Executor):
    """``count`` threads at most, each started when there is more work than threads."""

    def __init__(self, count: int, name: str) -> None:
        self._count: Final = count
        self._name = name
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._open = 0
        self._ended = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``Executor``. Raises StoreUnavailable once these threads have ended."""
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise StoreUnavailable
            self._open += 1
            if len(self._threads) < min(self._open, self._count):
                self._start()
            self._queue.put((future, partial(fn, *args, **kwargs)))
        return future

    def end(self, seconds: float) -> bool:
        """Take no more work, do what has been taken, and wait so long for it. Returns whether it is done; what is not
        goes on, but the process need not wait for it."""
        with self._lock:
            self._ended = True
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._do(*piece)
            del piece  # what it holds is not kept while this waits

    def _do(self, future: Future[Any], work: Callable[[], Any]) -> None:
        wanted = future.set_running_or_notify_cancel()
        result, failure = None, None
        try:
            result = work() if wanted else None
        except BaseException as raised:
            failure = raised
        with self._lock:  # first, or whoever hears of it might start another thread for what comes next
            self._open -= 1
        if failure is not None:
            future.set_exception(failure)
        elif wanted:
            future.set_result(result)
