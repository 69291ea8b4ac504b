"""Faults that a test moves while they act: a gate in the middle of a file, and a link that all connections share."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dataferry.testing import Fault

_STEP = 50_000


def _start(request: Any) -> int:
    return int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


class Gate(Fault):
    """Lets the bytes of a file pass up to a limit, which the test moves with `open`."""

    def __init__(self, limit: int) -> None:
        self.limit: float = limit
        self.passed = 0
        self._moved = threading.Condition()

    def open(self, limit: float = float("inf")) -> None:
        with self._moved:
            self.limit = limit
            self._moved.notify_all()

    def response(self, response: Any, request: Any) -> Any:
        return dataclasses.replace(response, pieces=self._passing(response.pieces, _start(request)))

    def _passing(self, pieces: Iterable[Any], end: int) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), _STEP):
                part = piece[start : start + _STEP]
                end += len(part)
                with self._moved:
                    if not self._moved.wait_for(lambda end=end: end <= self.limit, 300):
                        return
                self.passed += len(part)
                yield part


class SharedLink(Fault):
    """All connections together get so many bytes a second, as on a slow line."""

    def __init__(self, rate: float) -> None:
        self.rate, self._due, self._lock = rate, 0.0, threading.Lock()

    def response(self, response: Any, request: Any) -> Any:
        return dataclasses.replace(response, pieces=self._paced(response.pieces))

    def _paced(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), _STEP):
                part = piece[start : start + _STEP]
                with self._lock:
                    now = time.monotonic()
                    self._due = max(self._due, now) + len(part) / self.rate
                    wait = self._due - now
                time.sleep(wait)
                yield part
