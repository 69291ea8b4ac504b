"""A part of a file as the body of a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

__all__ = ["FileBody"]


class FileBody:
    """A part of a file as the body of a request; told to `moved` as it goes, and read again for a retry.

    Parameters
    ----------
    path : Path
        The file.
    start, size : int
        Its first byte and the number of bytes.
    moved : callable, optional
        Is told the bytes that went; a negative number where they go again.
    """

    def __init__(self, path: Path, start: int, size: int, moved: Callable[[int], None] | None = None) -> None:
        self.size = size
        self._start, self._at, self._moved = start, 0, moved
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._file.seek(start)

    def __len__(self) -> int:
        return self.size

    def read(self, count: int = -1) -> bytes:
        """The next bytes; none at the end of the part."""
        left = self.size - self._at
        block = self._file.read(left if count < 0 else min(count, left))
        self._at += len(block)
        if self._moved is not None and block:
            self._moved(len(block))
        return block

    def tell(self) -> int:
        """How far the part was read."""
        return self._at

    def seek(self, offset: int) -> int:
        """Go to an offset within the part."""
        if self._moved is not None and offset != self._at:
            self._moved(offset - self._at)
        self._file.seek(self._start + offset)
        self._at = offset
        return offset

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
