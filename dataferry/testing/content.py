"""The bytes behind a URL of a `RangeServer`, a request for them, and the right response to it (RFC 9110)."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from http.client import responses
from pathlib import Path
from typing import Literal, Self

__all__ = ["Content", "Files", "Request", "Response", "of_bytes", "page", "respond"]

_TYPES = {".html": "text/html", ".txt": "text/plain", ".toml": "text/plain", ".json": "application/json"}
_ANY_TYPE = "application/octet-stream"
Ending = Literal["keep", "close", "reset", "stall"]


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes behind one URL; ``pieces(start, stop)`` gives those of a range, piece by piece."""

    size: int
    pieces: Callable[[int, int], Iterable[bytes]]
    etag: str | None  # with its quotes
    modified: float  # seconds since the epoch
    media_type: str = _ANY_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)  # that belong to the bytes, such as Content-Encoding

    def read(self) -> bytes:
        """All the bytes, in memory."""
        return b"".join(self.pieces(0, self.size))


@dataclass(slots=True)
class Request:
    """One request, as it came in; in the log of a server also what came of it.

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
    times : int
        How often this name was asked for before.
    at : float
        Seconds of `time.monotonic` when it came.
    status : int or None
        The status that was sent; None if none was.
    sent : int
        Bytes of the body that went out.
    faults : tuple of str
        Class names of the faults that spoilt the response.
    done : bool
        True once the response is over, or waits on purpose.
    """

    method: str
    path: str
    name: str
    headers: Mapping[str, str]
    connection: int = 0
    times: int = 0
    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    sent: int = 0
    faults: tuple[str, ...] = ()
    done: bool = False

    @property
    def range(self) -> str | None:
        """The ``Range`` header, None without one."""
        return self.headers.get("range")

    def without(self, *names: str) -> Self:
        """The request as a server sees it that ignores some headers."""
        return replace(self, headers=_without(self.headers, names))


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back on the wire.

    Parameters
    ----------
    status : int
        The status code.
    headers : mapping of str to str
        All but ``Date``, ``Server`` and ``Connection``.
    pieces : iterable of bytes
        The body.
    chunked : bool
        Send the body in chunks, without a length.
    head : bytes, optional
        What to send instead of the status line and the headers.
    cut : int, optional
        How many bytes of the body are sent before `ending`; None for all.
    ending : {"keep", "close", "reset", "stall"}
        What happens to the connection then.
    silent : bool
        Send nothing at all before `ending`.
    rate : float, optional
        Bytes a second.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterable[bytes] = ()
    chunked: bool = False
    head: bytes | None = None
    cut: int | None = None
    ending: Ending = "keep"
    silent: bool = False
    rate: float | None = None

    def without(self, *names: str) -> Self:
        """The response without some headers."""
        return replace(self, headers=_without(self.headers, names))


def _without(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}


def _blocks(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        while start < stop and (data := file.read(min(1 << 20, stop - start))):
            start += len(data)
            yield data


def of_bytes(data: bytes, modified: float, media_type: str = _ANY_TYPE) -> Content:
    """Content from memory; the ETag follows the bytes."""
    etag = f'"{zlib.crc32(data):08x}-{len(data):x}"'
    return Content(len(data), lambda start, stop: [data[start:stop]], etag, modified, media_type)


class Files:
    """The files of a server: a folder, or names with bytes or paths; read again for each request."""

    def __init__(self, source: str | os.PathLike[str] | Mapping[str, bytes | os.PathLike[str]]) -> None:
        self._source = source if isinstance(source, Mapping) else Path(source)
        self._seen: dict[str, tuple[bytes, Content]] = {}  # the checksum of much data takes time
        self._began = int(time.time())

    def find(self, name: str) -> Content | None:
        """The content of a name at this moment; None if there is no such file."""
        media_type = _TYPES.get(os.path.splitext(name)[1], _ANY_TYPE)
        if isinstance(self._source, Path):
            if set("\0\\") & set(name) or {"", ".", ".."} & set(name.split("/")):
                return None
            value: bytes | os.PathLike[str] | None = self._source / name
        else:
            value = self._source.get(name)
        if isinstance(value, bytes):
            data, content = self._seen.get(name, (None, None))
            if content is None or data is not value:
                modified = self._began if content is None else int(time.time())
                content = of_bytes(value, modified, media_type)
                self._seen[name] = value, content
            return content
        if value is None or not os.path.isfile(value):
            return None
        stat = os.stat(value)
        etag = f'"{int(stat.st_mtime):x}-{stat.st_size:x}"'  # as nginx makes it
        return Content(stat.st_size, partial(_blocks, Path(value)), etag, stat.st_mtime, media_type)


def http_date(seconds: float) -> str:
    """A time as HTTP writes it: ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return formatdate(seconds, usegmt=True)


def page(status: int, headers: Mapping[str, str] = {}, body: bytes | None = None) -> Response:
    """A short HTML page about a status, as web servers send it, or another body."""
    if body is None:
        title = f"{status} {responses.get(status, '')}"
        body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n".encode()
    return Response(status, {"Content-Type": "text/html", "Content-Length": str(len(body)), **headers}, [body])


def respond(content: Content | None, request: Request) -> Response:
    """The right response: 200, 206, 304, 404, 405, 412 or 416."""
    if request.method not in ("GET", "HEAD"):
        return page(405, {"Allow": "GET, HEAD"})
    if content is None:
        return page(404)
    validators = {"Last-Modified": http_date(content.modified)}
    if content.etag is not None:
        validators["ETag"] = content.etag
    if _precondition_fails(content, request.headers):
        return page(412)
    if _not_modified(content, request.headers):
        return Response(304, validators)
    span = _range(request.headers.get("range", ""), content.size) if _if_range(content, request.headers) else None
    if span == "bad":
        return page(416, {"Content-Range": f"bytes */{content.size}"})
    headers = {"Content-Type": content.media_type, **validators, **content.headers}
    if span is None:
        headers |= {"Accept-Ranges": "bytes", "Content-Length": str(content.size)}
        return Response(200, headers, content.pieces(0, content.size))
    start, stop = span
    headers |= {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{content.size}"}
    return Response(206, headers, content.pieces(start, stop))


def _range(text: str, size: int) -> tuple[int, int] | Literal["bad"] | None:
    """Start and stop; "bad" for 416; None where nginx ignores the header: another unit, several ranges, no bytes."""
    unit, _, spec = text.partition("=")
    if unit.strip().lower() != "bytes" or not spec or "," in spec or not size:
        return None
    first, dash, last = (part.strip() for part in spec.partition("-"))
    if not dash or not (first + last).isdecimal():
        return "bad"
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last or size) + 1, size)
    return (start, stop) if start < stop else "bad"


def _has_tag(tags: str, etag: str | None, *, weak: bool) -> bool:
    if tags.strip() == "*":
        return True
    if etag is None or (not weak and etag.startswith("W/")):
        return False
    listed = [tag.strip() for tag in tags.split(",")]
    return etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in listed] if weak else etag in listed


def _changed_since(content: Content, date: str) -> bool | None:
    try:
        return int(content.modified) > parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None


def _precondition_fails(content: Content, headers: Mapping[str, str]) -> bool:
    if "if-match" in headers:
        return not _has_tag(headers["if-match"], content.etag, weak=False)
    return _changed_since(content, headers.get("if-unmodified-since", "")) is True


def _not_modified(content: Content, headers: Mapping[str, str]) -> bool:
    if "if-none-match" in headers:
        return _has_tag(headers["if-none-match"], content.etag, weak=True)
    return _changed_since(content, headers.get("if-modified-since", "")) is False


def _if_range(content: Content, headers: Mapping[str, str]) -> bool:
    """A weak ETag or an inexact date never holds."""
    guard = headers.get("if-range", "").strip()
    if not guard or guard.startswith(('"', "W/")):
        return not guard or _has_tag(guard, content.etag, weak=False)
    return http_date(content.modified) == guard
