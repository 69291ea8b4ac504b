"""The errors of dataferry.

All of them are a `DataferryError`, and each is also the builtin that fits, so that code which knows nothing of
dataferry still catches the right thing::

    DataferryError
    ├── BadName          ValueError    a name or a base URL that is not allowed
    ├── RegistryError    ValueError    a dataferry.toml or registry file that cannot be read
    ├── SettingsError    ValueError    an environment variable or a config.toml that cannot be used
    ├── UnknownFile      LookupError   a name that the registry does not list
    ├── WrongBytes       OSError       a file whose size or sha256 is not the registered one
    ├── FileUnavailable  OSError       the file is not available; every place with its reason
    │   └── Offline                    the network is needed, and is off or not reachable
    │       └── NeedsNetwork           a task that needs the network: to publish, to check
    ├── TransferError    OSError       one source did not deliver the file
    │   └── HostRefused                the API of a host answered with an error
    ├── PublishError     OSError       a host did not accept a file
    │   ├── AccessDenied               no token, or one with too few permissions
    │   └── Conflict                   the host has other bytes under that name
    ├── CacheError       OSError       the cache cannot be read or written
    ├── MapError         ValueError    a FITS map that cannot be read; file, HDU and column
    │   └── UnknownField IndexError    the map has no such field
    ├── ArchiveError     ValueError    an archive that is damaged, unsafe or no archive
    ├── MissingExtra     ImportError   a library of an extra is not installed
    ├── FetchErrors      ExceptionGroup  several files are not available
    └── PublishErrors    ExceptionGroup  several reasons why files cannot be published

Every message says what was tried, why it failed, and the command that helps. `Reason` lists the words that programs
compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

__all__ = [
    "AccessDenied",
    "ArchiveError",
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


class Reason(StrEnum):
    """Why a place did not have or deliver a file, as one word for programs: ``Reason.CUT == "cut"``.

    A word that is not in this list becomes `ERROR`.
    """

    ABSENT = "absent"  #: it is not there
    ASIDE = "aside"  #: not asked: the host had failed for other files before
    BEYOND = "beyond"  #: a range after the end of the file
    CHANGED = "changed"  #: the file changed during the download
    CONNECT = "connect"  #: no connection
    CREDENTIALS = "credentials"  #: the library of a host found no credentials
    CUT = "cut"  #: the connection ended before the body
    DEADLINE = "deadline"  #: the time for the whole call is over
    DENIED = "denied"  #: not allowed
    DNS = "dns"  #: the host name is not known
    DOI = "doi"  #: a DOI that names no record
    EMPTY = "empty"  #: an empty body
    ENCODING = "encoding"  #: a compressed body that was not requested
    ERROR = "error"  #: anything else
    EXTRA = "extra"  #: a library that is not installed
    HTML = "html"  #: a page instead of the file: a login, a consent, an error
    JSON = "json"  #: an API answered something other than JSON
    LFS_POINTER = "lfs-pointer"  #: a git-lfs pointer instead of the file
    LIST = "list"  #: a host without a list of its files, or with one that cannot be used
    OFFLINE = "offline"  #: not asked: the network is switched off
    OPENER = "opener"  #: a host without HTTP, where HTTP is needed
    PAYER = "payer"  #: a bucket whose reader must agree to pay
    PROTOCOL = "protocol"  #: not a valid HTTP response
    PROXY = "proxy"  #: the proxy failed or refused
    RANGE = "range"  #: other bytes than the requested range
    RATE = "rate"  #: too many requests
    REDIRECT = "redirect"  #: too many redirects, or a forbidden one
    SHA256 = "sha256"  #: all bytes arrived, and they are not the registered ones
    SIZE = "size"  #: another size than the registered one
    STABLE = "stable"  #: the file changed while it was compared
    STALL = "stall"  #: too few bytes for the stall limit
    STATUS = "status"  #: another HTTP status, which the text names
    TIMEOUT = "timeout"  #: no connection in time
    TLS = "tls"  #: a certificate that is not trusted, or a handshake that failed
    TOKEN = "token"  # noqa: S105  #: a token is missing or not accepted
    UNCHANGED = "unchanged"  #: the cached version is current
    FETCH = "fetch"  #: the whole file could not be downloaded
    UNKNOWN = "unknown"  #: the host does not know where the file is
    UNREACHABLE = "unreachable"  #: no route to the host
    URL = "url"  #: not a valid URL

    @classmethod
    def _missing_(cls, value: object) -> Reason:
        return cls.ERROR


#: Neither tabs and line ends nor what text in any language needs.
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"


def printable(text: str) -> str:
    r"""Text whose control characters are escaped, ``\x1b``: a terminal would obey them."""
    return re.sub(_CONTROL, lambda match: match[0].encode("unicode_escape").decode(), text)


class DataferryError(Exception):
    """The base class of all errors of dataferry."""

    def __str__(self) -> str:
        """The message, which may quote a server or a file, as any terminal and log can print it."""
        return printable(super().__str__().encode(errors="backslashreplace").decode())

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy the attributes: `Exception` would call ``__init__`` with the message alone."""
        made: Any = super().__reduce__()
        return type(self).__new__, (type(self), *made[1]), {**dict(*made[2:]), "args": made[1]}


class BadName(DataferryError, ValueError):
    """A name or a base URL that is not allowed."""


class RegistryError(DataferryError, ValueError):
    """A registry that cannot be read; the message starts with the file and, where known, the line."""


class SettingsError(DataferryError, ValueError):
    """An environment variable or a ``config.toml`` that cannot be used."""


class UnknownFile(DataferryError, LookupError):
    """A name that the registry does not list.

    Parameters
    ----------
    name : str
        The requested name.
    registry : str
        The registry that was searched.
    close : sequence of str
        Similar registered names.
    """

    def __init__(self, name: str, registry: str, close: Sequence[str] = ()) -> None:
        self.name = name
        self.close = tuple(close)
        hint = f"; did you mean {' or '.join(repr(c) for c in self.close)}?" if self.close else ""
        none = ": no name matches this pattern" if any(c in name for c in "*?[") and not hint else ""
        super().__init__(f"{name!r} is not registered in {registry}{none}{hint}")


class WrongBytes(DataferryError, OSError):
    """A file whose size or sha256 is not the registered one."""


class CacheError(DataferryError, OSError):
    """The cache cannot be read or written."""


class MapError(DataferryError, ValueError):
    """A FITS map that cannot be read; the message names file, HDU and column."""


class UnknownField(MapError, IndexError):
    """A map has no such field; the message names those that it has."""


class ArchiveError(DataferryError, ValueError):
    """An archive that cannot be unpacked: it is damaged, unsafe, too large, or no archive.

    Parameters
    ----------
    archive : str
        The archive's path.
    reason : str
        What is wrong with it.
    remedy : str
        What to do.
    """

    def __init__(self, archive: str, reason: str, remedy: str = "") -> None:
        self.archive, self.reason, self.remedy = archive, reason, remedy
        super().__init__(f"{archive} {reason}{f'; {remedy}' if remedy else ''}")


class MissingExtra(DataferryError, ImportError):
    """A library of an extra is not installed.

    Parameters
    ----------
    extra : str
        The extra of dataferry that installs the library.
    library : str
        The library that is missing.
    package : str
        A package to install with it, if the extra does not include it.
    """

    def __init__(self, extra: str, library: str, package: str = "") -> None:
        self.extra = extra
        self.library = library
        self.package = package
        install = f"'dataferry[{extra}]' {package}" if extra else f"{library}{package}"
        super().__init__(f"this needs {library}, which is not installed: pip install {install}".rstrip(), name=library)


class TransferError(DataferryError, OSError):
    """One source did not deliver the file.

    Parameters
    ----------
    place : str
        The source, without credentials.
    reason : str
        What happened.
    kind : Reason or str
        The same in one word for programs.
    retry_after : float, optional
        Seconds that the server asked to wait.
    final : bool
        Whether another attempt at the same source cannot help.
    sha256 : str
        The hash of a whole file that arrived and is not the right one.
    """

    def __init__(
        self,
        place: str,
        reason: str,
        *,
        kind: Reason | str = Reason.ERROR,
        retry_after: float | None = None,
        final: bool = False,
        sha256: str = "",
    ) -> None:
        self.place = place
        self.reason = reason
        self.kind = Reason(kind)
        self.retry_after = retry_after
        self.final = final
        self.sha256 = sha256
        super().__init__(f"{place}: {reason}")


class HostRefused(TransferError):
    """The API of a host answered with an error.

    Parameters
    ----------
    place : str
        Method and URL, without credentials.
    status : int
        The HTTP status.
    message : str
        The reason that the host reported.
    retry_after : float, optional
        Seconds that the host asked to wait.
    """

    def __init__(self, place: str, status: int, message: str = "", retry_after: float | None = None) -> None:
        self.status = status
        self.message = message
        reason = f"HTTP {status}" + (f": {message}" if message else "")
        final = status < 500 and status != 429
        super().__init__(place, reason, kind=Reason.STATUS, retry_after=retry_after, final=final)


class Failure(NamedTuple):
    """Why one place did not have or deliver a file.

    Parameters
    ----------
    place : str
        The place, without credentials.
    reason : str
        What happened, for people.
    kind : Reason
        The same in one word for programs.
    sha256 : str
        The hash of a whole file that arrived and is not the right one.
    """

    place: str
    reason: str
    kind: str = Reason.ERROR
    sha256: str = ""

    @property
    def other_bytes(self) -> bool:
        """Whether something was there that is not the registered file."""
        return self.kind in (Reason.SIZE, Reason.SHA256)


class FileUnavailable(DataferryError, OSError):
    """The file is not available from any place.

    Parameters
    ----------
    name : str
        The file.
    tried : iterable of Failure or (str, str)
        Every place in the order it was tried, with the reason.
    remedy : str
        The command or step that would help.

    Attributes
    ----------
    failures : tuple of Failure
        Every place in the order it was tried, with the reason for people and a short word for programs.
    """

    headline = "is not available from any place"
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


class Offline(FileUnavailable):
    """The network is needed, and it is switched off or not reachable."""

    headline = "is not here and the network is not available"


class NeedsNetwork(Offline):
    """A task that needs the network, which is switched off; ``name`` is the task."""

    headline = "needs the network"
    quoted = False


class PublishError(DataferryError, OSError):
    """A host did not accept a file, or could not be asked.

    Parameters
    ----------
    place : str
        The host, or the file at the host, without credentials.
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


class AccessDenied(PublishError):
    """No token was found, or the host rejected it; the remedy says what it needs and where to create one."""


class Conflict(PublishError):
    """The host has other bytes under that name; a published name keeps its bytes."""


class _Group(DataferryError, ExceptionGroup[DataferryError]):
    def derive(self, excs: Sequence[DataferryError]) -> Self:  # type: ignore[override]
        """Make the group of a part of the errors, for ``except*``."""
        return type(self)(self.message, excs)


class FetchErrors(_Group):
    """Several files are not available; ``exceptions`` has one error for each, ``paths`` the files that did arrive.

    Parameters
    ----------
    message : str
        How many files of how many.
    errors : sequence of DataferryError
        One for each file that failed.
    """

    paths: dict[str, str]

    def __init__(self, message: str, errors: Sequence[DataferryError]) -> None:
        super().__init__(message, errors)
        self.paths = {}

    def __str__(self) -> str:
        return "\n".join([str(self.message), *_grouped(self.exceptions)])


class PublishErrors(_Group):
    """Several reasons why files cannot be published; ``exceptions`` has one error for each.

    Parameters
    ----------
    message : str
        What was not done.
    errors : sequence of DataferryError
        One error for each reason.
    """

    def __str__(self) -> str:
        return "\n".join([str(self.message), *_grouped(self.exceptions)])


#: So many errors of one kind are printed one by one, and so many names in one line.
_MOST_ALIKE = 20
_MOST_NAMES = 8


def _grouped(errors: Sequence[BaseException]) -> list[str]:
    """What the errors say, with what is the same for many of them only once."""
    groups: dict[object, list[BaseException]] = {}
    for error in errors:
        groups.setdefault(_kind_of(error), []).append(error)
    lines = []
    for alike in groups.values():
        first = alike[0]
        if isinstance(first, PublishError) and first.remedy:
            lines += [str(error).removesuffix(f"\n{first.remedy}") for error in alike[:_MOST_ALIKE]]
            lines += [f"... and {len(alike) - _MOST_ALIKE} more"] if len(alike) > _MOST_ALIKE else []
            lines.append(first.remedy)
        elif isinstance(first, FileUnavailable) and len(alike) > 1:
            names = [repr(error.name) for error in alike[1:] if isinstance(error, FileUnavailable)]
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            lines += [str(first), f"For the same reasons: {', '.join(names[:_MOST_NAMES])}{more}"]
        else:
            lines += map(str, alike)
    return lines


def _kind_of(error: BaseException) -> object:
    if isinstance(error, FileUnavailable):
        return type(error), tuple((failure.kind, failure.reason) for failure in error.failures)
    if isinstance(error, PublishError) and error.remedy:
        return error.remedy
    return id(error)
