"""Faults in what a server says about ranges and versions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .base import Fault

if TYPE_CHECKING:
    from ..content import Content
    from ..reply import Asked, Reply

__all__ = ["ChangingETag", "IgnoresIfRange", "IgnoresRange", "OtherRange", "WrongContentRange", "WrongETag"]


def without(asked: Asked, *names: str) -> Asked:
    """The request as a server sees it that does not know some headers."""
    return replace(asked, headers={k: v for k, v in asked.headers.items() if k not in names})


@dataclass(frozen=True)
class IgnoresRange(Fault):
    """A server without ranges: 200 and the whole file."""

    def ask(self, asked: Asked) -> Asked:
        return without(asked, "range", "if-range")

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, headers={k: v for k, v in reply.headers.items() if k != "Accept-Ranges"})


@dataclass(frozen=True)
class IgnoresIfRange(Fault):
    """A server that answers 206 out of its present file although ``If-Range`` names another version."""

    def ask(self, asked: Asked) -> Asked:
        return without(asked, "if-range")


@dataclass(frozen=True)
class WrongContentRange(Fault):
    """206 with the bytes that were asked for under a ``Content-Range`` that is wrong or missing.

    Parameters
    ----------
    shift : int
        Added to the first and the last byte.
    grow : int
        Added to the total.
    missing : bool
        Leave the header out.
    """

    shift: int = 512
    grow: int = 0
    missing: bool = False

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        headers = dict(reply.headers)
        if reply.status != 206:
            return reply
        span, _, total = headers.pop("Content-Range").removeprefix("bytes ").partition("/")
        if not self.missing:
            first, last = (int(part) + self.shift for part in span.split("-"))
            headers["Content-Range"] = f"bytes {first}-{last}/{int(total) + self.grow}"
        return replace(reply, headers=headers)


@dataclass(frozen=True)
class OtherRange(Fault):
    """206 with another range than the one asked for, and a ``Content-Range`` that says so.

    Some caches round a range to their own blocks.

    Parameters
    ----------
    block : int
        Size of the blocks in bytes.
    """

    block: int = 4096

    def ask(self, asked: Asked) -> Asked:
        first, _, last = asked.headers.get("range", "").removeprefix("bytes=").partition("-")
        if not first.isdecimal():
            return asked
        start = int(first) // self.block * self.block
        stop = -(-(int(last) + 1) // self.block) * self.block - 1 if last.isdecimal() else ""
        return replace(asked, headers={**asked.headers, "range": f"bytes={start}-{stop}"})


@dataclass(frozen=True)
class WrongETag(Fault):
    """Another ETag than the file's own, or none.

    Parameters
    ----------
    etag : str or None
        The ETag with its quotes, ``W/"..."`` for a weak one; None to send none.
    """

    etag: str | None = '"wrong"'

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        return None if content is None else replace(content, etag=self.etag)


@dataclass(frozen=True)
class ChangingETag(Fault):
    """A new ETag for each request of the same bytes, as from several machines behind one address."""

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        return None if content is None else replace(content, etag=f'"{content.size:x}-{asked.times:x}"')
