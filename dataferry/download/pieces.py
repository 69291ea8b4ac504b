"""What of one file is still to come, shared out among connections so that none is left with a long tail."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

__all__ = ["Pieces", "Segment"]

_MIB = 1 << 20
_FIRST = 8 * _MIB  # proves ranges, measures the rate, and is the most that is sent in vain if it goes elsewhere
_LEAST = 4 * _MIB
_LEAST_STOLEN = _MIB // 4
_MOST = 512 * _MIB
_WORTH_STEALING = 0.4  # seconds that the victim would still need


@dataclass(slots=True, eq=False)
class Segment:
    """A range that one connection is bringing.

    Parameters
    ----------
    start : int
        Its first byte.
    stop : int or None
        One after its last byte, which may be lowered while it runs; None where the file's size is not known.
    pos : int
        One after the last byte that was written.
    claimed : int
        One after the last byte that is being read: nobody else may take bytes before it.
    """

    start: int
    stop: int | None
    pos: int
    claimed: int
    since: float = field(default_factory=time.monotonic)
    way: object = None
    ended: float = 0.0

    def rate(self) -> float:
        """Bytes per second so far.

        Returns
        -------
        float
            Its rate.
        """
        return (self.pos - self.start) / max(1e-3, time.monotonic() - self.since)


class Pieces:
    """The missing ranges of one file.

    Parameters
    ----------
    missing : list of (int, int or None)
        What is to come; ``(0, None)`` for a file of unknown size.
    """

    def __init__(self, missing: list[tuple[int, int | None]]) -> None:
        self._lock = threading.Lock()
        self._queue = list(missing)
        self.active: list[Segment] = []
        self._last = _FIRST // 4
        self.divisible = True
        self.moved = 0

    def left(self) -> int:
        """Bytes that no connection is bringing yet.

        Returns
        -------
        int
            Their number.
        """
        return sum(b - a for a, b in self._queue if b is not None)

    def to_come(self) -> int:
        """Bytes that are not there yet.

        Returns
        -------
        int
            Their number.
        """
        with self._lock:
            return self.left() + sum(s.stop - s.pos for s in self.active if s.stop is not None)

    def take(
        self, connections: int = 1, *, growing: bool = False, after: int | None = None, before: int | None = None
    ) -> Segment | None:
        """The next range for a connection.

        Parameters
        ----------
        connections : int
            How many are to share what is left.
        growing : bool
            Whether that number may still grow: then pieces stay small enough to leave something for the others.
        after : int, optional
            Only a range at or after this byte, whole: for a server that sends the file from there on anyway.
        before : int, optional
            With `after`: only a range that begins before this byte.

        Returns
        -------
        Segment or None
            None if nothing is left that is worth a request.
        """
        with self._lock:
            if after is not None:
                return self._whole_after(after, before)
            if not self._queue:
                return self._steal() if connections > 1 and self.divisible else None
            start, stop = self._queue.pop(0)
            if stop is not None and self.divisible:
                if connections == 1:
                    length = min(_MOST, self._last * 4)
                elif growing:
                    length = _FIRST
                else:
                    length = max(_LEAST, min(_MOST, (self.left() + stop - start) // connections))
                # A rest that is hardly worth a request goes along.
                if stop - start > length + length // 2:
                    self._queue.insert(0, (start + length, stop))
                    stop = start + length
                self._last = stop - start
            return self._begin(start, stop)

    def _begin(self, start: int, stop: int | None) -> Segment:
        segment = Segment(start, stop, start, start)
        self.active.append(segment)
        return segment

    def _whole_after(self, after: int, before: int | None) -> Segment | None:
        for index, (start, stop) in enumerate(self._queue):
            if start >= after and (before is None or start < before):
                del self._queue[index]
                return self._begin(start, stop)
        return None

    def _steal(self) -> Segment | None:
        running = [segment for segment in self.active if segment.stop is not None]
        victim = max(running, key=lambda segment: (segment.stop or 0) - segment.claimed, default=None)
        if victim is None or victim.stop is None or victim.pos == victim.start:
            return None
        rest = victim.stop - victim.claimed
        if rest < _LEAST_STOLEN or rest < victim.rate() * _WORTH_STEALING:
            return None
        middle, stop = victim.claimed + rest // 2, victim.stop
        victim.stop = middle
        return self._begin(middle, stop)

    def claim(self, segment: Segment, most: int) -> int:
        """Say which bytes are read next, so that nobody takes them.

        Parameters
        ----------
        segment : Segment
            The segment.
        most : int
            Bytes that would fit.

        Returns
        -------
        int
            Bytes to read; 0 at the segment's end.
        """
        with self._lock:
            count = most if segment.stop is None else min(most, segment.stop - segment.pos)
            segment.claimed = segment.pos + count
            return count

    def wrote(self, segment: Segment, count: int) -> None:
        """Note bytes that were written.

        Parameters
        ----------
        segment : Segment
            The segment.
        count : int
            How many.
        """
        with self._lock:
            segment.pos += count
            self.moved += count

    def end(self, segment: Segment) -> bool:
        """A connection is through with its segment: what it did not bring is to be brought by others.

        Parameters
        ----------
        segment : Segment
            The segment.

        Returns
        -------
        bool
            True if this was the last connection of the file.
        """
        with self._lock:
            self.active.remove(segment)
            segment.ended = time.monotonic()
            if segment.stop is None or segment.pos < segment.stop:
                self._queue.append((segment.pos, segment.stop))
                self._queue.sort()
            return not self.active

    def cut(self, source_segments: list[Segment]) -> None:
        """Let segments end at what they have claimed; the rest goes to others.

        Parameters
        ----------
        source_segments : list of Segment
            Running segments.
        """
        with self._lock:
            for segment in source_segments:
                if segment in self.active and segment.stop is not None and segment.claimed < segment.stop:
                    self._queue.append((segment.claimed, segment.stop))
                    segment.stop = segment.claimed
            self._queue.sort()

    @property
    def complete(self) -> bool:
        """True if every byte was written."""
        with self._lock:
            return not self._queue and not self.active
