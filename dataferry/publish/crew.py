"""The same question to several hosts at once, in threads that nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["at_once"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def at_once(ask: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """Call a function for all items, each in a thread of its own. Ctrl-C does not wait for the threads.

    Parameters
    ----------
    ask : callable
        Takes an item; what it raises is raised again here.
    items : sequence
        The items.

    Returns
    -------
    list
        The answers, in order.
    """
    answers: dict[int, _R] = {}
    failed: list[BaseException] = []

    def one(index: int) -> None:
        try:
            answers[index] = ask(items[index])
        except BaseException as error:  # noqa: BLE001 - it goes on below
            failed.append(error)

    threads = [threading.Thread(target=one, args=(i,), name="dataferry-ask", daemon=True) for i in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
    if failed:
        raise failed[0]
    return [answers[index] for index in range(len(items))]
