"""A file at a server, read by byte ranges: with the logins, proxies, redirects and retries of downloads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..config.settings import load_settings
from ..download.http_client import Client
from ..download.source import Source
from ..errors import MapError, Offline, Reason, TransferError
from .byte_source import BadCopy, ByteSource, Context
from .fits import FIRST

_NOT_REACHED = (Reason.CONNECT, Reason.DNS, Reason.TIMEOUT, Reason.UNREACHABLE, Reason.PROXY, Reason.TLS)

_WHOLE = "fetch the file whole: dataferry get"
_REMEDIES = {
    Reason.RANGE: _WHOLE,
    Reason.ENCODING: f"a server that compresses ignores byte ranges of the file itself; {_WHOLE}",
    Reason.CHANGED: "read it again",
    Reason.SIZE: "read it again",
}


@dataclass(slots=True)
class _Part:
    """What one URL serves: the file, or a part of it that begins at ``start``."""

    source: Source
    start: int
    size: int | None = None
    etag: str = ""


class RemoteFile(ByteSource):
    """A file at a server that answers byte ranges; ``moved`` counts the bytes of the bodies that arrived."""

    connections = 8

    def __init__(self, source: Source) -> None:
        self.context = Context(source.redacted)
        settings = load_settings()
        if settings.offline:
            raise Offline(
                source.redacted, [(source.redacted, "offline mode")], "unset DATAFERRY_OFFLINE to read it from there"
            )
        if source.opener is not None:
            raise self._error("this host does not serve byte ranges over HTTP", _WHOLE)
        self._client = Client(settings)
        self._parts = [_Part(source, 0)]
        if source.parts:
            starts = [sum(part.size for part in source.parts[:k]) for k in range(len(source.parts))]
            self._parts = [
                _Part(replace(source, url=part.url, parts=()), start, part.size)
                for part, start in zip(source.parts, starts, strict=True)
            ]
        self._start = b""
        first = min(FIRST, self.size) if source.parts else FIRST
        self._start = self._read(self._parts[0], 0, min(first, self._parts[0].size or first))

    @property
    def size(self) -> int:
        return self._parts[-1].start + (self._parts[-1].size or 0)

    @property
    def moved(self) -> int:
        return self._client.moved

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer by one request, or one of each part; the start of the file is kept."""
        stop = offset + len(into)
        if stop > self.size:
            raise self._error(f"the file is truncated: {stop} bytes needed, {self.size} there")
        here = self._start[offset:stop]
        into[: len(here)] = here
        for part in self._parts:
            first = max(offset + len(here), part.start)
            last = min(stop, part.start + (part.size or 0))
            if first < last:
                into[first - offset : last - offset] = self._read(part, first - part.start, last - part.start)

    def _read(self, part: _Part, start: int, stop: int) -> bytes:
        path = urlsplit(part.source.url).path
        name = path if path.endswith(".gz") else ""  # else a gzip stream would be an encoded body to the client
        try:
            found = self._client.read_range(part.source, start, stop, size=part.size, etag=part.etag, name=name)
        except TransferError as error:
            if error.kind == Reason.BEYOND and start == 0:
                raise self._error("is empty") from error
            prefix = "the server is not reached: " if error.kind in _NOT_REACHED else ""
            raise self._error(prefix + error.reason, _REMEDIES.get(Reason(error.kind), "")) from error
        if not found.ranges:
            raise self._error("the server ignores byte ranges", _WHOLE)
        if found.total is None:
            raise self._error("the server does not say how large the file is", _WHOLE)
        part.size, part.etag = found.total, part.etag or found.etag
        return found.data

    def _error(self, reason: str, remedy: str = "") -> MapError:
        return self.context.error(reason, remedy, BadCopy)
