"""A part of a file as boto3 sends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

__all__ = ["Stream", "watch"]

#: Bytes that are read at once; the library asks for 16 KiB and takes more.
_BLOCK = 1 << 18


class Stream:
    """A part of a file; told to `moved` as it goes to the store, and not as it is read for a signature.

    Parameters
    ----------
    path : Path
        The file.
    start, size : int
        Its first byte and the number of bytes.
    moved : callable
        Is told the bytes that went; a negative number where they go again.
    """

    def __init__(self, path: Path, start: int, size: int, moved: Callable[[int], None]) -> None:
        self.size = size
        self.sending = False
        self._start, self._at, self._told, self._moved = start, 0, 0, moved
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self._file.seek(start)

    def __len__(self) -> int:
        return self.size

    def read(self, count: int | None = -1) -> bytes:
        """The next bytes, perhaps more than were asked for; none at the end of the part."""
        left = self.size - self._at
        wanted = left if count is None or count < 0 else min(max(count, _BLOCK), left)
        block = self._file.read(wanted) or b""
        self._at += len(block)
        if self.sending and self._at > self._told:
            self._tell(self._at)
        return block

    def _tell(self, told: int) -> None:
        change, self._told = told - self._told, told
        self._moved(change)

    def tell(self) -> int:
        """How far the part was read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset within the part."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence] + offset
        self._file.seek(self._start + self._at)
        if self._at < self._told:
            self._tell(self._at)
        return self._at

    def settle(self) -> None:
        """All of it has arrived."""
        if self._told != self.size:
            self._tell(self.size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None and self._told:
            self._tell(0)
        self.close()


def watch(client: Any) -> None:
    """Let streams know when they are read to be sent, and when only to be signed.

    Parameters
    ----------
    client : object
        The client of boto3.
    """

    def turn(request: Any, sending: bool) -> None:
        body = getattr(request.body, "_raw", request.body)  # with a checksum behind it a body is wrapped
        if isinstance(body, Stream):
            body.sending = sending

    client.meta.events.register_first("request-created.s3", lambda request, **_: turn(request, False))
    client.meta.events.register_last("request-created.s3", lambda request, **_: turn(request, True))
