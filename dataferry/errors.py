"""The errors of dataferry.

All of them are a `DataferryError`, and each also is the builtin that fits, so that code which knows nothing of
dataferry still catches the right thing::

    DataferryError
    ├── BadName          ValueError    a name or a base URL that is not legal
    ├── RegistryError    ValueError    a dataferry.toml or registry file that cannot be read
    ├── SettingsError    ValueError    an environment variable or a config.toml that cannot be used
    ├── UnknownFile      LookupError   a name that the registry does not list
    ├── WrongBytes       OSError       a file whose size or sha256 is not the registered one
    ├── FileUnavailable  OSError       no place has the file; every place tried, each with its reason
    │   └── Offline                    the network was needed and is switched off or away
    │       └── NeedsNetwork           a task that is nothing without it: to publish, to check
    ├── TransferError    OSError       one source did not give the file
    │   └── HostRefused                the interface of a provider answered with an error
    ├── PublishError     OSError       a host did not take a file
    │   ├── AccessDenied               no token, or one with too few rights
    │   └── Conflict                   the host has other bytes under that name
    ├── CacheError       OSError       the cache cannot be read or written
    ├── MapError         ValueError    a FITS map that cannot be read; file, HDU and column
    │   └── UnknownField IndexError    the map has no such field
    ├── MissingExtra     ImportError   a library of an extra is not installed
    ├── FetchErrors      ExceptionGroup  several files could not be had
    └── PublishErrors    ExceptionGroup  several things keep files from being published

Every message says what was tried, why it failed, and the command that helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, Self

__all__ = [
    "AccessDenied",
    "BadName",
    "CacheError",
    "Conflict",
    "DataferryError",
    "Failure",
    "FetchErrors",
    "FileUnavailable",
    "HostRefused",
    "MapError",
    "MissingExtra",
    "NeedsNetwork",
    "Offline",
    "PublishError",
    "PublishErrors",
    "Reason",
    "RegistryError",
    "SettingsError",
    "TransferError",
    "UnknownField",
    "UnknownFile",
    "WrongBytes",
]


class DataferryError(Exception):
    """Whatever dataferry raises."""


class BadName(DataferryError, ValueError):
    """A name or a base URL that is not legal."""


class RegistryError(DataferryError, ValueError):
    """A registry that cannot be read; the message starts with the file and, where known, the line."""


class SettingsError(DataferryError, ValueError):
    """An environment variable or a ``config.toml`` that cannot be used."""


class UnknownFile(DataferryError, LookupError):
    """A name that the registry does not list.

    Parameters
    ----------
    name : str
        The name that was asked for.
    registry : str
        The registry that was searched.
    close : sequence of str
        Registered names that look like it.
    """

    def __init__(self, name: str, registry: str, close: Sequence[str] = ()) -> None:
        self.name = name
        self.close = tuple(close)
        self._parts = (name, registry, self.close)
        hint = f"; did you mean {' or '.join(repr(c) for c in self.close)}?" if self.close else ""
        super().__init__(f"{name!r} is not registered in {registry}{hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._parts


class WrongBytes(DataferryError, OSError):
    """A file whose size or sha256 is not the registered one."""


class CacheError(DataferryError, OSError):
    """The cache cannot be read or written."""


class MapError(DataferryError, ValueError):
    """A FITS map that cannot be read; the message names file, HDU and column."""


class UnknownField(MapError, IndexError):
    """A map has no such field; the message names those that it has."""


class MissingExtra(DataferryError, ImportError):
    """A library of an extra is not installed.

    Parameters
    ----------
    extra : str
        The extra of dataferry that brings the library.
    library : str
        The library that is missing.
    package : str
        What has to be installed with it, where the extra does not bring it.
    """

    def __init__(self, extra: str, library: str, package: str = "") -> None:
        self.extra = extra
        self.library = library
        self.package = package
        more = f" {package}" if package else ""
        super().__init__(
            f"this needs {library}, which is not installed: pip install 'dataferry[{extra}]'{more}",
            name=library,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.extra, self.library, self.package)


class Reason(StrEnum):
    """Why a place did not give a file, as one word for programs; each equals its text, ``Reason.CUT == "cut"``.

    A word that is not listed here becomes `ERROR`.
    """

    ABSENT = "absent"  #: it is not there
    ASIDE = "aside"  #: not asked: the host had failed for other files before
    BEYOND = "beyond"  #: a range behind the end of the file
    CHANGED = "changed"  #: another version than that of the first bytes
    CONNECT = "connect"  #: no connection
    CREDENTIALS = "credentials"  #: the library of a host found no credentials
    CUT = "cut"  #: the connection ended before the body
    DEADLINE = "deadline"  #: the time for the whole call is over
    DENIED = "denied"  #: not allowed
    DNS = "dns"  #: the host name is not known
    DOI = "doi"  #: a DOI that names no record
    EMPTY = "empty"  #: an empty body
    ENCODING = "encoding"  #: a compressed body that nobody asked for
    ERROR = "error"  #: anything else
    EXTRA = "extra"  #: a library that is not installed
    HTML = "html"  #: a page in place of the file: a login, a consent, an error
    JSON = "json"  #: an interface that answered something else
    LFS_POINTER = "lfs-pointer"  #: a git-lfs pointer in place of the file
    LIST = "list"  #: a host without a list of its files, or with one that cannot be used
    OFFLINE = "offline"  #: not asked: the network is switched off
    OPENER = "opener"  #: a host that does not speak HTTP where only HTTP will do
    PAYER = "payer"  #: a bucket whose reader pays
    PROTOCOL = "protocol"  #: not an answer of HTTP
    PROXY = "proxy"  #: the proxy does not let it through
    RANGE = "range"  #: other bytes than the range that was asked for
    RATE = "rate"  #: a limit of requests
    REDIRECT = "redirect"  #: too many redirects, or one that must not be followed
    SHA256 = "sha256"  #: all bytes came and are not the registered ones
    SIZE = "size"  #: another size than the registered one
    STABLE = "stable"  #: a file that changed while it was compared
    STALL = "stall"  #: too few bytes for the stall limit
    STATUS = "status"  #: another answer of a server, which the reason names
    TIMEOUT = "timeout"  #: no connection in time
    TLS = "tls"  #: a certificate that is not trusted, or a handshake that failed
    TOKEN = "token"  # noqa: S105  #: a token is missing or not accepted
    UNCHANGED = "unchanged"  #: still the version that is here
    UNREACHABLE = "unreachable"  #: no route to the host
    URL = "url"  #: not a URL that can be asked for

    @classmethod
    def _missing_(cls, value: object) -> Reason:
        return cls.ERROR


class TransferError(DataferryError, OSError):
    """One source did not give the file.

    Parameters
    ----------
    place : str
        The source, as it may be shown: without credentials.
    reason : str
        What happened.
    kind : Reason
        The same as one word for programs.
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
        kind: str = Reason.ERROR,
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        self.place = place
        self.reason = reason
        self.kind = Reason(kind)
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
        super().__init__(
            place, reason, kind=Reason.STATUS, retry_after=retry_after, final=status < 500 and status != 429
        )

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
    kind : Reason
        The same as one word for programs.
    """

    place: str
    reason: str
    kind: str = Reason.ERROR

    @property
    def other_bytes(self) -> bool:
        """Whether something was there that is not the registered file."""
        return self.kind in (Reason.SIZE, Reason.SHA256)


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


class PublishError(DataferryError, OSError):
    """A host did not take a file, or could not be asked whether it would.

    Parameters
    ----------
    place : str
        The host, or the file at the host, as it may be shown.
    reason : str
        What happened.
    remedy : str
        What helps.
    """

    def __init__(self, place: str, reason: str, remedy: str = "") -> None:
        self.place = place
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{place}: {reason}" + (f"\n{remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.reason, self.remedy)


class AccessDenied(PublishError):
    """No token was found, or the host refused it; the remedy says which rights it needs and where to make one."""


class Conflict(PublishError):
    """The host has other bytes under that name; a published name keeps its bytes."""


class FetchErrors(DataferryError, ExceptionGroup[DataferryError]):
    """Several files could not be had; ``exceptions`` holds one error a file, ``paths`` what did arrive.

    Parameters
    ----------
    message : str
        How many of how many.
    errors : sequence of DataferryError
        One for each file that failed.
    """

    paths: dict[str, str]

    def __new__(cls, message: str, errors: Sequence[DataferryError]) -> Self:
        """Make the group; an exception group takes its arguments here."""
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[DataferryError]) -> None:
        super().__init__(message, errors)
        self.paths = {}

    def derive(self, excs: Sequence[DataferryError]) -> FetchErrors:  # type: ignore[override]
        """Make the group of a part of the errors, for ``except*``."""
        return FetchErrors(self.message, excs)

    def __str__(self) -> str:
        return "\n".join([str(self.message), *(str(e) for e in self.exceptions)])


class PublishErrors(DataferryError, ExceptionGroup[DataferryError]):
    """Several things keep files from being published; ``exceptions`` holds one error for each.

    Parameters
    ----------
    message : str
        What was not done.
    errors : sequence of DataferryError
        Each thing that is wrong.
    """

    def __new__(cls, message: str, errors: Sequence[DataferryError]) -> Self:
        """Make the group; an exception group takes its arguments here."""
        return super().__new__(cls, message, errors)

    def derive(self, excs: Sequence[DataferryError]) -> PublishErrors:  # type: ignore[override]
        """Make the group of a part of the errors, for ``except*``."""
        return PublishErrors(self.message, excs)

    def __str__(self) -> str:
        from itertools import groupby

        lines = [str(self.message)]
        for remedy, group in groupby(self.exceptions, _remedy):
            alike = [str(error).removesuffix(f"\n{remedy}") for error in group]
            lines += alike[:_MOST_ALIKE] if remedy else alike
            if remedy:  # what helps with all of them is said once
                lines += [f"... and {len(alike) - _MOST_ALIKE} more"] if len(alike) > _MOST_ALIKE else []
                lines.append(remedy)
        return "\n".join(lines)


#: So many errors of one kind are told one by one.
_MOST_ALIKE = 20


def _remedy(error: object) -> str:
    return error.remedy if isinstance(error, PublishError) else ""
