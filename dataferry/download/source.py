"""What is asked for, and what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from ..registry.names import redact_url


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file that a host stores in several objects, because one object cannot be that large.

    Parameters
    ----------
    url : str
        The URL of this part, quoted and ready to send.
    size : int
        Its bytes.
    """

    url: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """One URL, or one stream, that should return the bytes of a file.

    Parameters
    ----------
    url : str
        Quoted and ready to send. It may contain credentials or a signature: print ``redacted`` instead.
    host : str
        The host as declared, without credentials.
    headers : mapping of str to str
        Further headers for this request.
    parts : tuple of Part
        The parts of a file that is stored in parts, in order; ``url`` is then that of the first.
    opener : callable, optional
        For hosts without HTTP: ``opener(start)`` opens the bytes from an offset as a binary file. ``url`` then only
        names the place.
    """

    url: str
    host: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    opener: Callable[[int], BinaryIO] | None = None

    def __post_init__(self) -> None:
        for url in (self.url, *(part.url for part in self.parts)):  # as a provider may answer
            if not isinstance(url, str):
                raise TypeError(f"a URL is a text, and not {type(url).__name__}")
            if "[" in url or "]" in url or not url.isascii():
                urlsplit(url)  # raises ValueError for half an address of IPv6

    @property
    def redacted(self) -> str:
        """The URL as it may be printed."""
        return redact_url(self.url)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch.

    Parameters
    ----------
    name : str
        Its name, for people.
    key : str
        The canonical URL.
    size : int or None
        Bytes that it must have.
    sha256 : str or None
        What it must hash to; None for a file that is not registered.
    sources : tuple of Source
        Where it may come from, best first.
    etag : str or None
        Of a file that is not registered: the version that is here already, not sent again if it is
        still the same.
    """

    name: str
    key: str
    size: int | None
    sha256: str | None
    sources: tuple[Source, ...]
    etag: str | None = None


@dataclass(slots=True)
class Arrived:
    """A file that is here now.

    Parameters
    ----------
    wanted : Wanted
        What was asked for.
    path : Path
        Where it is.
    source : Source or None
        The source that delivered it, the last of several; None if it was already here or another process downloaded it.
    seconds : float
        From its start to its end.
    moved_bytes : int
        Bytes of it that came over the wire in this call.
    etag : str or None
        What the server calls this version, if it does.
    unchanged : bool
        True if the server says that the version of ``wanted.etag`` is still the newest; `path` is what `find` says.
    """

    wanted: Wanted
    path: Path
    source: Source | None
    seconds: float
    moved_bytes: int
    etag: str | None = None
    unchanged: bool = False
