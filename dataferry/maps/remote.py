"""Ranges of a file at a server, for reading a map in part without fetching it."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from ..errors import MapError
from ..hosts.base import Source
from .headers import FIRST
from .place import Place
from .source import ByteSource

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

__all__ = ["RangeFile"]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)$")
_LANES = 8
_TRIES = 3


class _Broken(MapError):
    """An answer that ended too early: worth asking again."""


class RangeFile(ByteSource):
    """A file at a server that answers byte ranges.

    Parameters
    ----------
    source : Source
        The URL and what has to be sent with it.

    Attributes
    ----------
    moved : int
        Bytes of the bodies that have come over the wire.

    Raises
    ------
    MapError
        If the server is not reached, does not have the file, or ignores ranges.
    """

    # a request costs a round trip: what lies closer together than this is fetched in one piece
    gap = 1 << 15
    lanes = _LANES

    def __init__(self, source: Source) -> None:
        from urllib3 import Timeout

        self.place = Place(source.shown)
        self._source = source
        self._pool: PoolManager = _pool(source)
        self._timeout = Timeout(connect=10, read=30)
        self._count = threading.Lock()
        self._etag = ""
        self.moved = 0
        self.size = -1
        self._start = self._get(0, FIRST)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill ``into`` by one request; the start of the file is kept."""
        if offset + len(into) > self.size:
            raise self.short(offset, len(into))
        here = self._start[offset : offset + len(into)]
        into[: len(here)] = here
        if len(here) < len(into):
            into[len(here) :] = self._get(offset + len(here), len(into) - len(here))

    def _get(self, offset: int, length: int) -> bytes:
        for _ in range(_TRIES - 1):
            try:
                return self._once(offset, length)
            except _Broken:
                continue
        return self._once(offset, length)

    def _once(self, offset: int, length: int) -> bytes:
        import urllib3

        headers = {
            **self._source.headers,
            "Range": f"bytes={offset}-{offset + length - 1}",
            "Accept-Encoding": "identity",
        }
        try:
            answer = self._pool.request(
                "GET", self._source.url, headers=headers, preload_content=False, timeout=self._timeout
            )
        except urllib3.exceptions.HTTPError as error:
            raise self.place.error(f"the server is not reached: {type(error).__name__}") from error
        try:
            return self._body(answer, offset, length)
        except urllib3.exceptions.HTTPError as error:
            raise _Broken(f"{self.place}: the connection broke: {type(error).__name__}") from error
        finally:
            # of an answer that is not wanted, the rest is not waited for
            answer.close()

    def _body(self, answer: BaseHTTPResponse, offset: int, length: int) -> bytes:
        if answer.status == 200:
            raise self.place.error("the server ignores byte ranges", "fetch the file whole: dataferry get")
        if answer.status == 416 and offset == 0:
            raise self.place.error("is empty")
        if answer.status != 206:
            raise self.place.error(f"the server answers {answer.status} {answer.reason or ''}".rstrip())
        found = _RANGE.match(answer.headers.get("Content-Range", ""))
        if not found or int(found[1]) != offset or answer.headers.get("Content-Encoding", "identity") != "identity":
            said = answer.headers.get("Content-Range", "nothing")
            raise self.place.error(f"the server does not answer the range asked for (it says {said!r})")
        size, etag = int(found[3]), answer.headers.get("ETag", "")
        if self.size < 0:
            self.size, self._etag = size, etag
        elif (size, etag) != (self.size, self._etag):
            raise self.place.error("the file changed at the server while it was read", "read it again")
        wanted = min(length, size - offset)
        body = answer.read(wanted)
        with self._count:
            self.moved += len(body)
        if len(body) != wanted:
            raise _Broken(f"{self.place}: the connection ended after {len(body)} of {wanted} bytes")
        answer.release_conn()
        return body

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()


def _pool(source: Source) -> Any:
    import os
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    settings: dict[str, Any] = {"maxsize": _LANES, "retries": urllib3.Retry(3, redirect=5, backoff_factor=0.2)}
    bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle:
        settings["ca_certs"] = bundle
    parts = urlsplit(source.url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, **settings)
    return urllib3.PoolManager(**settings)
