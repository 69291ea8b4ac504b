"""How far uploads and downloads of the proof are, at all hosts together."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable

from ..download.progress import FileProgress, Progress, progress_callback

__all__ = ["HostProgress", "Stopped", "TotalProgress", "notify"]


class Stopped(BaseException):
    """The run ends, as after Ctrl-C; raised in the threads that move bytes, and passed on by whoever calls back."""


def notify(text: str, visible: bool) -> None:
    """Print a line beside the progress bars, or log it where no progress is wanted."""
    if visible:
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        logging.getLogger("dataferry").info("%s", text)


class HostProgress:
    """How far one host's files are; threads may share it."""

    def __init__(self, sizes: Iterable[int], label: str, stop: threading.Event) -> None:
        sizes = list(sizes)
        self.files, self.bytes = len(sizes), sum(sizes)
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
        """A file ends; bytes that the host had from an earlier run count now."""
        with self._lock:
            done, size = self.active.pop(name)
            self.bytes_done += (size if arrived else 0) - done
            self.files_done += arrived
            self.files_failed += not arrived

    def update(self, before: tuple[int, int], now: Progress) -> None:
        """Add the progress of a download to what was done `before` it; raises `Stopped` if the run ends."""
        self.check()
        with self._lock:
            self.files_done, self.bytes_done = before[0] + now.files_done, before[1] + now.done_bytes
            self.active = {} if now.finished else {file.name: [file.done, file.total or 0] for file in now.files}


class TotalProgress:
    """How far all hosts are together."""

    def __init__(self, hosts: list[HostProgress], action: str, progress: bool) -> None:
        self._hosts = hosts
        self._report = progress_callback(progress and any(host.files for host in hosts), action)
        self._began: float | None = None
        self._ended = False

    def tick(self, finished: bool = False) -> None:
        """Report it, from the first file on until the last one."""
        hosts = self._hosts
        if self._began is None and any(host.active or host.files_done for host in hosts):
            self._began = time.monotonic()
        if self._ended or self._began is None:
            return
        done, total = sum(host.bytes_done for host in hosts), sum(host.bytes for host in hosts)
        files_done, failed = sum(host.files_done for host in hosts), sum(host.files_failed for host in hosts)
        files = sum(host.files for host in hosts)
        self._ended = finished or files_done + failed >= files
        seconds = time.monotonic() - self._began
        rate = max(0.0, done / max(1e-3, seconds))
        active = [
            FileProgress(name + host.label, moved, size, False)
            for host in hosts
            for name, (moved, size) in list(host.active.items())
        ]
        eta = (total - done) / rate if rate else None
        self._report(Progress(tuple(active), files_done, failed, files, done, total, rate, eta, seconds, self._ended))
