"""A file that could not be had."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from .declared import DataferryError

__all__ = ["Failure", "FileUnavailable", "HostRefused", "NeedsNetwork", "Offline", "TransferError"]


class TransferError(DataferryError, OSError):
    """One source did not give the file.

    Parameters
    ----------
    place : str
        The source, as it may be shown: without credentials.
    reason : str
        What happened.
    kind : str
        A short word for programs: ``"absent"``, ``"denied"``, ``"status"`` for other answers of a server, ``"size"``
        and ``"sha256"`` for other bytes, ``"html"``, ``"empty"``, ``"lfs-pointer"``, ``"encoding"``, ``"range"``,
        ``"beyond"`` for a range behind the end, ``"changed"``, ``"connect"``, ``"dns"``, ``"unreachable"``,
        ``"timeout"``, ``"stall"``, ``"cut"``, ``"protocol"``, ``"tls"``, ``"proxy"``, ``"redirect"``, ``"url"``,
        ``"error"``...
    retry_after : float, optional
        Seconds that the server asked to wait.
    final : bool
        True if asking the same source again cannot help.
    """

    def __init__(
        self,
        place: str,
        reason: str,
        *,
        kind: str = "error",
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        self.place = place
        self.reason = reason
        self.kind = kind
        self.retry_after = retry_after
        self.final = final
        super().__init__(f"{place}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(type(self), kind=self.kind, retry_after=self.retry_after, final=self.final)
        return again, (self.place, self.reason)


class HostRefused(TransferError):
    """The interface of a provider answered with an error.

    Parameters
    ----------
    place : str
        Method and URL, as they may be shown.
    status : int
        The HTTP status.
    said : str
        What the provider gives as its reason.
    retry_after : float, optional
        Seconds that it asked to wait.
    """

    def __init__(self, place: str, status: int, said: str = "", retry_after: float | None = None) -> None:
        self.status = status
        self.said = said
        reason = f"HTTP {status}" + (f": {said}" if said else "")
        super().__init__(place, reason, kind="status", retry_after=retry_after, final=status < 500 and status != 429)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.status, self.said, self.retry_after)


class Failure(NamedTuple):
    """Why one place did not give a file.

    Parameters
    ----------
    place : str
        The place, as it may be shown.
    reason : str
        What happened, for people.
    kind : str
        A short word for programs: those of `TransferError`, ``"offline"`` for a host that was not asked because the
        network is off, ``"aside"`` for one that had failed for other files before, ``"deadline"``; ``"error"`` for
        anything else.
    """

    place: str
    reason: str
    kind: str = "error"

    @property
    def other_bytes(self) -> bool:
        """Whether something was there that is not the registered file."""
        return self.kind in ("size", "sha256")


class FileUnavailable(DataferryError, OSError):
    """No place has the file.

    Parameters
    ----------
    name : str
        The file.
    tried : iterable of Failure or (str, str)
        Every place in the order it was tried, with the reason why it did not do.
    remedy : str
        The command or step that would help.

    Attributes
    ----------
    failures : tuple of Failure
        Every place in the order it was tried, with the reason for people and a short word for programs.
    """

    headline = "could not be had from any place"
    quoted = True

    def __init__(self, name: str, tried: Iterable[Failure | tuple[str, str]], remedy: str = "") -> None:
        self.name = name
        self.failures = tuple(Failure(*item) for item in tried)
        self.remedy = remedy
        lines = [f"{name!r} {self.headline}:" if self.quoted else f"{name} {self.headline}:"]
        lines += [f"  {failure.place}: {failure.reason}" for failure in self.failures]
        if remedy:
            lines.append(remedy)
        super().__init__("\n".join(lines))

    @property
    def tried(self) -> list[tuple[str, str]]:
        """The places with their reasons, without the words for programs."""
        return [(failure.place, failure.reason) for failure in self.failures]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.failures, self.remedy)


class Offline(FileUnavailable):
    """The network was needed and is switched off or away."""

    headline = "is not here and the network is not available"


class NeedsNetwork(Offline):
    """A task that is nothing without the network, which is switched off; ``name`` says which."""

    headline = "needs the network"
    quoted = False
