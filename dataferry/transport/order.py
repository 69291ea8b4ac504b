"""What is asked for, and what came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..hosts.base import Source

__all__ = ["Arrived", "Wanted"]


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
        Who gave it, the last one if there were several; None if it was here already, or another process brought it.
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
