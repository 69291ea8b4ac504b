"""The bytes of a file: on a disk, packed as a whole, in memory or (`remote`) at a server.

All of them are `io.RawIOBase`, so astropy reads headers and tiles from them, and give any range to any thread.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import tempfile
import threading
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import MapError
from ..portable import OPEN, read_into

_IN_MEMORY = 1 << 26
_CHUNK = 1 << 16  # may unpack to a thousand times as much
# first bytes: the format, and the command that unpacks what Python (before 3.14) cannot
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}
_PACKED = {
    b"\x1f\x8b": ("gzip", ""),
    b"BZh": ("bz2", ""),
    b"\xfd7zXZ": ("lzma", ""),
    b"PK\x03\x04": ("zip", "unzip"),
    b"\x1f\x9d": ("compress (.Z)", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstandard", "unzstd"),
}


class BadCopy(MapError):
    """The bytes do not arrive, or are not those of the file: another host may have them."""


@dataclass(frozen=True, slots=True)
class Context:
    """The file, HDU and column that an error names."""

    file: str
    hdu: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.hdu is not None:
            parts.append(f"HDU {self.hdu}")
        if self.column is not None:
            parts.append(f"column {self.column}")
        return ", ".join(parts)

    def in_hdu(self, hdu: int) -> Context:
        return replace(self, hdu=hdu, column=None)

    def in_column(self, number: int, name: str) -> Context:
        """The same HDU, at one column; ``number`` counts from 1 as FITS does."""
        return replace(self, column=f"{number} {name!r}" if name else str(number))

    def error(self, reason: str, remedy: str = "", kind: type[MapError] = MapError) -> MapError:
        return kind(f"{self}: {reason}" + (f"; {remedy}" if remedy else ""))


class ByteSource(io.RawIOBase):
    """Bytes at any offset.

    ``gap`` is how close two ranges lie to be read as one; ``connections`` how many reads pay at once (0: one a
    processor); ``stamp`` is equal for two sources only if their bytes are the same.
    """

    context: Context
    gap = 1 << 15
    connections = 0
    stamp: tuple[object, ...] | None = None
    _position = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Length in bytes; of a packed file it is known once all of it is unpacked."""

    @abstractmethod
    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer with the bytes from ``offset`` on; raise `MapError` if they are not there."""

    def read_many(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        """Fill many buffers, each from its own offset."""
        for offset, into in parts:
            self.read_into(offset, into)

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range; fewer bytes only where the file ends."""
        buffer = bytearray(max(0, min(length, self.size - offset)))
        if buffer:
            self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def truncated(self, offset: int, length: int) -> MapError:
        return self.context.error(
            f"the file is truncated: {offset + length} bytes needed, {self.size} there",
            "fetch it again (dataferry verify finds the damaged ones)",
        )

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
        memoryview(into).cast("B")[: len(part)] = part
        self._position += len(part)
        return len(part)


class LocalFile(ByteSource):
    """A file on a disk, read with ``pread`` so that threads share one descriptor."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.context = Context(os.fspath(path))
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | OPEN)
        except OSError as error:
            raise self.context.error(f"cannot be opened: {error.strerror}") from error
        info = os.fstat(self._fd)
        self._size = info.st_size
        self.stamp = (os.path.abspath(path), info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, into: memoryview) -> None:
        count = self._pread(offset, into)
        while count < len(into):
            more = self._pread(offset + count, into[count:])
            if not more:
                raise self.truncated(offset, len(into))
            count += more

    def read_many(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        for offset, into in parts:
            if self._pread(offset, into) < len(into):
                self.read_into(offset, into)

    def _pread(self, offset: int, into: memoryview) -> int:
        try:
            return read_into(self._fd, into, offset)
        except OSError as error:
            raise self.context.error(f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


class Memory(ByteSource):
    """Bytes that are in memory already: an array of another library."""

    def __init__(self, data: bytes | bytearray | memoryview, context: Context) -> None:
        self._data = memoryview(data).cast("B")
        self.context = context

    @property
    def size(self) -> int:
        return len(self._data)

    def read_into(self, offset: int, into: memoryview) -> None:
        if offset + len(into) > self.size:
            raise self.truncated(offset, len(into))
        into[:] = self._data[offset : offset + len(into)]


class PackedFile(ByteSource):
    """A file packed as a whole (gzip, bzip2, xz): unpacked as far as it is read, in memory or on the disk."""

    def __init__(self, packed: LocalFile, module: str) -> None:
        self.context, self.stamp, self._module = packed.context, packed.stamp, module
        self._packed: LocalFile | None = packed
        self._at = self._unpacked = 0
        self._lock = threading.Lock()
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by close()
        self._stream: Any = _DECOMPRESSORS[module]()

    @property
    def size(self) -> int:
        with self._lock:
            self._unpack_to(None)
        return self._unpacked

    def pread(self, offset: int, length: int) -> bytes:
        """Read a range without unpacking what comes after it."""
        with self._lock:
            self._unpack_to(offset + length)
            self._spool.seek(offset)
            return self._spool.read(length)

    def read_into(self, offset: int, into: memoryview) -> None:
        part = self.pread(offset, len(into))
        if len(part) < len(into):
            raise self.truncated(offset, len(into))
        into[:] = part

    def _unpack_to(self, stop: int | None) -> None:
        self._spool.seek(0, os.SEEK_END)
        try:
            while (stop is None or self._unpacked < stop) and self._unpack_more():
                pass
        except OSError as error:
            raise self.context.error(
                f"there is no space to unpack it in {tempfile.gettempdir()}: {error.strerror}",
                "unpack it yourself, or set TMPDIR to a larger disk",
            ) from error

    def _unpack_more(self) -> bool:
        packed = self._packed
        if packed is None:
            return False
        part = packed.pread(self._at, _CHUNK)
        self._at += len(part)
        if not part:
            raise self._damaged("the file is truncated")
        while part:
            try:
                data = self._stream.decompress(part)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise self._damaged(error) from error
            self._unpacked += self._spool.write(data)
            if not self._stream.eof:
                return True
            # another member may follow, as pigz and bgzip write them; anything else is no part of the file
            part = self._stream.unused_data
            if packed_by(part + packed.pread(self._at, 8))[0] != self._module:
                break
            self._stream = _DECOMPRESSORS[self._module]()
        if self._stream.eof:
            packed.close()
            self._packed = None
        return True

    def _damaged(self, reason: object) -> MapError:
        return self.context.error(f"does not decompress as {self._module}: {reason}", "fetch it again")

    def close(self) -> None:
        self._spool.close()
        if self._packed is not None:
            self._packed.close()
        super().close()


def packed_by(first: bytes) -> tuple[str, str]:
    """Tell a packed file by its first bytes: the format, and the command that unpacks what is not read here."""
    return next((found for magic, found in _PACKED.items() if first.startswith(magic)), ("", ""))


def open_local(path: str | os.PathLike[str]) -> ByteSource:
    """Open a file on a disk, be it packed or not."""
    if os.path.isdir(path):
        raise Context(os.fspath(path)).error("is a folder, not a file")
    source = LocalFile(path)
    module, command = packed_by(source.pread(0, 8))
    if command:
        source.close()
        raise source.context.error(f"is packed with {module}", f"unpack it first: {command} FILE")
    return PackedFile(source, module) if module else source
