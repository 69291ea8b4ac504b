"""One downloader per file: a table for threads, a lock file for processes. Correctness never depends on it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["Lease"]

_held: set[tuple[str, str]] = set()
_table = threading.Lock()


class Lease:
    """The right to bring one file.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    identity : str
        The file.
    """

    def __init__(self, workdir: Path, identity: str) -> None:
        self._path = workdir / f"{identity}.lock"
        self._key = (str(workdir), identity)
        self._lock: BaseFileLock | None = None
        self._mine = False

    def take(self, *, force: bool = False) -> bool:
        """Try to take it, without waiting.

        Parameters
        ----------
        force : bool
            Go on even if another process seems to have it: at worst the file is brought twice.

        Returns
        -------
        bool
            True if the file may be brought.
        """
        with _table:
            if self._key in _held and not force:
                return False
            self._mine = self._key not in _held
            _held.add(self._key)
        if self._locked() or force:
            return True
        self.give_back()
        return False

    def _locked(self) -> bool:
        import filelock

        lock = filelock.FileLock(self._path, timeout=0, thread_local=False)
        try:
            lock.acquire(timeout=0, poll_interval=0.01)
        except filelock.Timeout:
            return False
        except (OSError, NotImplementedError):
            # A file system without locks: go on, private names and renames keep it right.
            return True
        self._lock = lock
        return True

    def give_back(self) -> None:
        """Let others have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                # Removed while held: who opened it meanwhile finds it without a name and opens a new one.
                os.unlink(self._path)
            with suppress(OSError):
                lock.release()
        with _table:
            if self._mine:
                _held.discard(self._key)
                self._mine = False
