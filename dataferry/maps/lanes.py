"""Work done by several threads at once: numpy and ``pread`` let go of the interpreter while they work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["lanes", "run"]

Task = TypeVar("Task")


def lanes(most: int = 8) -> int:
    """Count the threads that are worth having.

    Parameters
    ----------
    most : int
        Never more than this.

    Returns
    -------
    int
        Processors that this process may use, or ``OMP_NUM_THREADS`` where that is lower.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # further numbers are for nested regions
    if said.isdigit() and int(said):
        here = min(here, int(said))
    return max(1, min(here, most))


def run(work: Callable[[Iterator[Task]], None], tasks: Sequence[Task], threads: int) -> None:
    """Share tasks among threads; the first error of any of them is raised.

    Parameters
    ----------
    work : callable
        Does the tasks of an iterator, in its own thread; a thread that is held up gets fewer of them.
    tasks : sequence
        All of them; they are begun in this order.
    threads : int
        How many.
    """
    threads = min(threads, len(tasks))
    if threads < 2:
        if tasks:
            work(iter(tasks))
        return
    from concurrent.futures import ThreadPoolExecutor

    left = deque(tasks)

    def mine() -> Iterator[Task]:
        while True:
            try:
                yield left.popleft()
            except IndexError:
                return

    with ThreadPoolExecutor(threads - 1, thread_name_prefix="dataferry-maps") as pool:
        others = [pool.submit(work, mine()) for _ in range(threads - 1)]
        try:
            work(mine())
        finally:
            # after an error the others need not go on
            left.clear()
        for other in others:
            other.result()
