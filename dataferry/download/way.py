"""One source of one file, and which of several is asked next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from .health import HostHealth
from .source import Source
from .stretch import Stretch, at, stretches_of

__all__ = ["Way", "best"]

_ROUNDS = 4
_SLOWER = 3.0  # a host that is so many times slower than another is asked after it


@dataclass(slots=True, eq=False)
class Way:
    """One source of one file.

    Parameters
    ----------
    source : Source
        The source.
    host : HostHealth
        Its host.
    """

    source: Source
    host: HostHealth
    tries: int = 0
    wrong: int = 0
    final: bool = False
    stretches: list[Stretch] | None = None
    etag: str | None = None
    last: str = ""

    def at(self, position: int) -> Stretch:
        """What to ask for a byte of the file.

        Parameters
        ----------
        position : int
            The byte.

        Returns
        -------
        Stretch
            The whole file, or the part that has the byte.
        """
        if self.stretches is None:
            self.stretches = stretches_of(self.source)
        return at(self.stretches, position)

    @property
    def plain(self) -> bool:
        """Whether one GET brings the whole file."""
        return not self.source.parts and self.source.opener is None


def best(ways: Iterable[Way]) -> Way | None:
    """The source to ask next.

    Parameters
    ----------
    ways : iterable of Way
        The sources of one file, in the order in which they are declared.

    Returns
    -------
    Way or None
        None if no source is worth asking any more.
    """
    left = [way for way in ways if not way.final and not way.host.aside and way.tries < _ROUNDS]
    if not left:
        return None
    now = time.monotonic()
    fastest = max(way.host.per_connection for way in left)

    def cost(way: Way) -> tuple[bool, bool, int, bool]:
        rate = way.host.per_connection
        resting = way.host.paused_until > now
        failing = way.host.failures > 0 or way.host.doubtful
        return resting, failing, way.tries, 0 < rate * _SLOWER < fastest

    return min(left, key=cost)
