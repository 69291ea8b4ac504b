"""Which bytes are there: a sorted set of half-open ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

__all__ = ["Ranges"]


class Ranges:
    """Disjoint ranges of bytes, ``[start, stop)``, joined where they touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Add a range.

        Parameters
        ----------
        start, stop : int
            First byte, and one after the last.
        """
        if start >= stop:
            return
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]

    def prefix(self) -> int:
        """Bytes that are there without a gap from the first on.

        Returns
        -------
        int
            Their number.
        """
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def reach(self, start: int) -> int:
        """Where the gap-free bytes from `start` on end.

        Parameters
        ----------
        start : int
            A position.

        Returns
        -------
        int
            `start` itself if the byte there is missing.
        """
        index = bisect_right(self._starts, start) - 1
        return max(start, self._stops[index]) if index >= 0 else start

    def missing(self, size: int) -> list[tuple[int, int]]:
        """The gaps up to a size.

        Parameters
        ----------
        size : int
            Bytes of the whole file.

        Returns
        -------
        list of (int, int)
            Ranges that are not there.
        """
        gaps = zip([0, *self._stops], [*self._starts, size], strict=True)
        return [(a, min(b, size)) for a, b in gaps if a < min(b, size)]

    def total(self) -> int:
        """The number of bytes that are there.

        Returns
        -------
        int
            Their number.
        """
        return sum(self._stops) - sum(self._starts)
