"""The bytes of a file: on a disk, packed as a whole, in memory or at a server.

All of them are `io.RawIOBase`, so astropy reads headers and tiles from them, and give any range to any thread.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..config.settings import load_settings
from ..download.http_client import Client
from ..download.source import Source
from ..errors import MapError, Offline, Reason, TransferError
from ..portable import REGULAR, read_into

FIRST_RANGE = 4 * 2880
"""Most headers of maps end within so many bytes; it is also the first range that a server is asked for."""

PathOrSource = str | os.PathLike[str] | Source

_IN_MEMORY = 1 << 26
_CHUNK = 1 << 16  # may unpack to a thousand times as much
# first bytes: the format, and the command that unpacks what Python (before 3.14) cannot
_PACKED = {
    b"\x1f\x8b": ("gzip", ""),
    b"BZh": ("bz2", ""),
    b"\xfd7zXZ": ("lzma", ""),
    b"PK\x03\x04": ("zip", "unzip"),
    b"\x1f\x9d": ("compress (.Z)", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstandard", "unzstd"),
}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}

_NOT_REACHED = (Reason.CONNECT, Reason.DNS, Reason.TIMEOUT, Reason.UNREACHABLE, Reason.PROXY, Reason.TLS)
_WHOLE = "fetch the file whole: dataferry get"
_REMEDIES = {
    Reason.RANGE: _WHOLE,
    Reason.ENCODING: f"a server that compresses ignores byte ranges of the file itself; {_WHOLE}",
    Reason.CHANGED: "read it again",
    Reason.SIZE: "read it again",
}


class BadCopy(MapError):
    """The bytes do not arrive, or are not those of the file: another host may have them."""


@dataclass(frozen=True, slots=True)
class Context:
    """The file, HDU (of HDF5 the dataset) and column that an error names."""

    file: str
    hdu: int | str | None = None
    column: str = ""

    def __str__(self) -> str:
        hdu = "" if self.hdu is None else f", {'dataset' if isinstance(self.hdu, str) else 'HDU'} {self.hdu}"
        return self.file + hdu + (f", column {self.column}" if self.column else "")

    def in_column(self, number: int, name: str) -> Context:
        """The same HDU, at one column; ``number`` counts from 1 as FITS does."""
        return replace(self, column=f"{number} {name!r}" if name else str(number))

    def error(self, reason: str, remedy: str = "", kind: type[MapError] = MapError) -> MapError:
        return kind(f"{self}: {reason}" + (f"; {remedy}" if remedy else ""))


class ByteSource(io.RawIOBase):
    """Bytes at any offset.

    ``gap`` is how close two ranges lie to be read as one; ``connections`` how many reads pay at once (0: one a
    processor); ``stamp`` is equal for two sources only if their bytes are the same; ``meta`` is for results.
    """

    context: Context
    gap = 1 << 15
    connections = 0
    stamp: tuple[object, ...] | None = None
    _size = 0
    _position = 0

    @property
    def size(self) -> int:
        """Length in bytes; of a packed file it is known once all of it is unpacked."""
        return self._size

    @property
    def meta(self) -> dict[str, Any]:
        return {}

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer with the bytes from ``offset`` on; raise `MapError` if they are not there."""
        raise NotImplementedError

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""
        buffer = bytearray(max(0, min(length, self.size - offset)))
        if buffer:
            self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def truncated(self, stop: int, context: Context | None = None) -> MapError:
        reason = f"the file is truncated: {stop} bytes needed, {self.size} there"
        remedy = "fetch it again (dataferry verify finds the damaged ones)"
        return (context or self.context).error(reason, remedy, BadCopy)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self.size)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, into: Any) -> int:
        part = self.pread(self._position, len(into))
        into[: len(part)] = part
        self._position += len(part)
        return len(part)


class LocalFile(ByteSource):
    """A file on a disk, read with ``pread`` so that threads share one descriptor."""

    def __init__(self, path: str) -> None:
        self.context = Context(path)
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | REGULAR)
        except OSError as error:
            raise self.context.error(f"cannot be opened: {error.strerror}") from error
        info = os.fstat(self._fd)
        if not stat.S_ISREG(info.st_mode):
            raise self.context.error("is not a regular file")
        self._size = info.st_size
        self.stamp = (os.path.abspath(path), info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)

    def read_into(self, offset: int, into: memoryview) -> None:
        try:
            done = read_into(self._fd, into, offset)
            while done < len(into):
                count = read_into(self._fd, into[done:], offset + done)
                if not count:
                    raise self.truncated(offset + len(into))
                done += count
        except OSError as error:
            raise self.context.error(f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


class Memory(ByteSource):
    """The bytes of an array that another library has read."""

    def __init__(self, data: memoryview, context: Context) -> None:
        self._data, self._size, self.context = data, len(data), context

    def read_into(self, offset: int, into: memoryview) -> None:
        into[:] = self._data[offset : offset + len(into)]


class PackedFile(ByteSource):
    """A file packed as a whole (gzip, bzip2, xz): unpacked as far as it is read, in memory or on the disk."""

    def __init__(self, packed: LocalFile, kind: str) -> None:
        self.context, self.stamp, self._packed = packed.context, packed.stamp, packed
        self._chunks = _unpack(packed, kind)
        self._lock = threading.Lock()
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by close()

    @property
    def size(self) -> int:
        with self._lock:
            self._unpack_to(None)
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range without unpacking what comes after it."""
        with self._lock:
            self._unpack_to(offset + length)
            self._spool.seek(offset)
            return self._spool.read(length)

    def read_into(self, offset: int, into: memoryview) -> None:
        part = self.pread(offset, len(into))
        if len(part) < len(into):
            raise self.truncated(offset + len(into))
        into[:] = part

    def _unpack_to(self, stop: int | None) -> None:
        self._spool.seek(0, os.SEEK_END)
        while stop is None or self._size < stop:
            data = next(self._chunks, None)
            if data is None:
                return
            try:
                self._size += self._spool.write(data)
            except OSError as error:
                raise self.context.error(
                    f"there is no space to unpack it in {tempfile.gettempdir()}: {error.strerror}",
                    "unpack it yourself, or set TMPDIR to a larger disk",
                ) from error

    def close(self) -> None:
        self._spool.close()
        self._packed.close()
        super().close()


def _unpack(packed: LocalFile, kind: str) -> Iterator[bytes]:
    stream, part = _DECOMPRESSORS[kind](), b""
    while True:
        part = part or packed.read(_CHUNK) or b""
        try:
            if not part:
                raise EOFError("the file is truncated")
            data = stream.decompress(part)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise packed.context.error(f"does not decompress as {kind}: {error}", "fetch it again") from error
        yield data
        part = stream.unused_data
        if stream.eof:
            # another member may follow, as pigz and bgzip write them; anything else is no part of the file
            part += packed.read(8) or b""
            if packed_by(part)[0] != kind:
                return
            stream = _DECOMPRESSORS[kind]()


@dataclass(slots=True)
class _Part:
    """What one URL serves: the file, or a part of it that begins at ``start``."""

    source: Source
    start: int
    size: int | None = None
    etag: str = ""


class RemoteFile(ByteSource):
    """A file at a server that answers byte ranges: with the logins, proxies, redirects and retries of downloads."""

    connections = 8

    def __init__(self, source: Source, timeout: float | None = None) -> None:
        self.context = Context(source.redacted)
        settings = load_settings()
        if settings.offline:
            raise Offline(
                source.redacted, [(source.redacted, "offline mode")], "unset DATAFERRY_OFFLINE to read it from there"
            )
        if source.opener is not None:
            raise self._error("this host does not serve byte ranges over HTTP", _WHOLE)
        self._client = Client(settings._replace(timeout=timeout or settings.timeout))
        self._parts = [] if source.parts else [_Part(source, 0)]
        for part in source.parts:
            self._parts.append(_Part(replace(source, url=part.url, parts=()), self._size, part.size))
            self._size += part.size
        self._start = b""
        first, last = self._parts[0], self._parts[-1]
        self._start = self._read(first, 0, FIRST_RANGE if first.size is None else min(FIRST_RANGE, first.size))
        self._size = last.start + (last.size or 0)

    @property
    def meta(self) -> dict[str, Any]:
        """The bytes of the bodies that arrived; nothing was verified."""
        return {"moved_bytes": self._client.moved, "verified": False}

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer by one request, or one of each part; the start of the file is kept."""
        stop = offset + len(into)
        if stop > self.size:
            raise self.truncated(stop)
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
        if found.total == 0:
            raise self._error("is empty")
        if not found.ranges:
            raise self._error("the server ignores byte ranges", _WHOLE)
        if found.total is None:
            raise self._error("the server does not say how large the file is", _WHOLE)
        part.size, part.etag = found.total, part.etag or found.etag
        return found.data

    def _error(self, reason: str, remedy: str = "") -> MapError:
        return self.context.error(reason, remedy, BadCopy)


def packed_by(first: bytes) -> tuple[str, str]:
    """Tell a packed file by its first bytes: the format, and the command that unpacks what is not read here."""
    return next((found for magic, found in _PACKED.items() if first.startswith(magic)), ("", ""))


def open_source(named: PathOrSource | RemoteFile, *, remote: bool = False) -> ByteSource:
    """Open the bytes of a file: here, or with ``remote`` at a server."""
    if isinstance(named, str) and named.lower().startswith(("http://", "https://")):
        named = Source(named, named)
    if isinstance(named, Source):
        if not remote:
            raise Context(named.redacted).error(
                "is a URL", "remote=True reads parts of it; dataferry get fetches it whole"
            )
        return RemoteFile(named)
    if isinstance(named, RemoteFile):
        return named
    path = os.fsdecode(named)
    if remote:
        raise Context(path).error("remote=True needs a URL, or a registered name (PackageData.read_map)")
    if "\0" in path:
        raise Context(path.replace("\0", "\\0")).error("no path has a NUL in it")
    if os.path.isdir(path):
        raise Context(path).error("is a folder, not a file")
    source = LocalFile(path)
    kind, command = packed_by(source.pread(0, 8))
    if command:
        source.close()
        raise source.context.error(f"is packed with {kind}", f"unpack it first: {command} FILE")
    return PackedFile(source, kind) if kind else source
