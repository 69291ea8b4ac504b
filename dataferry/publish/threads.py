"""Work in several threads, for which neither Ctrl-C nor the end of the process waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["in_threads"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_threads(do: Callable[[_T], _R], items: Sequence[_T], most: int) -> Iterator[_R]:
    """The results in order; what one raises is raised here. Daemons, since a pool's threads are waited for."""
    futures: list[tuple[Future[_R], _T]] = [(Future(), item) for item in items]
    queue = deque(futures)

    def work() -> None:
        while queue:
            try:
                future, item = queue.popleft()
            except IndexError:  # another thread has taken the last one
                return
            try:
                future.set_result(do(item))
            except BaseException as error:  # noqa: BLE001 - raised by whoever wants the result
                future.set_exception(error)

    for _ in range(min(most, len(futures))):
        threading.Thread(target=work, name="dataferry-publish", daemon=True).start()
    try:
        for future, _ in futures:
            yield future.result()
    finally:
        queue.clear()
