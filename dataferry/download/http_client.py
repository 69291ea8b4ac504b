"""Blocking requests for ranges of a file: for maps that are read in part, and for checks of hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ..errors import Reason, TransferError
from .backoff import LONGEST_WAIT_FOR_PART, backoff, first_pause
from .response import EXPIRED, check_head, describe_body, strong_etag
from .session import Network, Transfer
from .session_pool import borrowed
from .source import Source

if TYPE_CHECKING:
    from ..config.settings import Settings


_TRIES = 4
_MOST = 1 << 28  # bytes of one response


class Range(NamedTuple):
    """Bytes of a file from a server.

    ``total`` is the size of the whole file where the server says it, ``etag`` a strong ETag or ``""``; ``ranges`` is
    False where the server ignored the range and sent the file from its first byte.
    """

    data: bytes
    total: int | None
    etag: str
    ranges: bool
    headers: Mapping[str, str]


class Client:
    """Blocking requests with logins, proxies, redirects and limits of time as downloads have; threads may share it."""

    def __init__(self, settings: Settings, *, fresh: bool = False) -> None:
        self._network = Network(settings)
        self._fresh = fresh  # each request gets a new connection
        self._lock = threading.Lock()
        self.moved = 0

    def read_range(
        self,
        source: Source,
        start: int,
        stop: int | None,
        *,
        size: int | None = None,
        etag: str = "",
        name: str = "",
    ) -> Range:
        """Bytes ``[start, stop)`` of what a source serves; all that follow where `stop` is None.

        ``size`` is that of the whole file, and ``etag`` of bytes that were read before. With ``name`` a page or a
        git-lfs pointer in place of the file is recognised. Raises `TransferError`.
        """
        fresh = self._fresh
        for attempt in range(1, _TRIES + 1):
            transfer = self._request(source, start, stop)
            transfer.fresh = fresh
            try:
                return self._once(transfer, source, start, stop, size, etag, name)
            except TransferError as error:
                fresh = fresh or transfer.reused  # the answer may have been left unread there by the one before
                if error.final and transfer.reused and attempt < _TRIES:
                    continue
                wait = error.retry_after
                if wait is None:
                    wait = backoff(attempt, first_pause(self._network.stall_timeout))
                if error.final or attempt == _TRIES or wait > LONGEST_WAIT_FOR_PART:
                    raise
                time.sleep(wait)
        raise AssertionError  # the last attempt returns or raises

    def _request(self, source: Source, start: int, stop: int | None) -> Transfer:
        target = self._network.redirects.get(source.url)
        transfer = Transfer(target or source.url, source.redacted)
        if target is None or urlsplit(target)[:2] == urlsplit(source.url)[:2]:
            transfer.private = tuple(source.headers.items())
        transfer.hops = int(target is not None)  # a login of .netrc is not for where a redirect led to
        if start or stop is not None:
            transfer.headers = (("Range", f"bytes={start}-{'' if stop is None else stop - 1}"),)
        transfer.expected = None if stop is None else stop - start
        transfer.large = True
        transfer.most = _MOST
        return transfer

    def _once(
        self,
        transfer: Transfer,
        source: Source,
        start: int,
        stop: int | None,
        size: int | None,
        etag: str,
        name: str,
    ) -> Range:
        network, place, shortcut = self._network, transfer.place, transfer.hops > 0
        with borrowed() as session:
            session.start(transfer, network)
            while transfer not in session.step(0.5):
                head = transfer.head
                # Where the whole file comes its beginning is taken; a later range is not waited for.
                whole = head is not None and head.status == 200 and transfer.expected is not None
                if whole and (start or sum(map(len, transfer.chunks)) >= (transfer.expected or 0)):
                    break
            session.cancel(transfer)
        data = b"".join(transfer.chunks)
        with self._lock:
            self.moved += len(data)
        head = transfer.head
        if transfer.error is not None:
            raise transfer.error
        if head is None:
            raise TransferError(place, "the connection was closed without an answer", kind=Reason.CUT)
        if shortcut and head.status in EXPIRED:
            network.redirects.pop(source.url, None)
            return self._once(self._request(source, start, stop), source, start, stop, size, etag, name)
        try:
            total = check_head(head, place, start if head.status == 206 else 0, stop, size)
        except TransferError as error:
            strange = describe_body(data[:1024], head.headers, name) if name and error.kind == Reason.SIZE else None
            if strange is None:
                raise
            raise TransferError(place, strange[1], kind=strange[0], final=True) from None
        if head.status == 200 and start:
            raise TransferError(place, "the server ignores byte ranges", kind=Reason.RANGE, final=True)
        if strange := describe_body(b"" if start else data[:1024], head.headers, name or ".html"):
            raise TransferError(place, strange[1], kind=strange[0], final=True)
        found = strong_etag(head.headers) or ""
        if etag and found and found != etag:
            raise TransferError(place, "the file there was changed meanwhile", kind=Reason.CHANGED, final=True)
        if transfer.url != source.url:
            network.redirects[source.url] = transfer.url
        end = min(stop if stop is not None else 1 << 62, total if total is not None else 1 << 62)
        data = data[: end - start]
        if end < 1 << 62 and len(data) != end - start and (stop is None or total is not None):
            text = f"{len(data)} bytes arrived instead of {end - start}"
            raise TransferError(place, text, kind=Reason.CUT)
        return Range(data, total, found, head.status == 206, head.headers)

    def close(self) -> None:
        """Do nothing: idle connections are the process's, and are closed after some seconds."""
