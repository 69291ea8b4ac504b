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
from ..registry.names import check_name, redact_url

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.registry import Entry

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
    """A token that a host takes, and where its user may keep it.

    Parameters
    ----------
    provider : str
        Whose token it is, ``"Zenodo"``.
    server : str
        The name under which ``config.toml``, the keyring and ``.netrc`` keep it, ``"zenodo.org"``.
    variables : tuple of str
        Environment variables that may hold it, the first one first.
    tool : tuple of str
        A command that prints it, ``("gh", "auth", "token")``.
    page : str
        Where one is made.
    rights : str
        What it must be allowed to do, in the provider's words.
    own : bool
        Whether the variables and the tool keep a token for exactly this server. If not, they are used only where the
        user named the server: a package may name any, and must not get a token by that.
    """

    provider: str
    server: str
    variables: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    page: str = ""
    rights: str = ""
    own: bool = False

    def find(self, settings: Settings, *, publishing: bool = False) -> Token | None:
        """Find the user's token; None where there is none, and for anonymous settings."""
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
        Whose credentials it takes; empty where it takes none of a provider.
    variable : str
        An environment variable that may hold them.
    origin : str or None
        Where the credentials to publish were found, never the credentials; empty where there are none; None where only
        the host can tell.
    """

    provider: str = ""
    variable: str = ""
    origin: str | None = None


class Host(ABC):
    """A place that serves files over the network.

    A host is made from one line of ``dataferry.toml``: ``dataurl`` or an item of ``mirrors``. Making it and asking it
    for sources does no input or output.

    Parameters
    ----------
    spec : str
        The line as declared, ``https://host/path/`` or ``scheme:rest``.

    Raises
    ------
    BadName
        If the line does not describe such a host.

    Attributes
    ----------
    locator : str
        The key of this host's locators in an entry of the registry, ``figshare``; empty where names are enough.
    schemes : tuple of str
        The schemes that it handles, as its distribution registers them in the entry-point group ``dataferry.hosts``.
    example : str
        A line of which `status` says whether the user has credentials for the provider; empty where there is none.
    series : str
        Hosts with the same text here divide the files and the versions of one data set among them, as the releases of
        a repository do; empty where a host has all files.
    """

    locator: str = ""
    schemes: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str] = ""
    series: str = ""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        return redact_url(self.spec)

    @classmethod
    def missing(cls, scheme: str) -> str:
        """What has to be installed before a scheme can be used, with the command; empty if nothing is missing.

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
        """The tokens that the host takes, the first one first; known from the declaration alone."""
        return ()

    def token(self, settings: Settings, *, publishing: bool = False) -> Token | None:
        """The user's token for this host.

        Parameters
        ----------
        settings : Settings
            The user's settings.
        publishing : bool
            Whether the user named the server, and not only a package.

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
            Whose credentials it takes, and where they were found.
        """
        if not self.credentials:
            return HostStatus()
        token, first = self.token(settings, publishing=True), self.credentials[0]
        return HostStatus(first.provider, next(iter(first.variables), ""), token.origin if token else "")

    @abstractmethod
    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The places of one file at this host, best first, from the declaration and the registry alone.

        Parameters
        ----------
        name : str
            The file's name.
        entry : Entry or None
            What the registry knows of it; None for a file that is not registered.

        Returns
        -------
        sequence of Source
            Usually one; none where the host has to be asked first, see `look_up`.
        """

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Ask the host where files are; for what `sources` cannot know, or what needs credentials.

        It is called for files that no other source gave, at most once for each run.

        Parameters
        ----------
        wanted : mapping of str to Entry or None
            The files, with what the registry knows of them.
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to sequence of Source
            What was found; a file may be missing.

        Raises
        ------
        TransferError
            If the host could not be asked.
        """
        return {}

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """What the host has, by name.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to HostedFile
            All files that can be read there.

        Raises
        ------
        TransferError
            If the host could not be asked, or has no list of its files.
        """
        raise TransferError(self.redacted, "this kind of host has no list of its files", kind="list", final=True)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What takes files there. Making it does no input or output.

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
            It is used by one run at a time.

        Raises
        ------
        PublishError
            If dataferry cannot publish to this kind of host, or not from here.
        """
        raise PublishError(self.redacted, "dataferry can read from this kind of host, but not publish to it")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host takes; None where it sets no limit. What it has already counts, see `Publisher.occupied`.

    Parameters
    ----------
    file_bytes : int, optional
        The most in one file.
    total_bytes : int, optional
        The most in all files of one host.
    files : int, optional
        The most files.
    empty : bool
        Whether a file without any bytes can be kept.
    """

    file_bytes: int | None = None
    total_bytes: int | None = None
    files: int | None = None
    empty: bool = True


@dataclass(frozen=True, slots=True)
class HostedFile:
    """What a host reports about a file that it has.

    Parameters
    ----------
    size : int or None
        Its bytes.
    sha256, md5 : str or None
        Digests that the host reports, in lower case; None where it does not.
    locators : mapping of str to (str or int)
        What the registry has to keep for it.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    locators: Locators = field(default_factory=dict)

    def matches(self, upload: Upload) -> bool | None:
        """Whether these are exactly the bytes of a file here; None where the host reports no digest.

        Parameters
        ----------
        upload : Upload
            The file here.

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
    """A file on its way to a host.

    Parameters
    ----------
    name : str
        Its name.
    path : Path
        Where it lies here; it is not written to.
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
    """Takes files to one host.

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
        What the host takes.
    parallel : int
        How many uploads at the same time are polite.
    tells_digests : bool
        Whether `hosted` reports a digest of what was uploaded. Where it does not, this machine notes what it has
        proven.
    versioned : bool
        Whether a name may get other bytes and its locator keeps finding the old ones; known after `check_rights`.
    repairs : bool
        Whether `discard` works.
    superseded : mapping of str to HostedFile
        What the host has under names for which a new version is wanted; set before `begin`.
    registered : sequence of str
        The hosts that the registry declares. A line that asks for something new, ``figshare:new``, means what it made
        the last time, if that is among them.
    notify : callable
        Takes a line for the author, on what the host is waited for; by default it goes to the log.
    """

    limits: Limits = Limits()
    parallel: int = 4
    tells_digests: bool = True
    versioned: bool = False
    repairs: bool = False

    def __init__(self, host: Host, settings: Settings, about: Mapping[str, Any]) -> None:
        self.host = host
        self.settings = settings
        self.about = about
        self.superseded: Mapping[str, HostedFile] = {}
        self.registered: Sequence[str] = ()
        self.notify: Callable[[str], object] = logging.getLogger("dataferry").info

    @property
    def declared(self) -> str:
        """The line that ``dataferry.toml`` holds for readers. It may differ from the one that was published to."""
        return self.host.spec

    @abstractmethod
    def check_rights(self) -> str:
        """Find the credentials and ask the host whether they are enough, without changing anything.

        Returns
        -------
        str
            Who publishes, and where the token was found; never the token.

        Raises
        ------
        AccessDenied
            If there is no token or it is too weak; the message says which rights it needs and where to make one.
        PublishError
            If the host cannot be published to.
        """

    @abstractmethod
    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """What the host has under the names that are to be published, visible or not yet.

        Parameters
        ----------
        uploads : sequence of Upload
            The files.

        Returns
        -------
        mapping of str to HostedFile
            Only files that are complete at the host.

        Raises
        ------
        PublishError
            If the host could not be asked.
        """

    def problem(self, upload: Upload) -> str:
        """Why the host cannot take a file, beyond ``limits``; pure.

        Parameters
        ----------
        upload : Upload
            The file.

        Returns
        -------
        str
            The reason and what to do; empty where nothing is wrong.
        """
        return ""

    def occupied(self) -> Mapping[str, int]:
        """What counts against ``limits`` already, whoever put it there; asked after `hosted`, and only for such limits.

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

    def discard(self, names: Sequence[str]) -> None:
        """Take away damaged copies of registered files, before `begin` and `upload` bring the right bytes.

        Parameters
        ----------
        names : sequence of str
            Files of which the host has other bytes than the registered ones, which are the ones to be published.

        Raises
        ------
        PublishError
            If the host keeps what it has.
        """
        raise PublishError(self.host.redacted, "a published file cannot be replaced there")

    def begin(self, uploads: Sequence[Upload], notes: Notes) -> None:  # noqa: B027
        """Prepare for uploads: a draft, a release, a clone. Called only if some file has to go.

        Parameters
        ----------
        uploads : sequence of Upload
            The files that have to go.
        notes : mapping
            What an earlier run noted for this host, kept on disk at every change; values fit JSON.

        Raises
        ------
        PublishError
            If that fails.
        """

    @abstractmethod
    def upload(self, upload: Upload, notes: Notes, moved: Moved) -> Locators:
        """Take one file there; resumes what the notes or the host know. Called from several threads.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            What was noted for this file and these bytes, kept on disk at every change; values fit JSON.
        moved : callable
            Called with the number of bytes that went, as they go; negative where they have to go again.

        Returns
        -------
        mapping of str to (str or int)
            The file's locators, where they are known already.

        Raises
        ------
        Conflict
            If the host has other bytes under the name, perhaps since a moment ago.
        PublishError
            If it did not arrive.
        """

    def finish(self, uploads: Sequence[Upload], notes: Notes) -> Mapping[str, Locators]:
        """Make what was uploaded public, once all of it is there. Called also if nothing had to go this time.

        If a single file did not arrive it is not called. What everybody can read even so is proven and registered; the
        rest waits for the next run.

        Parameters
        ----------
        uploads : sequence of Upload
            All files that this host is to have, uploaded now or before.
        notes : mapping
            As for `begin`.

        Returns
        -------
        mapping of str to mapping of str to (str or int)
            Name -> locators that changed by it.

        Raises
        ------
        PublishError
            If that fails.
        """
        return {}

    def seconds_until_served(self) -> float:
        """How long the host may need after `finish` until everybody sees the files; the fetch-back waits that long."""
        return 0.0

    def entry_locators(self, entry: Entry) -> Locators:
        """The part of an entry's locators that is this host's."""
        key = self.host.locator
        return {key: entry.locators[key]} if key and key in entry.locators else {}


@contextmanager
def guarded(place: str) -> Iterator[None]:
    """Call a host: an exception that is no `DataferryError` becomes a `TransferError` that names the host."""
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
    """What a host lists, checked as what an author writes: only what a registry can hold.

    Parameters
    ----------
    place : str
        The host, as it may be printed.
    files : mapping of str to HostedFile
        What `Host.hosted` gave.

    Returns
    -------
    files : dict of str to HostedFile
        What is left.
    skipped : list of str
        What was left out, each with the reason.
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
        return f"the size {file.size!r}"
    for kind, form in _DIGEST.items():
        digest = getattr(file, kind)
        if digest is not None and (not isinstance(digest, str) or not form(digest.lower())):
            return f"the {kind} {digest!r}"
    for key, value in file.locators.items():
        legal = type(value) is int or (isinstance(value, str) and 0 < len(value) <= _LONGEST_LOCATOR)
        if not legal or key in {"", "sha256", "size"} or not f"{key}{value}".isprintable():
            return f"the id {value!r} ({key})"
    return ""
