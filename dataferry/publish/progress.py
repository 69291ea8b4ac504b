"""How far uploads and downloads of the proof are."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable

from ..download.progress import FileProgress, Progress, progress_callback

_EVERY = 0.1


class _Stopped(BaseException):
    """The run ends, as after Ctrl-C; raised in the threads that move bytes, and passed on by whoever calls back."""


class UploadProgress:
    """How far the uploads to all hosts are; their threads share it."""

    def __init__(self, sizes: Iterable[int], visible: bool, stop: threading.Event) -> None:
        sizes = list(sizes)
        self._files, self._bytes = len(sizes), sum(sizes)
        self._arrived = self._failed = self._done = 0
        self._active: dict[str, FileProgress] = {}
        self._visible = visible
        self._report = progress_callback(visible and bool(sizes), "uploading")
        self._began = self._last = 0.0
        self._stop = stop
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise `_Stopped` if the run ends."""
        if self._stop.is_set():
            raise _Stopped

    def sleep(self, seconds: float) -> None:
        """Wait; raises `_Stopped` if the run ends."""
        if self._stop.wait(seconds):
            raise _Stopped

    def notify(self, text: str) -> None:
        """Print a line beside the progress bars, or log it where no progress is wanted."""
        if self._visible:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            logging.getLogger("dataferry").info("%s", text)

    def proof(self, label: str) -> Callable[[Progress], None]:
        """The callback for the files of one host that are fetched back; it raises `_Stopped` if the run ends."""
        report = progress_callback(self._visible, f"fetching back{label}")

        def update(now: Progress) -> None:
            self.check()
            report(now)

        return update

    def moved(self, label: str, size: int, count: int) -> None:
        """So many more bytes of a file went; raises `_Stopped` if the run ends."""
        self.check()
        with self._lock:
            self._began = self._began or time.monotonic()
            done = self._active[label].done if label in self._active else 0
            self._active[label] = FileProgress(label, done + count, size, False)
            self._done += count
            self._tick()

    def end(self, label: str, size: int, arrived: bool) -> None:
        """A file ends; bytes that the host had from an earlier run count now."""
        with self._lock:
            file = self._active.pop(label, None)
            self._done += (size if arrived else 0) - (file.done if file else 0)
            self._arrived += arrived
            self._failed += not arrived
            self._tick(finished=self._arrived + self._failed == self._files)

    def close(self) -> None:
        """The last report, where the run ended before its last file."""
        with self._lock:
            if self._arrived + self._failed < self._files:
                self._active.clear()
                self._tick(finished=True)

    def _tick(self, finished: bool = False) -> None:
        now = time.monotonic()
        if now - self._last < _EVERY and not finished:
            return
        self._last, seconds = now, now - self._began
        rate = max(0.0, self._done / max(1e-3, seconds))
        eta = (self._bytes - self._done) / rate if rate else None
        active, files = tuple(self._active.values()), (self._arrived, self._failed, self._files)
        self._report(Progress(active, *files, self._done, self._bytes, rate, eta, seconds, finished))
