"""Idle sessions, kept for some seconds, so that one call after another uses the same connections."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..portable import after_fork
from .session import Session

_KEPT_SECONDS = 15.0
_KEPT_SESSIONS = 8

_lock = threading.Lock()
_idle: list[Session] = []
_of_parent: list[Session] = []


def _forget() -> None:
    """In a forked child: the connections are the parent's; to close them here would end them there."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _of_parent.extend(_idle)
    _idle.clear()


after_fork(_forget)


@contextmanager
def borrowed() -> Iterator[Session]:
    """A session for one thread; the one that was used last, whose connections are still open, comes first."""
    now = time.monotonic()
    with _lock:
        old = [session for session in _idle if now - session.idle_since > _KEPT_SECONDS]
        _idle[:] = [session for session in _idle if session not in old]
        session = _idle.pop() if _idle else None
    for stale in old:
        stale.close()
    session = session or Session()
    try:
        yield session
    finally:
        if session.process == os.getpid():
            for transfer in list(session.active):
                session.cancel(transfer)
            session.idle_since = time.monotonic()
            with _lock:
                keep = len(_idle) < _KEPT_SESSIONS
                if keep:
                    _idle.append(session)
            if not keep:
                session.close()
