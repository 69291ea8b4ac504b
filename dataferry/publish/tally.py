"""How far uploads and fetch-backs are, at all hosts together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from ..download.progress import FileProgress, Progress, teller

__all__ = ["Lane", "Stopped", "Tally"]


class Stopped(BaseException):
    """The run ends, as after Ctrl-C; raised in the threads that move bytes, and passed on by whoever calls back."""


class Lane:
    """One host's part of a tally. Threads may share it.

    Parameters
    ----------
    sizes : iterable of int
        The sizes of its files.
    label : str
        What is put behind the name of a file; empty with one host only.
    stop : threading.Event
        Set when the run ends.
    """

    def __init__(self, sizes: Iterable[int], label: str, stop: threading.Event) -> None:
        known = list(sizes)
        self.files, self.bytes = len(known), sum(known)
        self.files_done = self.files_failed = self.bytes_done = 0
        self.label = f" -> {label}" if label else ""
        self._stop = stop
        self._lock = threading.Lock()
        self.active: dict[str, list[int]] = {}

    def check(self) -> None:
        """Raise `Stopped` if the run ends."""
        if self._stop.is_set():
            raise Stopped

    def begin(self, name: str, size: int) -> None:
        """A file begins."""
        with self._lock:
            self.active[name] = [0, size]

    def moved(self, name: str, count: int) -> None:
        """Bytes of a file went; raises `Stopped` if the run ends."""
        self.check()
        with self._lock:
            if name in self.active:
                self.active[name][0] += count
                self.bytes_done += count

    def end(self, name: str, arrived: bool) -> None:
        """A file ends; what the host had of it already counts now."""
        with self._lock:
            done, size = self.active.pop(name)
            self.bytes_done += (size if arrived else 0) - done
            self.files_done += arrived
            self.files_failed += not arrived

    def take(self, base: tuple[int, int], now: Progress) -> None:
        """What a fetch of some of the files says; raises `Stopped` if the run ends."""
        self.check()
        with self._lock:
            self.files_done, self.bytes_done = base[0] + now.files_done, base[1] + now.done_bytes
            self.active = {} if now.finished else {file.name: [file.done, file.total or 0] for file in now.files}


class Tally:
    """How far the files are at all hosts together.

    Parameters
    ----------
    lanes : list of Lane
        The hosts.
    doing : str
        What is done with the files.
    progress : bool
        Whether anybody wants to know.
    """

    def __init__(self, lanes: list[Lane], doing: str, progress: bool) -> None:
        self._lanes = lanes
        self._tell = teller(progress and any(lane.files for lane in lanes), doing)
        self._began = 0.0
        self._ended = False
        self._samples: list[tuple[float, int]] = []

    def tick(self, finished: bool = False) -> None:
        """Tell it."""
        now = time.monotonic()
        lanes = self._lanes
        if self._ended:
            return
        finished = finished or all(lane.files_done + lane.files_failed >= lane.files for lane in lanes)
        self._ended = finished
        done = sum(lane.bytes_done for lane in lanes)
        if not self._began:
            if not any(lane.active or lane.files_done for lane in lanes):
                return
            self._began = now
        self._samples = [*self._samples[-30:], (now, done)]
        since, before = self._samples[0]
        rate = max(0.0, (done - before) / max(1e-3, now - since))
        total = sum(lane.bytes for lane in lanes)
        files = tuple(
            FileProgress(name + lane.label, went, size, False)
            for lane in lanes
            for name, (went, size) in list(lane.active.items())
        )
        self._tell(
            Progress(
                files,
                sum(lane.files_done for lane in lanes),
                sum(lane.files_failed for lane in lanes),
                sum(lane.files for lane in lanes),
                done,
                total,
                rate,
                (total - done) / rate if rate else None,
                now - self._began,
                finished,
            )
        )
