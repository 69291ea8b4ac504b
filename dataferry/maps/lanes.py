"""Work done by several threads at once: numpy and ``pread`` let go of the interpreter while they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        here = min(here, int(said))
    return max(1, min(here, most))


def run(work: Callable[[Sequence[Task]], None], tasks: Sequence[Task], threads: int) -> None:
    """Share tasks among threads; the first error of any of them is raised.

    Parameters
    ----------
    work : callable
        Does a list of tasks, in its own thread.
    tasks : sequence
        All of them; neighbours stay together as far as the sharing allows.
    threads : int
        How many.
    """
    threads = min(threads, len(tasks))
    if threads < 2:
        if tasks:
            work(tasks)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads - 1, thread_name_prefix="dataferry-maps") as pool:
        others = [pool.submit(work, tasks[k::threads]) for k in range(1, threads)]
        work(tasks[::threads])
        for other in others:
            other.result()
