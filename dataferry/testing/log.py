"""The log of a `RangeServer`: one record for each request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

__all__ = ["Log", "Request"]


@dataclass(slots=True)
class Request:
    """One request and what came of it.

    Parameters
    ----------
    method, path : str
        As sent, the path still quoted and with its query.
    name : str
        The path unquoted, without the first slash and the query.
    headers : mapping of str to str
        The request's headers by lower-case name.
    connection : int
        Number of the connection; the same for requests that share one.
    at : float
        Seconds of `time.monotonic` when it came.
    status : int or None
        The status that was sent; None if none was.
    sent : int
        Bytes of the body that went out.
    faults : tuple of str
        Class names of the faults that spoilt the reply.
    done : bool
        True once the reply is over.
    """

    method: str
    path: str
    name: str
    headers: Mapping[str, str]
    connection: int
    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    sent: int = 0
    faults: tuple[str, ...] = ()
    done: bool = False

    @property
    def range(self) -> str | None:
        """The ``Range`` header, None without one."""
        return self.headers.get("range")


class Log:
    """Records of requests, safe among threads."""

    def __init__(self) -> None:
        self._records: list[Request] = []
        self._resting: set[int] = set()
        self._changed = threading.Condition()

    def add(self, record: Request) -> None:
        """Append a record.

        Parameters
        ----------
        record : Request
            A request that has just come in.
        """
        with self._changed:
            self._records.append(record)

    def finish(self, record: Request) -> None:
        """Mark a record as over.

        Parameters
        ----------
        record : Request
            A request whose reply is over.
        """
        with self._changed:
            record.done = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def rest(self, record: Request) -> Iterator[None]:
        """While a reply waits on purpose its record says all that went out: nobody waits for its end.

        Parameters
        ----------
        record : Request
            A request whose reply is held back.

        Yields
        ------
        None
        """
        with self._changed:
            self._resting.add(id(record))
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._resting.discard(id(record))

    def snapshot(self, patience: float) -> list[Request]:
        """Copies of the records so far.

        A client may have read the last byte before the server has noted that it is out; so this waits for
        replies that may be about to end; not for those that are held back.

        Parameters
        ----------
        patience : float
            Seconds to wait at most.

        Returns
        -------
        list of Request
            In the order in which they came in.
        """
        with self._changed:
            self._changed.wait_for(self._told, patience)
            return [replace(record) for record in self._records]

    def _told(self) -> bool:
        return all(record.done or id(record) in self._resting for record in self._records)

    def clear(self) -> None:
        """Forget all records."""
        with self._changed:
            self._records.clear()
