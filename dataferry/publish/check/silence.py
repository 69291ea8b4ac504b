"""Which hosts do not answer at all, so that nobody waits for them once for every file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ...download.source import Source
    from ...errors import TransferError

__all__ = ["Silence"]

_KINDS = frozenset({"connect", "dns", "timeout", "unreachable"})
_ENOUGH = 3  # files in a row


class Silence:
    """What a check knows of the hosts that could not be reached; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: dict[str, int] = {}

    def note(self, source: Source, error: TransferError | None) -> None:
        """Note how asking for a file ended.

        Parameters
        ----------
        source : Source
            What was asked.
        error : TransferError or None
            What happened; None if all is well.
        """
        host = urlsplit(source.url).netloc
        with self._lock:
            silent = error is not None and error.kind in _KINDS
            self._count[host] = self._count.get(host, 0) + 1 if silent else 0

    def of(self, source: Source) -> str:
        """Why a host is not worth asking.

        Parameters
        ----------
        source : Source
            What would be asked.

        Returns
        -------
        str
            Empty where it is.
        """
        with self._lock:
            count = self._count.get(urlsplit(source.url).netloc, 0)
        return f"the host did not answer for {count} files before" if count >= _ENOUGH else ""
