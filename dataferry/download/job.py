"""One file of a run: where it may come from, what was tried, what is there already."""

from __future__ import annotations

from pathlib import Path

from ..errors import Failure, FileUnavailable, Offline, TransferError
from .follow import Follower
from .health import HostHealth
from .lease import Lease
from .partial import Partial, identity_of
from .pieces import Pieces, Segment
from .source import Arrived, Wanted
from .way import Way, best

__all__ = ["Job"]

_NO_NETWORK = frozenset({"dns", "unreachable"})
_TOGETHER = 1 << 18
_PROGRESS = 1 << 20  # bytes that make an attempt worth repeating at once


class Job:
    """One file.

    Parameters
    ----------
    wanted : Wanted
        The file.
    ways : list of Way
        Its sources.
    workdir : Path
        Where partials lie.
    """

    # What most small files never need costs them nothing here.
    leased = parked = impatient = False
    way: Way | None = None
    began: Way | None = None
    alone: Way | None = None
    givers: frozenset[Way] = frozenset()
    compared: frozenset[int] = frozenset()
    partial: Partial | None = None
    follower: Follower | None = None
    pieces: Pieces | None = None
    rival: tuple[Way, Segment] | None = None
    head = b""
    moved = 0
    started = waiting_since = opened = 0.0
    seen = (0, 0.0)
    tried: tuple[Failure, ...] = ()
    result: Arrived | FileUnavailable | None = None

    def __init__(self, wanted: Wanted, ways: list[Way], workdir: Path) -> None:
        self.wanted = wanted
        self.ways = ways
        self.identity = identity_of(wanted.sha256, wanted.key)
        self.lease = Lease(workdir, self.identity)
        self.size = wanted.size

    @property
    def small(self) -> bool:
        """Whether it may be asked for together with others over one connection."""
        wanted, way = self.wanted, self.way
        if wanted.sha256 is None or wanted.size is None or wanted.size > _TOGETHER or self.tried:
            return False
        return way is None or way.plain

    @property
    def registered(self) -> bool:
        """Whether the right bytes are known."""
        return self.wanted.sha256 is not None

    def choose(self) -> Way | None:
        """The source to ask next.

        Returns
        -------
        Way or None
            None if no source is worth asking any more.
        """
        ways = self.ways
        alone = len(ways) == 1 and not (ways[0].tries or ways[0].final or ways[0].host.aside)
        chosen = ways[0] if alone else best(ways)
        if chosen is not None:
            self.way = chosen
        return chosen

    def failed(self, way: Way, error: TransferError, moved: int) -> float:
        """Note that a source did not give the file, or not all of it.

        Parameters
        ----------
        way : Way
            The source.
        error : TransferError
            What happened.
        moved : int
            Bytes that came in this attempt.

        Returns
        -------
        float
            Seconds to wait before this file is tried again.
        """
        way.last = error.reason
        self.tried += (Failure(error.place, error.reason, error.kind),)
        much = moved >= _PROGRESS or bool(self.size and moved * 20 >= self.size)
        way.host.failed(error, much)
        if error.final:
            way.final = True
            return 0.0
        if much and self.keeps(way, error):
            return 0.0
        way.tries += 1
        others = any(w is not way and not w.final and not w.host.aside and w.tries < way.tries for w in self.ways)
        return 0.0 if others else HostHealth.backoff(way.tries)

    def keeps(self, way: Way, error: TransferError) -> bool:
        """Whether what has come is of use after a failure: something must prove that the rest belongs to it.

        Parameters
        ----------
        way : Way
            The source.
        error : TransferError
            What happened.

        Returns
        -------
        bool
            False if the file has to be begun again.
        """
        return self.registered or (way.etag is not None and error.kind != "changed")

    def wrong(self, way: Way, error: TransferError) -> None:
        """Note that the file was brought to its end and is not the right one: nothing of it is kept.

        Parameters
        ----------
        way : Way
            The source of the last bytes.
        error : TransferError
            What happened.
        """
        mixed = len(self.givers) > 1 or (self.partial is not None and self.partial.resumed > 0)
        reason = error.reason + (" (bytes of several attempts)" if mixed else "")
        self.tried += (Failure(error.place, reason, error.kind),)
        self.drop()
        way.wrong += 1
        way.tries += 1
        if mixed:
            # Nobody can tell who was wrong: from now on one source at a time, from its first byte.
            self.alone = way
        elif way.wrong > 1 or len(self.ways) > 1:
            way.final = True

    def give_up(self, reason: str = "", kind: str = "deadline") -> None:
        """Note that the file cannot be had; what there is of it is kept.

        Parameters
        ----------
        reason : str
            Why, if it is not the sources' fault.
        kind : str
            The same for programs.
        """
        for way in self.ways:
            if not way.last and way.host.reason:
                why = f"not asked, its host failed before: {way.host.reason}"
                self.tried += (Failure(way.source.redacted, why, "aside"),)
        tried = list(dict.fromkeys(self.tried))
        if reason:
            tried.append(Failure("this run", reason, kind))
        have = self.done_bytes()
        self.keep()
        away = bool(self.ways) and all(way.host.kind in _NO_NETWORK and way.host.failures for way in self.ways)
        remedy = f"{have} bytes are kept: the same command goes on from there" if have and self.registered else ""
        self.result = (Offline if away else FileUnavailable)(self.wanted.name, tried, remedy)

    def drop(self) -> None:
        """Forget the bytes that are there."""
        if self.follower is not None:
            self.follower.close()
        if self.partial is not None:
            self.partial.discard()
        self.partial = self.follower = self.pieces = None
        self.givers = frozenset()
        self.head = b""
        self.size = self.wanted.size

    def keep(self) -> None:
        """Leave what is there for another attempt, perhaps of another process."""
        if self.follower is not None:
            self.follower.close()
        if self.partial is not None:
            self.partial.keep()
        self.partial = self.follower = self.pieces = None

    def give_back(self) -> None:
        """Let others have the file."""
        if self.leased:
            self.leased = False
            self.lease.give_back()

    def kept_bytes(self) -> int:
        """Bytes that came in this run and would be there for another attempt.

        Returns
        -------
        int
            Their number.
        """
        return self.pieces.moved if self.pieces is not None else 0

    def done_bytes(self) -> int:
        """Bytes of the file that are there.

        Returns
        -------
        int
            Their number.
        """
        if isinstance(self.result, Arrived):
            return self.size or 0
        partial, pieces = self.partial, self.pieces
        if partial is None:
            return self.seen[0]
        return partial.resumed + (pieces.moved if pieces else 0)
