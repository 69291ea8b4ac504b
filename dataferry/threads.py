"""Work in several threads, for which neither Ctrl-C nor the end of the process waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
#: Threads that are to stop have so many seconds to release their locks.
_GRACE = 0.5
#: Seconds between looks for Ctrl-C: a thread of ours may receive the signal, which ends no wait of the main thread.
_LOOK = 0.1


def in_time(seconds: float, do: Callable[[], _T]) -> _T:
    """Call something that may never answer in a thread that is left alone then; raises `TimeoutError`."""
    future: Future[_T] = Future()
    threading.Thread(target=_fill, args=(future, do), name="dataferry-call", daemon=True).start()
    wait([future], seconds)
    if not future.done():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return future.result()


def _fill(future: Future[_T], do: Callable[[], _T]) -> None:
    try:
        future.set_result(do())
    except BaseException as error:  # noqa: BLE001 - raised by whoever wants the result
        future.set_exception(error)


def in_threads(
    do: Callable[[_T], _R], items: Sequence[_T], most: int, stop: threading.Event | None = None
) -> Generator[_R]:
    """The results in order; what one raises is raised here. Daemons, since a pool's threads are waited for.

    `stop` is set in the end, for threads that are still at work.
    """
    futures: list[Future[_R]] = [Future() for _ in items]
    queue = deque(zip(futures, items, strict=True))

    def work() -> None:
        with suppress(IndexError):  # the queue is empty
            while True:
                future, item = queue.popleft()
                _fill(future, partial(do, item))

    threads = [threading.Thread(target=work, name="dataferry-worker", daemon=True) for _ in futures[:most]]
    for thread in threads:
        thread.start()
    try:
        for future in futures:
            while not future.done():
                wait([future], _LOOK)
            yield future.result()
    finally:
        queue.clear()
        if stop is not None:
            stop.set()
            until = time.monotonic() + _GRACE
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))


class Workers:
    """A few threads, started as they are needed, for calls that may wait for a disk; daemons, since it may hang."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._open = 0  # calls that wait or run

    def do(self, call: Callable[[], None]) -> None:
        """Have something done, in this thread where the system gives no other one."""
        with self._lock:
            self._open += 1
            wanted = min(self._open, self._most)
        if wanted > len(self._threads):
            thread = threading.Thread(target=self._run, name="dataferry-run", daemon=True)
            with suppress(RuntimeError):  # ulimit -u
                thread.start()
                self._threads.append(thread)
        if self._threads:
            self._calls.put(call)
        else:
            self._finish(call)

    def close(self, seconds: float) -> None:
        """Wait for what is to be done, at most so many seconds."""
        until = time.monotonic() + seconds
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            self._finish(call)

    def _finish(self, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            with self._lock:
                self._open -= 1
