"""Bytes at an offset: the one thing that reading a map needs from a file, a decompressed file or a server."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Self

from ..errors import MapError
from .place import Place

__all__ = ["ByteSource", "LocalFile", "Memory", "open_local"]

# the least that systems allow at once (IOV_MAX)
_MOST_PARTS = 1024
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "lzma"}


class ByteSource(ABC):
    """Something that gives the bytes of a range.

    Attributes
    ----------
    place : Place
        What errors call it.
    size : int
        Length in bytes.
    gap : int
        Two wanted ranges closer than this are cheaper read as one.
    lanes : int
        How many reads are worth having under way at once; 0 stands for one a processor.
    stamp : tuple or None
        Equal for two sources only if their bytes are the same; None if that cannot be known.
    """

    place: Place
    size: int
    gap = 1 << 15
    lanes = 0
    stamp: tuple[object, ...] | None = None

    @abstractmethod
    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill ``into`` with the bytes that start at ``offset``.

        Parameters
        ----------
        offset : int
            First byte.
        into : memoryview
            Filled whole.

        Raises
        ------
        MapError
            If the bytes are not there.
        """

    def read_parts(self, offset: int, into: Sequence[memoryview]) -> None:
        """Fill several buffers with bytes that follow one another.

        Parameters
        ----------
        offset : int
            First byte.
        into : sequence of memoryview
            Filled whole, in this order.

        Raises
        ------
        MapError
            If the bytes are not there.
        """
        whole = memoryview(bytearray(sum(map(len, into))))
        self.read_into(offset, whole)
        at = 0
        for part in into:
            part[:] = whole[at : at + len(part)]
            at += len(part)

    def read_many(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        """Fill many buffers, each from its own offset.

        Parameters
        ----------
        parts : iterable of (int, memoryview)
            First byte of each, and what is filled whole.

        Raises
        ------
        MapError
            If the bytes are not there.
        """
        for offset, into in parts:
            self.read_into(offset, into)

    def read(self, offset: int, length: int) -> bytes:
        """Get the bytes of a range; fewer only where the source ends.

        Parameters
        ----------
        offset, length : int
            The range.

        Returns
        -------
        bytes
            At most ``length`` bytes.
        """
        buffer = bytearray(max(0, min(length, self.size - offset)))
        if buffer:
            self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def short(self, offset: int, length: int) -> MapError:
        """Make the error for a range that reaches past the end."""
        return self.place.error(
            f"the file is truncated: {offset + length} bytes needed, {self.size} there",
            "fetch it again (dataferry verify finds the damaged ones)",
        )

    def close(self) -> None:  # noqa: B027 - a source may have nothing to close
        """Let go of what is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalFile(ByteSource):
    """A file on a disk, read with ``pread`` so that threads share one descriptor.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    MapError
        If it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.place = Place(os.fspath(path))
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise self.place.error(f"cannot be opened: {error.strerror}") from error
        info = os.fstat(self._fd)
        self.size = info.st_size
        self.stamp = (os.path.abspath(path), info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill ``into`` from the disk."""
        got = self._pread(offset, into)
        while got < len(into):
            more = self._pread(offset + got, into[got:])
            if not more:
                raise self.short(offset, len(into))
            got += more

    def read_parts(self, offset: int, into: Sequence[memoryview]) -> None:
        """Fill several buffers from the disk by one call, where the system has it."""
        try:
            if len(into) <= _MOST_PARTS and os.preadv(self._fd, into, offset) == sum(map(len, into)):
                return
        except (OSError, AttributeError):
            pass  # what is wrong shows below
        super().read_parts(offset, into)

    def read_many(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        """Fill many buffers from the disk, with nothing between the calls of the system."""
        fd, preadv = self._fd, getattr(os, "preadv", None)
        for offset, into in parts:
            try:
                if preadv and preadv(fd, (into,), offset) == len(into):
                    continue
            except OSError:
                pass  # what is wrong shows below
            self.read_into(offset, into)

    def _pread(self, offset: int, into: memoryview) -> int:
        try:
            if hasattr(os, "preadv"):
                return os.preadv(self._fd, [into], offset)
            part = os.pread(self._fd, len(into), offset)
            into[: len(part)] = part
            return len(part)
        except OSError as error:
            raise self.place.error(f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Memory(ByteSource):
    """Bytes that are in memory already: a decompressed file, an array of another library.

    Parameters
    ----------
    data : bytes-like
        The bytes.
    place : Place
        What errors call it.
    """

    def __init__(self, data: bytes | bytearray | memoryview, place: Place) -> None:
        self._data = memoryview(data).cast("B")
        self.place = place
        self.size = len(self._data)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Copy from memory."""
        if offset + len(into) > self.size:
            raise self.short(offset, len(into))
        into[:] = self._data[offset : offset + len(into)]


def open_local(path: str | os.PathLike[str]) -> ByteSource:
    """Open a file; one compressed as a whole (gzip, bzip2, xz) is decompressed into memory.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    ByteSource
        Its bytes, decompressed.

    Raises
    ------
    MapError
        If it is not there, is a folder or does not decompress.
    """
    if os.path.isdir(path):
        raise Place(os.fspath(path)).error("is a folder, not a file")
    source = LocalFile(path)
    magic = source.read(0, 2)
    if magic not in _PACKED:
        return source
    source.close()
    return _unpacked(path, _PACKED[magic], source)


def _unpacked(path: str | os.PathLike[str], module: str, packed: LocalFile) -> Memory:
    import importlib
    import lzma
    import zlib

    try:
        with importlib.import_module(module).open(path, "rb") as stream:
            memory = Memory(stream.read(), packed.place)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise packed.place.error(f"does not decompress as {module}: {error}", "the file may be truncated") from error
    memory.stamp = packed.stamp
    return memory
