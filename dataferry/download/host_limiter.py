"""One host in one run: how many connections it gets, how fast it is, and whether it is worth asking."""

from __future__ import annotations

import math
import random
import time

from ..errors import Reason, TransferError
from .backoff import backoff

POLITE = 16  # connections to one host, unless the user's settings allow more
# For small files over a long round trip, where each connection waits nearly all of its time: as many as aiohttp opens,
# and as servers of HTTP/2 allow streams of one connection.
_POLITE_SMALL = 100
_START = 4
_STEP = 6  # times as many as have proven themselves: after the first as many as a browser opens to one host
_ROUND_TRIPS = 0.4  # seconds that small files may wait for answers, all in all, before another connection is worth it
_PAYS = 1.15  # what more connections must bring to be kept
_FULL = 0.5
_WINDOW = 0.06  # seconds to measure over
_RATE_OVER = 0.5
_GIVE_UP = 4  # failures one after the other
_COSTLY = 2  # as much as so many other failures counts one that took a whole timeout
_UNREACHABLE = frozenset({Reason.CONNECT, Reason.DNS, Reason.TIMEOUT, Reason.TLS, Reason.PROXY, Reason.UNREACHABLE})
_OF_ONE_FILE = frozenset(
    {Reason.ABSENT, Reason.BEYOND, Reason.CHANGED, Reason.RANGE, Reason.SHA256, Reason.SIZE, Reason.UNCHANGED}
)


class HostLimiter:
    """Concurrency, backoff and health of one host; the scheduler alone changes it.

    `limit` is the most connections, and `rate` the bytes per second of all of them together.
    """

    def __init__(
        self, name: str, limit: int | None = None, rate: float | None = None, first_pause: float = 0.25
    ) -> None:
        self.name = name
        self.limit = max(1, limit or POLITE)
        self.rate_limit = rate
        self._first_pause = first_pause
        self._small_limit = max(1, limit or _POLITE_SMALL)
        self.target = 1
        self.active = 0
        self.bytes = 0
        self.round_trip = 1.0  # seconds to the first byte of an answer; 1 as long as it is not known
        self.multiplexed = False  # HTTP/2
        self.failures = 0  # in a row, to reach it
        self.refused = 0  # in a row, of other kinds
        self.reason = self.kind = ""
        self.refuses = False  # a file, and over a new connection
        self.aside = False
        self.in_doubt_now = False  # since a moment ago, so that what waits for it may go elsewhere
        self.paused_until = 0.0
        self.split = False  # large files in several segments
        self.tuned = self.limit == 1
        self.per_connection = 0.0
        self.rate = 0.0
        self._silent = 0
        self._owed_until = 0.0
        self._last = (time.monotonic(), 0)
        self._mark: tuple[float, int] | None = None
        self._best = 0.0
        self._before = 1
        self._probe_again = 0.0

    # -- how many connections ------------------------------------------------------------------------------------------

    def demand(self, files: int, small: bool) -> None:
        """Take note of how many files wait or run, and whether the next one is small."""
        if self._best:
            return
        most, limit = _START, self.limit
        if small and self.multiplexed:
            most = limit = _POLITE_SMALL
        elif small and self.round_trip < 1:
            most, limit = math.ceil(files * self.round_trip / _ROUND_TRIPS), self._small_limit
        self.target = max(self.target, min(limit, most, files))

    def measure(self, now: float) -> None:
        """Note how fast it is, and decide whether more connections would bring more of a large file."""
        since, count = self._last
        if now - since >= _RATE_OVER:
            self.rate = (self.bytes - count) / (now - since)
            self._last = (now, self.bytes)
        if self.active < self.target or (self.tuned and now < self._probe_again):
            self._mark = None
            return
        if self._mark is None:
            # New connections have first to be opened and asked.
            self._mark = (now + (1.2 * self.round_trip + 0.02 if self._best else 0), -1)
        since, count = self._mark
        if count < 0:
            if now >= since and self.round_trip < 1:
                self._mark = (now, self.bytes)
            return
        if now - since < max(_WINDOW, 1.2 * self.round_trip):
            return
        rate = (self.bytes - count) / (now - since)
        before, self.per_connection = self.per_connection, rate / self.active
        self._mark = None
        pays = rate >= self._best * _PAYS
        # Where each connection has become much slower the line is full, and still more would not pay.
        full = bool(self._best) and self.per_connection < _FULL * before
        if pays and not full and self.target < self.limit:
            self._best, self.split, self.tuned = rate, True, False
            self._before, self.target = self.target, min(self.limit, self.target * _STEP)
        else:
            if not pays:
                self.target, self._best = self._before, 0.0
            self.tuned, self._probe_again = True, now + 5
        self.tuned = self.tuned or self.target == self.limit

    # -- rates ---------------------------------------------------------------------------------------------------------

    def got(self, count: int) -> None:
        """Note bytes that came."""
        self.bytes += count
        if self.rate_limit:
            now = time.monotonic()
            self._owed_until = max(self._owed_until, now - 0.1) + count / self.rate_limit

    def in_debt(self, now: float) -> bool:
        """Whether more has come than the rate that was set for it allows."""
        return self._owed_until > now

    @property
    def connection_rate(self) -> int:
        """Bytes per second for each connection, 0 for any."""
        return max(1, int(self.rate_limit / self.target)) if self.rate_limit else 0

    # -- how it does ---------------------------------------------------------------------------------------------------

    @property
    def suspect(self) -> bool:
        """Whether it failed lately, so that a single file should find out whether it goes on so."""
        return bool(self.failures) or 0 < self.refused < _GIVE_UP

    @property
    def doubtful(self) -> bool:
        """Whether it refused so often that it is asked only for what no other host gives."""
        return self.refused >= _GIVE_UP

    def well(self) -> None:
        """It gave a file, or a part of one."""
        self.failures = self.refused = self._silent = 0

    def failed(self, error: TransferError, much: bool = False) -> None:
        """It did not, perhaps after `much` of the file; after some failures in a row it is asked last, or set aside."""
        now = time.monotonic()
        self.reason = error.reason
        if error.retry_after is not None:
            jitter = random.uniform(1, 1.1)  # noqa: S311
            self.paused_until = max(self.paused_until, now + error.retry_after * jitter)
            self.target = self.limit = self._small_limit = max(1, self.active // 2)  # it is asked for too much
            self.tuned, self._probe_again = True, now + 30
            return
        if much:
            self.refused = self._silent = 0
        elif error.kind not in _OF_ONE_FILE | _UNREACHABLE:
            stalled = error.kind == Reason.STALL
            trusted = not self.doubtful
            self.refused += _COSTLY if stalled else 1
            self.in_doubt_now = self.in_doubt_now or (trusted and self.doubtful)
            self._silent = self._silent + 1 if stalled else 0
            # Whoever hangs on every connection again and again is as good as unreachable.
            self.aside = self.aside or self._silent >= 2 * _GIVE_UP * self.target
        if error.kind in _UNREACHABLE:
            self.failures += 1
            self.paused_until = max(self.paused_until, now + self.backoff(self.failures))
            self.kind = error.kind
            if self.failures >= (2 if error.kind == Reason.DNS else _GIVE_UP) or error.final:
                self.aside = True

    def backoff(self, attempt: float) -> float:
        """Seconds to wait before the next attempt."""
        return backoff(attempt, self._first_pause)
