"""What a run knows of one host: how many connections pay, how fast it is, whether it fails, when to rest."""

from __future__ import annotations

import math
import random
import threading
import time

from ..errors import TransferError

__all__ = ["HostHealth"]

POLITE = 16  # connections to one host, unless the user's settings allow more
_START = 4
_STEP = 6  # times as many as have proven themselves: after the first as many as a browser opens to one host
_ROUND_TRIPS = 0.5  # seconds that small files may wait for answers, all in all, before another connection is worth it
_PAYS = 1.15  # what more connections must bring to be kept
_BUSY = 0.6  # of a processor: then the machine is the limit, not the connection
_IDLE = 0.5  # of a connection's time must pass in waiting for small files before another one is of use
_WINDOW, _LATER = 0.1, 0.06  # seconds to measure over: one connection starts slowly, several are steady together
_RATE_OVER = 0.5
_DEPTH = 15  # further small files that are asked for before the first has come
_GIVE_UP = 4  # failures one after the other
_COSTLY = 2  # as much as so many other failures counts one that took a whole timeout
_UNREACHABLE = frozenset({"connect", "dns", "timeout", "tls", "proxy", "unreachable"})
_OF_ONE_FILE = frozenset({"absent", "beyond", "changed", "range", "sha256", "size", "unchanged"})


class HostHealth:
    """One host in one run.

    Parameters
    ----------
    name : str
        Host and port.
    limit : int
        The most connections.
    rate : float, optional
        Bytes per second that it may send, all connections together.
    """

    def __init__(self, name: str, limit: int | None = None, rate: float | None = None) -> None:
        self.name = name
        self.limit = max(1, limit or POLITE)
        self.target = 1
        self.active = 0
        self.bytes = 0
        self.first_byte = 1.0
        self.failures = 0
        self.refused = self.silent = 0
        self.reason = self.kind = ""
        self.aside = False
        self.paused_until = 0.0
        self.split = False
        self.depth = _DEPTH
        self.cpu: dict[int, float] = {}
        self.settled = self.limit == 1
        self.per_connection = 0.0
        self.rate = 0.0
        self._last = (time.monotonic(), 0)
        self._rate = rate
        self._owed_until = 0.0
        self._lock = threading.Lock()
        self._mark: tuple[float, int, float, float] | None = None
        self._small = False
        self.waited = 0.0
        self._best = 0.0
        self._before = 1
        self._probe_again = 0.0

    # -- how many connections ------------------------------------------------------------------------------------------

    def demand(self, files: int, small: bool) -> None:
        """Say how many files wait for this host.

        Parameters
        ----------
        files : int
            Their number.
        small : bool
            Whether the next one is small: those share round trips, and more threads only wait for each other.
        """
        self._small = small
        if self._best:
            return
        most = _START
        if small:
            trips = files / (self.depth + 1)
            most = math.ceil(trips * self.first_byte / _ROUND_TRIPS) if self.first_byte < 1 else 1
        self.target = max(self.target, min(self.limit, most, files))

    def tick(self, now: float, spent: float) -> None:
        """Decide whether more connections would bring more.

        Parameters
        ----------
        now : float
            The time.
        spent : float
            Seconds of processors that the run has used so far.
        """
        if self.active < self.target or (self.settled and now < self._probe_again):
            self._mark = None
            return
        if self._mark is None:
            # New connections have first to be opened and asked.
            self._mark = (now + (1.2 * self.first_byte + 0.02 if self._best else 0), -1, 0.0, 0.0)
        since, count, waited, before = self._mark
        if count < 0:
            if now >= since and self.first_byte < 1:
                self._mark = (now, self.bytes, self.waited, spent)
            return
        if now - since < max(_LATER if self._best else _WINDOW, 1.2 * self.first_byte):
            return
        rate = (self.bytes - count) / (now - since)
        self._mark = None
        self.per_connection = rate / self.active
        idle = (self.waited - waited) / (now - since) / self.active
        if spent - before > _BUSY * (now - since) or (self._small and idle < _IDLE):
            self.settled, self._probe_again = True, now + 1
        elif rate >= self._best * _PAYS and self.target < self.limit:
            self._best, self.split, self.settled = rate, True, False
            self._before, self.target = self.target, min(self.limit, self.target * _STEP)
        else:
            if rate < self._best * _PAYS:
                self.target, self._best = self._before, 0.0
            self.settled, self._probe_again = True, now + 5
        self.settled = self.settled or self.target == self.limit

    def measure(self, now: float) -> None:
        """Note how fast it is.

        Parameters
        ----------
        now : float
            The time.
        """
        since, count = self._last
        if now - since >= _RATE_OVER:
            self.rate = (self.bytes - count) / (now - since)
            self._last = (now, self.bytes)

    # -- how it does ---------------------------------------------------------------------------------------------------

    def got(self, count: int) -> float:
        """Note bytes that came.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        float
            Seconds to wait before reading on, where a rate was set.
        """
        self.bytes += count
        self.cpu[threading.get_ident()] = time.thread_time()
        if not self._rate:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._owed_until = max(self._owed_until, now - 0.1) + count / self._rate
            return max(0.0, self._owed_until - now)

    @property
    def unlimited(self) -> bool:
        """Whether it may send as fast as it can."""
        return not self._rate

    @property
    def most_at_once(self) -> int:
        """Bytes to read at a time, so that a set rate is kept smoothly."""
        return max(4096, int(self._rate / 10)) if self._rate else 1 << 30

    @property
    def suspect(self) -> bool:
        """Whether it refused lately, so that a single file should find out whether it goes on so."""
        return 0 < self.refused < _GIVE_UP

    @property
    def doubtful(self) -> bool:
        """Whether it refused so often that it is asked only for what no other host gives."""
        return self.refused >= _GIVE_UP

    def well(self) -> None:
        """It gave a file, or a part of one."""
        self.failures = self.refused = self.silent = 0

    def failed(self, error: TransferError, much: bool = False) -> None:
        """It did not; after some failures in a row it is asked last, or set aside for the rest of the run.

        Parameters
        ----------
        error : TransferError
            What happened.
        much : bool
            Whether it gave much of the file before.
        """
        now = time.monotonic()
        self.reason = error.reason
        if error.retry_after is not None:
            jitter = random.uniform(1, 1.1)  # noqa: S311
            self.paused_until = max(self.paused_until, now + error.retry_after * jitter)
            self.target = max(1, self.active // 2)
            self.settled, self._probe_again = True, now + 30
            return
        if much:
            self.refused = self.silent = 0
        elif error.kind not in _OF_ONE_FILE | _UNREACHABLE:
            stalled = error.kind == "stall"
            self.refused += _COSTLY if stalled else 1
            self.silent = self.silent + 1 if stalled else 0
            # Whoever hangs on every connection again and again is as good as unreachable.
            self.aside = self.aside or self.silent >= 2 * _GIVE_UP * self.target
        if error.kind in _UNREACHABLE:
            self.failures += 1
            self.paused_until = max(self.paused_until, now + self.backoff(self.failures))
            self.kind = error.kind
            if self.failures >= (2 if error.kind == "dns" else _GIVE_UP) or error.final:
                self.aside = True

    @staticmethod
    def backoff(attempt: int) -> float:
        """Seconds to wait before the next attempt.

        Parameters
        ----------
        attempt : int
            How many there were.

        Returns
        -------
        float
            Growing, with jitter, so that many clients do not come back at once.
        """
        return min(20.0, 0.25 * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
