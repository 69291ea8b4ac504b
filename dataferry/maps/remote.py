"""A file at a server, read by byte ranges without fetching it, in the same session as downloads."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..download.source import Source
from ..errors import Offline, TransferError
from .byte_source import BadCopy, ByteSource, Context
from .fits import FIRST

if TYPE_CHECKING:
    from ..download.answer import Answer
    from ..errors import MapError

__all__ = ["RemoteFile"]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)$")
_TRIES = 4
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
# a redirect may lead to a signed URL that is valid for minutes only
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_LONGEST_WAIT = 30.0
_REMEDIES = {
    401: "a login is needed: put a token or user and password for this host into config.toml, or into .netrc",
    403: "not allowed, or not there",
    407: "the proxy wants a login: give user and password in the proxy's URL",
}


class _Retry(BadCopy):
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


class RemoteFile(ByteSource):
    """A file at a server that answers byte ranges; ``moved`` counts the bytes of the bodies that arrived."""

    connections = 8

    def __init__(self, source: Source) -> None:
        from ..config.settings import load_settings
        from ..download.client import Client

        self.context = Context(source.redacted)
        settings = load_settings()
        if settings.offline:
            raise Offline(
                source.redacted, [(source.redacted, "offline mode")], "unset DATAFERRY_OFFLINE to read it from there"
            )
        if source.opener is not None:
            raise self._error("this host does not serve byte ranges over HTTP", "fetch the file whole: dataferry get")
        self._client = Client(settings)
        self._lock = threading.Lock()
        self.moved = 0
        self._objects = [_Object(source, 0)]
        if source.parts:
            starts = [sum(part.size for part in source.parts[:k]) for k in range(len(source.parts))]
            self._objects = [
                _Object(replace(source, url=part.url, parts=()), start, part.size)
                for part, start in zip(source.parts, starts, strict=True)
            ]
        self._size = sum(part.size for part in source.parts) if source.parts else -1
        try:
            first = FIRST if self._size < 0 else min(FIRST, self._size)
            self._start = self._get(0, first) if first else b""
        except BaseException:
            self._client.close()
            raise

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer by one request, or one of each part; the start of the file is kept."""
        if offset + len(into) > self.size:
            raise self._error(f"the file is truncated: {offset + len(into)} bytes needed, {self.size} there")
        here = self._start[offset : offset + len(into)]
        into[: len(here)] = here
        if len(here) < len(into):
            into[len(here) :] = self._get(offset + len(here), len(into) - len(here))

    def _get(self, offset: int, length: int) -> bytes:
        if len(self._objects) == 1:
            return self._try_get(self._objects[0], offset, length)
        bodies = []
        for part in self._objects:
            first, stop = max(offset, part.start), min(offset + length, part.start + part.size)
            if first < stop:
                bodies.append(self._try_get(part, first - part.start, stop - first))
        return b"".join(bodies)

    def _try_get(self, part: _Object, offset: int, length: int) -> bytes:
        for number in range(1, _TRIES):
            try:
                return self._get_once(part, offset, length)
            except _Retry as error:
                wait = 0.1 * 2**number if error.wait is None else error.wait
                if wait > _LONGEST_WAIT:
                    raise
                time.sleep(wait)
        return self._get_once(part, offset, length)

    def _get_once(self, part: _Object, offset: int, length: int) -> bytes:
        extra = f"Range: bytes={offset}-{offset + length - 1}\r\n"
        try:
            answer, line = self._client.ask(part.source, extra, url=part.url)
        except TransferError as error:
            kind = BadCopy if error.final else _Retry
            raise kind(f"{self.context}: the server is not reached: {error.reason}") from error
        try:
            return self._body(answer, part, offset, length)
        finally:
            # of an answer that is not wanted, the rest is not waited for: its connection is not kept
            self._client.done(answer, line)

    def _body(self, answer: Answer, part: _Object, offset: int, length: int) -> bytes:
        if answer.status != 206:
            raise self._refusal(answer, part, offset)
        fields = answer.fields
        found = _RANGE.match(fields.get("content-range", ""))
        encoding = fields.get("content-encoding", "identity")
        if encoding != "identity":
            raise self._error(
                f"the server sends a compressed form of the file (Content-Encoding: {encoding})",
                "fetch the file whole: dataferry get",
            )
        if not found or int(found[1]) != offset:
            answered = fields.get("content-range", "nothing")
            raise self._error(f"the server does not answer the range asked for (it says {answered!r})")
        self._check_same(part, int(found[3]), fields.get("etag", ""))
        part.url = answer.url
        wanted = min(length, part.size - offset)
        body = memoryview(bytearray(wanted))
        count = 0
        try:
            while count < wanted:
                more = answer.read_some(body[count:])
                if not more:
                    break
                count += more
        except Exception as error:
            raise _Retry(f"{self.context}: the connection broke: {type(error).__name__}") from error
        finally:
            with self._lock:
                self.moved += count
        if count < wanted:
            raise _Retry(f"{self.context}: the connection ended after {count} of {wanted} bytes")
        return bytes(body)

    def _check_same(self, part: _Object, size: int, etag: str) -> None:
        """Note what the file is, or see that it is still that."""
        with self._lock:
            if part.size < 0:
                part.size = self._size = size
            if not part.etag:
                part.etag = etag
            if (part.size, part.etag) != (size, etag):
                raise self._error("the file changed at the server while it was read", "read it again")

    def _refusal(self, answer: Answer, part: _Object, offset: int) -> MapError:
        from ..download.verdict import retry_after

        if answer.status == 200:
            return self._error("the server ignores byte ranges", "fetch the file whole: dataferry get")
        if answer.status == 416 and offset == 0:
            return self._error("is empty")
        reason = f"the server answers {answer.status} {answer.reason or ''}".rstrip()
        if part.url not in (None, part.source.url) and answer.status in _EXPIRED:
            part.url = None
            again = _Retry(f"{self.context}: {reason}")
            again.wait = 0.0
            return again
        if answer.status in _TRANSIENT:
            again = _Retry(f"{self.context}: {reason}")
            again.wait = retry_after(answer)
            return again
        return self._error(reason, _REMEDIES.get(answer.status, ""))

    def _error(self, reason: str, remedy: str = "") -> MapError:
        return self.context.error(reason, remedy, BadCopy)

    def close(self) -> None:
        self._client.close()
        super().close()
