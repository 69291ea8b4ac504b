"""Noticing that too little comes: bytes per time, so that a trickle counts as a stall as well."""

from __future__ import annotations

import time

from ..errors import TransferError

__all__ = ["Stall"]

_SLOWEST = 256.0  # bytes per second below which a connection counts as stalled


class Stall:
    """Notices that too little comes: bytes per time, so that a trickle counts as a stall as well.

    Parameters
    ----------
    seconds : float
        The time in which enough must come.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = time.monotonic()
        self._count = 0

    def check(self, count: int, now: float) -> bool:
        """Note bytes.

        Parameters
        ----------
        count : int
            How many came.
        now : float
            The time.

        Returns
        -------
        bool
            True if this is a stall.
        """
        self._count += count
        if now - self._since < self.seconds:
            return False
        slow = self._count < _SLOWEST * self.seconds
        self._since, self._count = now, 0
        return slow

    def error(self, place: str) -> TransferError:
        """The error to raise.

        Parameters
        ----------
        place : str
            The source as it may be shown.

        Returns
        -------
        TransferError
            To be raised.
        """
        return TransferError(place, f"less than {_SLOWEST:.0f} bytes/s in {self.seconds:g} s", kind="stall")
