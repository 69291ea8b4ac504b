"""Which bytes of one file are there, and which of the rest each connection downloads."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

_MIB = 1 << 20
_FIRST = 8 * _MIB  # proves ranges, measures the rate, and is the most that comes in vain if the rest goes elsewhere
_LEAST = 4 * _MIB
_LEAST_STOLEN = _MIB // 4
_MOST = 512 * _MIB
_WORTH_STEALING = 0.4  # seconds that the other connection would still need
_ENDLESS = 5.0  # the same, for what is hardly worth a request
_WORTH_CONNECTING = 2.0  # the same, for who has to open a connection first


class Ranges:
    """Disjoint ranges of bytes, ``[start, stop)``, joined where they touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Add a range."""
        if start >= stop:
            return
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]

    def prefix(self) -> int:
        """Bytes that are there without a gap from the first on."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def missing(self, size: int) -> list[tuple[int, int]]:
        """The gaps up to a size."""
        gaps = zip([0, *self._stops], [*self._starts, size], strict=True)
        return [(a, min(b, size)) for a, b in gaps if a < min(b, size)]

    def total(self) -> int:
        """The number of bytes that are there."""
        return sum(self._stops) - sum(self._starts)


@dataclass(slots=True, eq=False)
class Segment:
    """A range that one connection downloads.

    ``stop`` may be lowered while it runs, and is None where the size of the file is not known; ``pos`` is one after
    the last byte that was written.
    """

    start: int
    stop: int | None
    pos: int
    since: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    def rate(self) -> float:
        """Bytes per second so far."""
        return (self.pos - self.start) / max(1e-3, (self.ended or time.monotonic()) - self.since)


class Segments:
    """The missing ranges of one file, shared out among connections so that none is left with a long tail.

    Of a file of unknown size ``(0, None)`` is missing.
    """

    def __init__(self, missing: list[tuple[int, int | None]]) -> None:
        self._queue = missing
        self._last = _FIRST // 4
        self.active: list[Segment] = []
        self.divisible = True
        self.moved = 0

    def left(self) -> int:
        """Bytes that no connection downloads yet."""
        return sum(stop - start for start, stop in self._queue if stop is not None)

    def to_come(self) -> int:
        """Bytes that are not there yet."""
        return self.left() + sum(s.stop - s.pos for s in self.active if s.stop is not None)

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return not self._queue and not self.active

    def take(self, connections: int = 1, *, growing: bool = False, connected: bool = False) -> Segment | None:
        """The next range for one of so many connections, whose number may still be `growing`; None if there is none."""
        if not self._queue:
            worth = _WORTH_STEALING if connected else _WORTH_CONNECTING
            return self._steal(worth) if connections > 1 and self.divisible else None
        start, stop = self._queue.pop(0)
        if stop is not None and self.divisible:
            if connections == 1:
                length = min(_MOST, self._last * 4)
            elif growing:
                length = _FIRST
            else:
                length = max(_LEAST, min(_MOST, (self.left() + stop - start) // (2 * connections)))
            if stop - start > length + length // 2:  # a rest that is hardly worth a request goes along
                self._queue.insert(0, (start + length, stop))
                stop = start + length
            self._last = stop - start
        return self._begin(start, stop)

    def take_at(self, start: int, *, exactly: bool = False) -> Segment | None:
        """The next range from a byte on, whole: for a server that sends the file from there on anyway."""
        for index, (first, stop) in enumerate(self._queue):
            if first == start or (first > start and not exactly):
                del self._queue[index]
                return self._begin(first, stop)
        return None

    def add(self, missing: Sequence[tuple[int, int | None]]) -> None:
        """Add ranges that are to come."""
        self._queue += missing
        self._queue.sort(key=lambda pair: pair[0])

    def _begin(self, start: int, stop: int | None) -> Segment:
        segment = Segment(start, stop, start)
        self.active.append(segment)
        return segment

    def _steal(self, worth: float) -> Segment | None:
        running = [segment for segment in self.active if segment.stop is not None]
        other = max(running, key=lambda segment: (segment.stop or 0) - segment.pos, default=None)
        if other is None or other.stop is None or other.pos == other.start:
            return None
        rest = other.stop - other.pos
        if rest < other.rate() * (worth if rest >= _LEAST_STOLEN else _ENDLESS):
            return None
        middle, stop = other.pos + rest // 2, other.stop
        other.stop = middle
        return self._begin(middle, stop)

    def wrote(self, segment: Segment, count: int) -> None:
        """Note bytes that were written."""
        segment.pos += count
        self.moved += count

    def end(self, segment: Segment) -> None:
        """A connection is through with its segment: what it did not bring is for others."""
        if segment in self.active:
            self.active.remove(segment)
            segment.ended = time.monotonic()
            if segment.stop is None or segment.pos < segment.stop:
                self.add([(segment.pos, segment.stop)])
