"""How far a run is: a callback for programs, bars in a terminal or notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file_download import FileDownload

__all__ = ["FileProgress", "Progress", "Reporter", "teller"]

_EVERY = 0.1
_BARS_AFTER = 0.5  # seconds: what is over sooner needs no bar
_LINES_AFTER = 5.0
_MOST_BARS = 4


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file that is being downloaded.

    Parameters
    ----------
    name : str
        The file.
    done : int
        Bytes that are there.
    total : int or None
        Bytes of the whole file, if known.
    waiting : bool
        True if another thread or process downloads it.
    """

    name: str
    done: int
    total: int | None
    waiting: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Parameters
    ----------
    files : tuple of FileProgress
        The files that are being downloaded.
    files_done, files_failed, files_total : int
        Numbers of files.
    done_bytes : int
        Bytes that are there.
    total_bytes : int or None
        Bytes of all files; None if the size of one is not known.
    rate : float
        Bytes per second, over the last seconds.
    eta : float or None
        An estimate of the remaining seconds, or None.
    seconds : float
        Since the start.
    finished : bool
        True in the last call.
    """

    files: tuple[FileProgress, ...]
    files_done: int
    files_failed: int
    files_total: int
    done_bytes: int
    total_bytes: int | None
    rate: float
    eta: float | None
    seconds: float
    finished: bool


class Reporter:
    """Tells somebody how far a run is.

    Parameters
    ----------
    jobs : list of FileDownload
        The files of the run.
    progress : bool or callable
        Bars or lines, nothing, or who is told.
    """

    def __init__(self, jobs: list[FileDownload], progress: bool | Callable[[Progress], None]) -> None:
        self._jobs = jobs
        self._started = self._last = time.monotonic()
        self._samples: list[tuple[float, int]] = [(self._started, self._there() if progress else 0)]
        self._tell = teller(progress)

    def _there(self) -> int:
        return sum(job.done_bytes() for job in self._jobs)

    def tick(self) -> None:
        """Tell it, if it is time to."""
        now = time.monotonic()
        if self._tell is not _nothing and now - self._last >= _EVERY:
            self._last = now
            self._tell(self._now(now, False))

    def close(self) -> None:
        """Tell it a last time."""
        if self._tell is not _nothing:
            self._tell(self._now(time.monotonic(), True))

    def _now(self, now: float, finished: bool) -> Progress:
        from .source import Arrived

        jobs = self._jobs
        done = self._there()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > 3:
            del self._samples[0]
        (since, before) = self._samples[0]
        rate = max(0.0, (done - before) / max(1e-3, now - since))
        total = None if any(job.size is None for job in jobs) else sum(job.size or 0 for job in jobs)
        arrived = sum(isinstance(job.result, Arrived) for job in jobs)
        failed = sum(job.result is not None for job in jobs) - arrived
        files = tuple(
            FileProgress(job.wanted.name, job.done_bytes(), job.size, not job.locked)
            for job in jobs
            if job.result is None and (job.locked or job.waiting_since)
        )
        eta = (total - done) / rate if total is not None and rate > 0 else None
        return Progress(files, arrived, failed, len(jobs), done, total, rate, eta, now - self._started, finished)


def teller(progress: bool | Callable[[Progress], None], doing: str = "") -> Callable[[Progress], None]:
    """Who is told how far a run is.

    Parameters
    ----------
    progress : bool or callable
        Bars or lines, nothing, or somebody.
    doing : str
        What is done with the files, ``"uploading"``.

    Returns
    -------
    callable
        Takes a `Progress`, a last one when all is over.
    """
    if callable(progress):
        return progress
    if not progress:
        return _nothing
    lead = f"{doing} " if doing else ""
    return _Bars(lead) if _has_bars() else _Lines(lead)


def _nothing(_: Progress) -> None:
    pass


def _has_bars() -> bool:
    if "ipykernel" in sys.modules:
        return True
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class _Bars:
    def __init__(self, lead: str) -> None:
        self._lead = lead
        self._sum: Any = None
        self._files: dict[str, Any] = {}

    def __call__(self, now: Progress) -> None:
        if now.finished or now.seconds < _BARS_AFTER:
            if now.finished:
                self._close(now)
            return
        from tqdm.auto import tqdm

        style: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1000, "leave": False}
        if self._sum is None:
            one = now.files_total == 1 and now.files
            text = now.files[0].name if one else f"{now.files_total} files"
            self._sum = tqdm(
                total=now.total_bytes, desc=self._lead + text, initial=now.done_bytes, **(style | {"leave": True})
            )
        self._move(self._sum, now.done_bytes, now.total_bytes)
        if now.files_total == 1:
            return
        text = f"{self._lead}{now.files_done} of {now.files_total} files"
        self._sum.set_description_str(text, refresh=False)
        redacted = {f.name: f for f in now.files if f.name in self._files}
        for file in now.files:
            if len(redacted) < _MOST_BARS and (file.total or 0) > 1 << 20:
                redacted.setdefault(file.name, file)
        for name in self._files.keys() - redacted.keys():
            self._files.pop(name).close()
        for name, file in redacted.items():
            if name not in self._files:
                self._files[name] = tqdm(total=file.total, desc=f"  {name}", initial=file.done, **style)
            self._move(self._files[name], file.done, file.total)

    @staticmethod
    def _move(bar: Any, done: int, total: int | None) -> None:
        if total is not None and bar.total != total:
            bar.total = total
        bar.update(done - bar.n)

    def _close(self, now: Progress) -> None:
        for bar in self._files.values():
            bar.close()
        if self._sum is not None:
            self._move(self._sum, now.done_bytes, now.total_bytes)
            self._sum.close()


class _Lines:
    """A line now and then, ever more rarely, for logs."""

    def __init__(self, lead: str) -> None:
        self._lead = lead
        self._next = _LINES_AFTER

    def __call__(self, now: Progress) -> None:
        if now.finished or now.seconds < self._next:
            return
        self._next = now.seconds * 1.5 + 5
        of = f" of {now.total_bytes / 1e6:.0f}" if now.total_bytes is not None else ""
        eta = f", about {now.eta:.0f} s to go" if now.eta is not None else ""
        text = f"dataferry: {self._lead}{now.files_done} of {now.files_total} files, {now.done_bytes / 1e6:.0f}{of} MB"
        sys.stderr.write(f"{text}, {now.rate / 1e6:.1f} MB/s{eta}\n")
        sys.stderr.flush()
