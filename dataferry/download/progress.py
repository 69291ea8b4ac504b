"""How far a run is: a callback for programs, bars in a terminal or notebook, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file_download import FileDownload


_EVERY = 0.1
_RATE_OVER = 3.0
_BAR_AFTER = 0.5  # seconds: what is over sooner needs no bar
_LINES_AFTER = 5.0


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
    """Calls back how far a run is."""

    def __init__(self, files: list[FileDownload], progress: bool | Callable[[Progress], None]) -> None:
        self._files = files
        self._started = self._last = time.monotonic()
        self._samples = [(self._started, 0)]
        self._report = progress_callback(progress) if progress else None

    def tick(self, *, finished: bool = False) -> None:
        """Report, if it is time to."""
        now = time.monotonic()
        if self._report is not None and (finished or now - self._last >= _EVERY):
            self._last = now
            self._report(self._state(now, finished))

    def _state(self, now: float, finished: bool) -> Progress:
        from .source import Arrived

        files = self._files
        done = sum(file.done_bytes() for file in files)
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_OVER:
            del self._samples[0]
        since, before = self._samples[0]
        rate = max(0.0, (done - before) / max(1e-3, now - since))
        total = None if any(file.size is None for file in files) else sum(file.size or 0 for file in files)
        arrived = sum(isinstance(file.result, Arrived) for file in files)
        failed = sum(file.result is not None for file in files) - arrived
        running = tuple(
            FileProgress(file.wanted.name, file.done_bytes(), file.size, not file.locked)
            for file in files
            if file.result is None and (file.locked or file.waiting_since)
        )
        eta = (total - done) / rate if total is not None and rate > 0 else None
        return Progress(running, arrived, failed, len(files), done, total, rate, eta, now - self._started, finished)


def progress_callback(progress: bool | Callable[[Progress], None], doing: str = "") -> Callable[[Progress], None]:
    """What shows the progress of a run: bars or lines, nothing, or somebody; `doing` is what is done with the files."""
    if callable(progress):
        return progress
    if not progress:
        return lambda _: None
    lead = f"{doing} " if doing else ""
    return _Bar(lead) if _takes_bars() or "ipykernel" in sys.modules else _Lines(lead)


def _takes_bars() -> bool:
    if not getattr(sys.stderr, "isatty", lambda: False)() or os.environ.get("TERM") == "dumb":
        return False
    try:  # a terminal that nobody looks at, as in containers and CI, often has no width, and a bar there no characters
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # an object in place of stderr
        return True


class _Bar:
    def __init__(self, lead: str) -> None:
        self._lead = lead
        self._bar: Any = None

    def __call__(self, now: Progress) -> None:
        if self._bar is None:
            if now.finished or now.seconds < _BAR_AFTER:
                return
            from tqdm.auto import tqdm

            self._bar = tqdm(initial=now.done_bytes, unit="B", unit_scale=True, unit_divisor=1000)
        one = now.files_total == 1 and bool(now.files)
        text = now.files[0].name if one else f"{now.files_done} of {now.files_total} files"
        self._bar.set_description_str(self._lead + text, refresh=False)
        self._bar.total = now.total_bytes
        if now.finished:  # after Ctrl-C no file is on its way any more, and what has arrived is kept
            self._bar.update(max(0, now.done_bytes - self._bar.n))
            self._bar.close()
        else:
            self._bar.update(now.done_bytes - self._bar.n)


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
