"""Faults in the bytes: another file, another length, a pointer, an encoding."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..content import in_memory, of_bytes
from .base import Fault

if TYPE_CHECKING:
    from ..content import Content, Piece
    from ..reply import Asked, Reply

__all__ = ["FlippedByte", "GzipEncoding", "LfsPointer", "OtherFile", "WrongContentLength", "WrongLength"]


@dataclass(frozen=True)
class OtherFile(Fault):
    """A mirror with another file under the same name: good HTTP, ranges included, other bytes.

    Parameters
    ----------
    data : bytes, optional
        The other file; by default one of the same size in which every byte differs.
    """

    data: bytes | None = None

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        if content is None:
            return None
        if self.data is not None:
            return of_bytes(self.data, content.modified, content.media_type)
        other = bytes(byte ^ 0x5A for byte in range(256))
        pieces = content.pieces
        etag = f'"other-{content.size:x}"'
        return replace(content, etag=etag, pieces=lambda *span: (b.translate(other) for b in in_memory(pieces(*span))))


@dataclass(frozen=True)
class FlippedByte(Fault):
    """One byte differs; size, ETag and date are right.

    Parameters
    ----------
    at : int
        Which byte; negative counts from the end.
    """

    at: int = 0

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        if content is None or not content.size:
            return content
        at, pieces = self.at % content.size, content.pieces

        def flipped(start: int, stop: int) -> Iterator[Piece]:
            if not start <= at < stop:
                yield from pieces(start, stop)
                return
            yield from pieces(start, at)
            yield bytes(byte ^ 0xFF for piece in in_memory(pieces(at, at + 1)) for byte in piece)
            yield from pieces(at + 1, stop)

        return replace(content, pieces=flipped)


@dataclass(frozen=True)
class WrongLength(Fault):
    """The file at the host is longer or shorter than it should be; the headers agree with it.

    Parameters
    ----------
    by : int
        Bytes too many, or too few if negative.
    """

    by: int = -1

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        if content is None:
            return None
        size, full, pieces = (max(0, content.size + self.by), content.size, content.pieces)

        def resized(start: int, stop: int) -> Iterator[Piece]:
            if start < full:
                yield from pieces(start, min(stop, full))
            if stop > full:
                yield bytes(stop - max(start, full))

        return replace(content, size=size, pieces=resized, etag=f'"{size:x}"')


@dataclass(frozen=True)
class WrongContentLength(Fault):
    """``Content-Length`` differs from the body that follows.

    Parameters
    ----------
    by : int
        Positive: more is promised than comes, and the connection closes. Negative: bytes follow after the promised
        end, where a kept connection takes them for the next reply.
    """

    by: int = 1

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        length = max(0, int(reply.headers.get("Content-Length", 0)) + self.by)
        headers = {**reply.headers, "Content-Length": str(length)}
        return replace(reply, headers=headers, ending="close" if self.by > 0 else reply.ending)


@dataclass(frozen=True)
class LfsPointer(Fault):
    """A git-lfs pointer in place of the file, as a git host serves it from its raw addresses."""

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        if content is None:
            return None
        digest = hashlib.sha256()
        for piece in in_memory(content.pieces(0, content.size)):
            digest.update(piece)
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest.hexdigest()}\nsize {content.size}\n"
        return of_bytes(text.encode(), content.modified, "text/plain; charset=utf-8")


@dataclass(frozen=True)
class GzipEncoding(Fault):
    """``Content-Encoding: gzip`` although the client asked for none.

    Parameters
    ----------
    how : {"on-the-fly", "stored", "label"}
        ``"on-the-fly"``: compressed while it is sent, in chunks, with a weak ETag, no length and no ranges.
        ``"stored"``: an object that was uploaded compressed; length and ranges count compressed bytes.
        ``"label"``: the file as it is, with the header on top, as some servers do with ``.gz`` files.
    """

    how: Literal["on-the-fly", "stored", "label"] = "on-the-fly"

    def ask(self, asked: Asked) -> Asked:
        return (
            replace(asked, headers={k: v for k, v in asked.headers.items() if k not in ("range", "if-range")})
            if self.how == "on-the-fly"
            else asked
        )

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        if content is None:
            return None
        headers = {**content.headers, "Content-Encoding": "gzip"}
        if self.how == "label":
            return replace(content, headers=headers)
        packed = of_bytes(gzip.compress(content.read(), 1, mtime=0), content.modified, content.media_type)
        etag = packed.etag if self.how == "stored" else f"W/{packed.etag}"
        return replace(packed, headers=headers, etag=etag)

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        if self.how != "on-the-fly" or reply.status != 200:
            return reply
        dropped = ("Content-Length", "Accept-Ranges")
        headers = {k: v for k, v in reply.headers.items() if k not in dropped}
        return replace(reply, headers={**headers, "Vary": "Accept-Encoding"}, chunked=True)
