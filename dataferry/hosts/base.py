"""What a host is: it turns a name into the URLs that should answer with that file's bytes, and may take files."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ..download.source import Part, Source
from ..errors import BadName, DataferryError, PublishError, TransferError
from ..registry.names import check_name, redact_url, shortened

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.entry import Entry

__all__ = [
    "Credential",
    "Host",
    "HostStatus",
    "HostedFile",
    "Limits",
    "Locators",
    "Moved",
    "Notes",
    "Part",
    "Publisher",
    "Source",
    "Upload",
    "checked_files",
    "guarded",
]

#: What a publisher notes, kept on disk at every change; takes the bytes that went; the ids that a registry keeps.
Notes: TypeAlias = MutableMapping[str, Any]
Moved: TypeAlias = Callable[[int], None]
Locators: TypeAlias = Mapping[str, str | int]

_DIGEST = {"sha256": re.compile(r"[0-9a-f]{64}").fullmatch, "md5": re.compile(r"[0-9a-f]{32}").fullmatch}
#: More than any archive takes in one file; a number beyond it is no size.
_LARGEST = 2**63 - 1
_LONGEST_LOCATOR = 1024


@dataclass(frozen=True, slots=True)
class Credential:
    """A token that a host accepts, and the places where users can keep it.

    Parameters
    ----------
    provider : str
        Whose token it is, ``"Zenodo"``.
    server : str
        The name under which it is in ``config.toml``, the keyring and ``.netrc``, ``"zenodo.org"``.
    variables : tuple of str
        Environment variables that may contain it, in order.
    tool : tuple of str
        A command that prints it, ``("gh", "auth", "token")``.
    page : str
        The page on which users create one.
    rights : str
        The permissions that it needs, in the provider's words.
    own : bool
        Whether the variables and the tool have a token for exactly this server. If not, they are used only if the user
        named the server: a package can name any server, and must not get a token that way.
    """

    provider: str
    server: str
    variables: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    page: str = ""
    rights: str = ""
    own: bool = False

    def find(self, settings: Settings, *, publishing: bool = False) -> Token | None:
        """Find the user's token; None if there is none, and for anonymous settings."""
        from ..config.credentials import find_token

        use = publishing or self.own
        return find_token(self.server, settings, variables=self.variables if use else (), tool=self.tool if use else ())

    @property
    def remedy(self) -> str:
        """Where to make a token, and where to put it."""
        name = self.server.partition(":")[0]
        made = f"make a token at {self.page}" if self.page else "get a token"
        rights = f" with {self.rights}" if self.rights else ""
        variable = f"{self.variables[0]}, " if self.variables else ""
        return (
            f"{made}{rights}, and put it into {variable}the keyring (keyring set dataferry {name}), or as token under "
            f'[hosts."{self.server}"] of config.toml'
        )


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What this machine knows about a host without asking it.

    Parameters
    ----------
    provider : str
        The provider whose credentials it accepts; empty if it needs none.
    variable : str
        An environment variable that may contain them.
    origin : str or None
        Where the credentials for publishing were found, never the credentials; empty if there are none; None if only
        the host knows.
    """

    provider: str = ""
    variable: str = ""
    origin: str | None = None


class Host(ABC):
    """A place that serves files over the network.

    A host is created from one line of ``dataferry.toml``: ``dataurl`` or an item of ``mirrors``. Creating it and
    calling `sources` does no input or output.

    Parameters
    ----------
    spec : str
        The line as declared, ``https://host/path/`` or ``scheme:rest``.

    Raises
    ------
    BadName
        If the line is not a valid declaration of such a host.

    Attributes
    ----------
    locator : str
        The key of this host's locators in an entry of the registry, ``figshare``; empty if the host needs none.
    schemes : tuple of str
        The schemes that it handles, as its distribution registers them in the entry-point group ``dataferry.hosts``.
    example : str
        A declaration for which `status` reports whether the user has credentials; empty if there is none.
    series : str
        Hosts with the same value share the files and versions of one data set, as the releases of a repository do;
        empty if a host has all files.
    """

    locator: str = ""
    schemes: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str] = ""
    series: str = ""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def redacted(self) -> str:
        """The declaration without credentials, for messages."""
        return redact_url(self.spec)

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The library that a scheme needs and that is not installed, with the command; empty if nothing is missing.

        Parameters
        ----------
        scheme : str
            One of ``schemes``.

        Returns
        -------
        str
            ``"gcsfs: pip install gcsfs"``.
        """
        return ""

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The tokens that the host accepts, in order; known from the declaration alone."""
        return ()

    def token(self, settings: Settings, *, publishing: bool = False) -> Token | None:
        """The user's token for this host.

        Parameters
        ----------
        settings : Settings
            The user's settings.
        publishing : bool
            Whether the user named the server, and not just a package.

        Returns
        -------
        Token or None
            None where there is none, and for anonymous settings.
        """
        found = (credential.find(settings, publishing=publishing) for credential in self.credentials)
        return next((token for token in found if token is not None), None)

    def status(self, settings: Settings) -> HostStatus:
        """What this machine knows about the host without asking it.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        HostStatus
            The provider, and where its credentials were found.
        """
        if not self.credentials:
            return HostStatus()
        token, first = self.token(settings, publishing=True), self.credentials[0]
        return HostStatus(first.provider, next(iter(first.variables), ""), token.origin if token else "")

    @abstractmethod
    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The URLs of one file at this host, best first, from the declaration and the registry alone.

        Parameters
        ----------
        name : str
            The file's name.
        entry : Entry or None
            Its entry; None for a file that is not registered.

        Returns
        -------
        sequence of Source
            Usually one; empty if the host must be asked first, see `look_up`.
        """

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Ask the host where files are, if `sources` cannot know it or credentials are needed.

        dataferry calls it at most once for each run, for files that no other source has.

        Parameters
        ----------
        wanted : mapping of str to Entry or None
            The files and their entries.
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to sequence of Source
            The files that were found.

        Raises
        ------
        TransferError
            If the host does not answer.
        """
        return {}

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """List the files of the host, by name.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to HostedFile
            All files that can be read.

        Raises
        ------
        TransferError
            If the host does not answer, or has no list of its files.
        """
        raise TransferError(self.redacted, "this kind of host has no list of its files", kind="list", final=True)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """The publisher of this host. Creating it does no input or output.

        Parameters
        ----------
        settings : Settings
            The user's settings.
        about : mapping of str to object
            The ``[about]`` table of ``dataferry.toml``: ``title``, ``description``, ``authors``, ``license``,
            ``keywords``, ``categories``...

        Returns
        -------
        Publisher
            One run at a time uses it.

        Raises
        ------
        PublishError
            If dataferry cannot publish to this kind of host, or not from this machine.
        """
        raise PublishError(self.redacted, "dataferry can read from this kind of host, but not publish to it")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a host; None if there is none. Files that it already has count, see `Publisher.occupied`.

    Parameters
    ----------
    file_bytes : int, optional
        The limit for one file.
    total_bytes : int, optional
        The limit for all files of one host.
    files : int, optional
        The number of files.
    empty : bool
        Whether the host accepts an empty file.
    """

    file_bytes: int | None = None
    total_bytes: int | None = None
    files: int | None = None
    empty: bool = True


@dataclass(frozen=True, slots=True)
class HostedFile:
    """A file that a host has, as the host reports it.

    Parameters
    ----------
    size : int or None
        Its bytes.
    sha256, md5 : str or None
        Digests that the host reports, in lower case; None if it reports none.
    locators : mapping of str to (str or int)
        What the registry must store for it.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    locators: Locators = field(default_factory=dict)

    def matches(self, upload: Upload) -> bool | None:
        """Whether the host has the bytes of a local file; None if the host reports no digest.

        Parameters
        ----------
        upload : Upload
            The local file.

        Returns
        -------
        bool or None
            By size, then by sha256 or md5.
        """
        if self.size is not None and self.size != upload.size:
            return False
        if self.sha256:
            return self.sha256.lower() == upload.sha256
        return self.md5.lower() == upload.md5 if self.md5 else None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to upload.

    Parameters
    ----------
    name : str
        Its name.
    path : Path
        The local file; dataferry does not write to it.
    size : int
        Its bytes.
    sha256, md5 : str
        Its digests, in lower case.
    """

    name: str
    path: Path
    size: int
    sha256: str
    md5: str


class Publisher(ABC):
    """Uploads files to one host.

    A run calls, in this order: `problem` for each file, `check_rights`, `hosted`, `occupied` and `remarks` (they only
    read), then `begin`, `upload` for each file that has to go (from several threads, at most ``parallel``), `finish`
    once. Then the run fetches every file back through ``Host.sources`` without any credentials. Killed anywhere, the
    next run begins again: what is already at the host must be found there or in the notes, and never be uploaded
    twice.

    Parameters
    ----------
    host : Host
        The host.
    settings : Settings
        The user's settings.
    about : mapping of str to object
        The ``[about]`` table of ``dataferry.toml``.

    Attributes
    ----------
    limits : Limits
        The limits of the host.
    parallel : int
        The number of parallel uploads.
    tells_digests : bool
        Whether `hosted` reports a digest of uploaded files. If not, this machine records what it has proven.
    versioned : bool
        Whether a name can get other bytes while its old locator still finds the old ones; known after `check_rights`.
    repairs : bool
        Whether damaged copies of registered files can be replaced.
    next_line : str
        Of a host that takes new bytes under another line only, such as the next tag: that line.
    superseded : mapping of str to HostedFile
        The files of the host for which a new version is requested; set before `begin`.
    damaged : set of str
        Registered files of which the host has other bytes, and which `upload` replaces; set before `begin`.
    registered : sequence of str
        The hosts that the registry declares. A line that asks for something new, ``figshare:new``, means what it made
        the last time, if that is among them.
    wait : float or None
        Seconds that the author allows `finish` to wait until everybody sees the files (``--wait``); None if the host
        decides.
    notify : callable
        Takes a line for the author, on what the host is waited for; by default it goes to the log.
    """

    limits: Limits = Limits()
    parallel: int = 4
    tells_digests: bool = True
    versioned: bool = False
    repairs: bool = False
    next_line: str = ""

    def __init__(self, host: Host, settings: Settings, about: Mapping[str, Any]) -> None:
        self.host = host
        self.settings = settings
        self.about = about
        self.superseded: Mapping[str, HostedFile] = {}
        self.damaged: set[str] = set()
        self.registered: Sequence[str] = ()
        self.wait: float | None = None
        self.notify: Callable[[str], object] = logging.getLogger("dataferry").info

    @property
    def declared(self) -> str:
        """The line for readers in ``dataferry.toml``. It may differ from the one that was published to."""
        return self.host.spec

    @abstractmethod
    def check_rights(self) -> str:
        """Find the credentials and ask the host whether they are sufficient, without changing anything.

        Returns
        -------
        str
            Who publishes, and where the token was found; never the token.

        Raises
        ------
        AccessDenied
            If there is no token, or it has too few permissions; the message says which ones it needs and where to
            create one.
        PublishError
            If the host cannot be published to.
        """

    @abstractmethod
    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The files that the host has under the names to publish, public or not yet.

        Parameters
        ----------
        uploads : sequence of Upload
            The files.

        Returns
        -------
        mapping of str to HostedFile
            Only complete files.

        Raises
        ------
        PublishError
            If the host could not be asked.
        """

    def problem(self, upload: Upload) -> str:
        """Why the host cannot store a file, apart from ``limits``. No input or output.

        Parameters
        ----------
        upload : Upload
            The file.

        Returns
        -------
        str
            The reason and what to do; empty if nothing is wrong.
        """
        return ""

    def occupied(self) -> Mapping[str, int]:
        """What already counts against ``limits``, whoever uploaded it; called after `hosted`, and only for such limits.

        Returns
        -------
        mapping of str to int
            Name -> bytes, of all that is there as far as it is known. By default what ``Host.hosted`` lists.
        """
        try:
            return {name: file.size or 0 for name, file in self.host.hosted(self.settings).items()}
        except TransferError:  # nothing is there yet, or the host has no list
            return {}

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What else the plan says: files are divided, spread, cannot be taken back; pure, after `hosted`.

        Parameters
        ----------
        uploads : sequence of Upload
            The files that have to go.

        Returns
        -------
        sequence of str
            One sentence each.
        """
        return ()

    def discard(self, names: Sequence[str]) -> None:  # noqa: B027
        """Remove damaged copies of registered files before `begin`, where `upload` cannot replace them.

        Parameters
        ----------
        names : sequence of str
            The ``damaged`` files.

        Raises
        ------
        PublishError
            If the host does not allow it.
        """

    def begin(self, uploads: Sequence[Upload], notes: Notes) -> None:  # noqa: B027
        """Prepare uploads: a draft, a release, a clone. Called only if there is a file to upload.

        Parameters
        ----------
        uploads : sequence of Upload
            The files that have to go.
        notes : mapping
            What an earlier run recorded for this host, written to disk at every change; values must fit JSON.

        Raises
        ------
        PublishError
            If that fails.
        """

    @abstractmethod
    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Upload one file, or resume its upload from the notes or from what the host has. Called from several threads.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            What was recorded for this file and these bytes, written to disk at every change; values must fit JSON.
        moved : callable
            Called with the number of bytes that were sent; negative if they must be sent again.

        Returns
        -------
        mapping of str to (str or int)
            The file's locators, if they are already known.

        Raises
        ------
        Conflict
            If the host has other bytes under the name, perhaps only since a moment ago.
        PublishError
            If it did not arrive.
        """

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """Make the uploaded files public, when all of them have arrived. Also called if this run uploaded nothing.

        If a file did not arrive, it is not called. Files that are public all the same are proven and registered; the
        others wait for the next run.

        Parameters
        ----------
        uploads : sequence of Upload
            All files of this host, uploaded now or before.
        notes : mapping
            As for `begin`.

        Returns
        -------
        mapping of str to mapping of str to (str or int)
            Name -> locators that changed.

        Raises
        ------
        PublishError
            If that fails.
        """
        return {}

    def seconds_until_served(self) -> float:
        """How long the host may need after `finish` until everybody sees the files; the proof waits that long."""
        return 0.0


@contextmanager
def guarded(place: str) -> Iterator[None]:
    """Convert an unexpected exception of a host's module into a `TransferError` with the host's name."""
    try:
        yield
    except DataferryError:
        raise
    except Exception as error:
        logging.getLogger("dataferry").debug("%s", place, exc_info=error)
        detail = f"{type(error).__name__}: {error}"[:300]
        reason = f"its response does not have the expected form, or the host's module has an error ({detail})"
        raise TransferError(place, reason, kind="protocol", final=True) from error


def checked_files(place: str, files: Mapping[str, HostedFile]) -> tuple[dict[str, HostedFile], list[str]]:
    """Check the list of a host like a registry that an author writes.

    Parameters
    ----------
    place : str
        The host, as it may be printed.
    files : mapping of str to HostedFile
        The result of `Host.hosted`.

    Returns
    -------
    files : dict of str to HostedFile
        The valid files.
    skipped : list of str
        The reason for each file that was left out.
    """
    kept: dict[str, HostedFile] = {}
    skipped: list[str] = []
    for name, file in files.items():
        try:
            check_name(name)
        except BadName as error:
            skipped.append(str(error))
            continue
        if wrong := _impossible(file):
            skipped.append(f"{name!r}: {place} reports {wrong}")
        else:
            kept[name] = file
    return kept, skipped


def _impossible(file: HostedFile) -> str:
    if file.size is not None and (type(file.size) is not int or not 0 <= file.size <= _LARGEST):
        return f"the size {shortened(file.size)}"
    for kind, form in _DIGEST.items():
        digest = getattr(file, kind)
        if digest is not None and (not isinstance(digest, str) or not form(digest.lower())):
            return f"the {kind} {shortened(digest)}"
    for key, value in file.locators.items():
        legal = type(value) is int or (isinstance(value, str) and 0 < len(value) <= _LONGEST_LOCATOR)
        if not legal or key in {"", "sha256", "size"} or not f"{key}{value}".isprintable():
            return f"the id {shortened(value)} ({shortened(key)})"
    return ""
