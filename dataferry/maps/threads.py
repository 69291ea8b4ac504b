"""Work divided among threads: numpy and ``pread`` release the interpreter while they work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Task = TypeVar("Task")


def count_threads(most: int = 8) -> int:
    """Processors that this process may use, or ``OMP_NUM_THREADS`` where that is lower."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # further numbers are for nested regions
    if limit.isdigit() and int(limit):
        here = min(here, int(limit))
    return max(1, min(here, most))


def run_threads(work: Callable[[Iterator[Task]], None], tasks: Sequence[Task], threads: int) -> None:
    """Call ``work`` in each thread with an iterator over its tasks; raise the first error of any of them.

    Tasks begin in their order, and a slow thread gets fewer of them.
    """
    threads = min(threads, len(tasks))
    if threads < 2:
        if tasks:
            work(iter(tasks))
        return
    from concurrent.futures import ThreadPoolExecutor

    left = deque(tasks)

    def own() -> Iterator[Task]:
        while True:
            try:
                yield left.popleft()
            except IndexError:
                return

    with ThreadPoolExecutor(threads - 1, thread_name_prefix="dataferry-maps") as pool:
        others = [pool.submit(work, own()) for _ in range(threads - 1)]
        try:
            work(own())
        finally:
            left.clear()  # after an error the others need not go on
        for other in others:
            other.result()
