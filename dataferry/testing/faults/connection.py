"""Faults of the connection: cut, reset, stalled, slow, or not HTTP at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .base import Fault

if TYPE_CHECKING:
    from ..reply import Asked, Reply

__all__ = ["Cut", "Garbage", "HeaderFlood", "NeverAnswers", "Reset", "Stall", "Trickle", "Truncated"]


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset (a TCP RST) in mid-body, as by a crashed server or a firewall.

    Parameters
    ----------
    after : int or None
        Bytes of the body that arrive first; 0: the headers only; None: not even the status line.
    """

    after: int | None = 0

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, cut=self.after or 0, silent=self.after is None, ending="reset")


@dataclass(frozen=True)
class Cut(Fault):
    """The connection is closed cleanly before the body that ``Content-Length`` promised is complete.

    Parameters
    ----------
    after : int or None
        Bytes of the body that arrive first; 0: the headers only; None: not even the status line.
    chunked : bool
        Send the body in chunks, without a length; the last chunk, which marks the end, does not come.
    """

    after: int | None = 0
    chunked: bool = False

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        headers = {k: v for k, v in reply.headers.items() if not (self.chunked and k == "Content-Length")}
        silent = self.after is None
        return replace(reply, headers=headers, chunked=self.chunked, cut=self.after or 0, silent=silent, ending="close")


@dataclass(frozen=True)
class Truncated(Fault):
    """A body without any length that ends too soon, which nothing on the wire tells from a whole one.

    What a script behind a web server sends that dies half-way: 200, no ``Content-Length``, no ranges.

    Parameters
    ----------
    after : int
        Bytes of the body that arrive.
    """

    after: int = 0

    def ask(self, asked: Asked) -> Asked:
        return replace(asked, headers={k: v for k, v in asked.headers.items() if k not in ("range", "if-range")})

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        headers = {k: v for k, v in reply.headers.items() if k not in ("Content-Length", "Accept-Ranges", "ETag")}
        return replace(reply, headers=headers, cut=self.after, ending="close")


@dataclass(frozen=True)
class Stall(Fault):
    """The body stops and nothing more comes, while the connection stays open until the client or the server ends.

    Parameters
    ----------
    after : int
        Bytes of the body that arrive first; 0: the headers only.
    """

    after: int = 0

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, cut=self.after, ending="stall")


@dataclass(frozen=True)
class NeverAnswers(Fault):
    """The request is taken and not one byte comes back."""

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, cut=0, silent=True, ending="stall")


@dataclass(frozen=True)
class Trickle(Fault):
    """The body comes very slowly, and so never lets a timeout for a single read expire.

    Parameters
    ----------
    rate : float
        Bytes a second.
    """

    rate: float = 10

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, rate=self.rate)


@dataclass(frozen=True)
class Garbage(Fault):
    """Something else listens on the port: the answer is not HTTP.

    Parameters
    ----------
    data : bytes
        What is sent before the connection closes.
    """

    data: bytes = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\x00\x04\x1c\x0a\x14\xff\xfe\xfd"

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, head=self.data, pieces=(), chunked=False, ending="close")


@dataclass(frozen=True)
class HeaderFlood(Fault):
    """The reply has far too many headers before the right body.

    Parameters
    ----------
    count : int
        How many.
    length : int
        Bytes of each value.
    """

    count: int = 10_000
    length: int = 100

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        flood = {f"X-Flood-{i}": "x" * self.length for i in range(self.count)}
        return replace(reply, headers={**flood, **reply.headers})
