"""Ranges of a file at a server, for reading a map in part without fetching it: in the same session as downloads are."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..download.source import Source
from ..errors import Offline, TransferError
from .headers import FIRST
from .place import BadCopy, Place
from .source import ByteSource

if TYPE_CHECKING:
    from ..download.answer import Answer
    from ..errors import MapError

__all__ = ["RangeFile"]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)$")
_LANES = 8
_TRIES = 4
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
# a redirect may lead to a signed URL that holds for minutes only
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_LONGEST_WAIT = 30.0
_REFUSALS = {
    401: "a login is needed: put a token or user and password for this host into config.toml, or into .netrc",
    403: "not allowed, or not there",
    407: "the proxy wants a login: give user and password in the proxy's URL",
}


class _Again(BadCopy):
    """A failure that may be over soon."""

    wait: float | None = None


@dataclass(slots=True)
class _Object:
    """What one URL serves: the file, or a part of it."""

    source: Source
    start: int
    size: int = -1
    etag: str = ""
    url: str | None = None


class RangeFile(ByteSource):
    """A file at a server that answers byte ranges.

    Parameters
    ----------
    source : Source
        The URL and what has to be sent with it. Proxies, authorities, client certificates, tokens and passwords are
        those of every other request of dataferry.

    Attributes
    ----------
    moved : int
        Bytes of the bodies that have come over the wire.

    Raises
    ------
    MapError
        If the server is not reached, does not have the file, or ignores ranges.
    Offline
        If the user has switched the network off.
    """

    # a request costs a round trip: what lies closer together than this is fetched in one piece
    gap = 1 << 15
    lanes = _LANES

    def __init__(self, source: Source) -> None:
        from ..config.settings import load_settings
        from ..download.client import Client

        self.place = Place(source.redacted)
        settings = load_settings()
        if settings.offline:
            raise Offline(
                source.redacted, [(source.redacted, "offline mode")], "unset DATAFERRY_OFFLINE to read it from there"
            )
        if source.opener is not None:
            raise self._error("this host does not serve byte ranges over HTTP", "fetch the file whole: dataferry get")
        self._client = Client(settings)
        self._count = threading.Lock()
        self.moved = 0
        self._objects = [_Object(source, 0)]
        if source.parts:
            starts = [sum(part.size for part in source.parts[:k]) for k in range(len(source.parts))]
            self._objects = [
                _Object(replace(source, url=part.url, parts=()), start, part.size)
                for part, start in zip(source.parts, starts, strict=True)
            ]
        self.size = sum(part.size for part in source.parts) if source.parts else -1
        try:
            self._start = b"" if self.size == 0 else self._get(0, FIRST if self.size < 0 else min(FIRST, self.size))
        except BaseException:
            self._client.close()
            raise

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill ``into`` by one request, or one of each object; the start of the file is kept."""
        if offset + len(into) > self.size:
            raise self.short(offset, len(into))
        here = self._start[offset : offset + len(into)]
        into[: len(here)] = here
        if len(here) < len(into):
            into[len(here) :] = self._get(offset + len(here), len(into) - len(here))

    def _get(self, offset: int, length: int) -> bytes:
        if len(self._objects) == 1:
            return self._tried(self._objects[0], offset, length)
        bodies = []
        for there in self._objects:
            first, stop = max(offset, there.start), min(offset + length, there.start + there.size)
            if first < stop:
                bodies.append(self._tried(there, first - there.start, stop - first))
        return b"".join(bodies)

    def _tried(self, there: _Object, offset: int, length: int) -> bytes:
        for tried in range(1, _TRIES):
            try:
                return self._once(there, offset, length)
            except _Again as error:
                wait = 0.1 * 2**tried if error.wait is None else error.wait
                if wait > _LONGEST_WAIT:
                    raise
                time.sleep(wait)
        return self._once(there, offset, length)

    def _once(self, there: _Object, offset: int, length: int) -> bytes:
        extra = f"Range: bytes={offset}-{offset + length - 1}\r\n"
        try:
            answer, line = self._client.ask(there.source, extra, url=there.url)
        except TransferError as error:
            kind = BadCopy if error.final else _Again
            raise kind(f"{self.place}: the server is not reached: {error.reason}") from error
        try:
            return self._body(answer, there, offset, length)
        finally:
            # of an answer that is not wanted, the rest is not waited for: its connection is not kept
            self._client.done(answer, line)

    def _body(self, answer: Answer, there: _Object, offset: int, length: int) -> bytes:
        if answer.status != 206:
            raise self._refusal(answer, there, offset)
        fields = answer.fields
        found = _RANGE.match(fields.get("content-range", ""))
        encoding = fields.get("content-encoding", "identity")
        if encoding != "identity":
            raise self._error(
                f"the server sends a compressed form of the file (Content-Encoding: {encoding})",
                "fetch the file whole: dataferry get",
            )
        if not found or int(found[1]) != offset:
            said = fields.get("content-range", "nothing")
            raise self._error(f"the server does not answer the range asked for (it says {said!r})")
        self._same(there, int(found[3]), fields.get("etag", ""))
        there.url = answer.url
        wanted = min(length, there.size - offset)
        body = memoryview(bytearray(wanted))
        got = 0
        try:
            while got < wanted:
                count = answer.read_some(body[got:])
                if not count:
                    break
                got += count
        except Exception as error:
            raise _Again(f"{self.place}: the connection broke: {type(error).__name__}") from error
        finally:
            with self._count:
                self.moved += got
        if got < wanted:
            raise _Again(f"{self.place}: the connection ended after {got} of {wanted} bytes")
        return bytes(body)

    def _same(self, there: _Object, size: int, etag: str) -> None:
        """Note what the file is, or see that it is still that."""
        with self._count:
            if there.size < 0:
                there.size = self.size = size
            if not there.etag:
                there.etag = etag
            if (there.size, there.etag) != (size, etag):
                raise self._error("the file changed at the server while it was read", "read it again")

    def _refusal(self, answer: Answer, there: _Object, offset: int) -> MapError:
        from ..download.verdict import retry_after

        if answer.status == 200:
            return self._error("the server ignores byte ranges", "fetch the file whole: dataferry get")
        if answer.status == 416 and offset == 0:
            return self._error("is empty")
        said = f"the server answers {answer.status} {answer.reason or ''}".rstrip()
        if there.url not in (None, there.source.url) and answer.status in _EXPIRED:
            there.url = None
            again = _Again(f"{self.place}: {said}")
            again.wait = 0.0
            return again
        if answer.status in _LATER:
            again = _Again(f"{self.place}: {said}")
            again.wait = retry_after(answer)
            return again
        return self._error(said, _REFUSALS.get(answer.status, ""))

    def _error(self, reason: str, remedy: str = "") -> MapError:
        return self.place.error(reason, remedy, BadCopy)

    def short(self, offset: int, length: int) -> MapError:
        """Make the error for a range that the server's file does not have."""
        return self._error(f"the file is truncated: {offset + length} bytes needed, {self.size} there")

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
