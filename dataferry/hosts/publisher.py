"""What takes files to a host. Nothing that only reads imports this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.registry import Entry
    from .base import Host

__all__ = ["HostedFile", "Limits", "Publisher", "Upload"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host takes; None where it says nothing. What it has already counts, see `Publisher.occupied`.

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
    """What a host says of a file that it has.

    Parameters
    ----------
    size : int or None
        Its bytes.
    sha256, md5 : str or None
        Digests that the host tells, in lower case; None where it does not.
    locators : mapping of str to (str or int)
        What the registry has to keep for it.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    locators: Mapping[str, str | int] = field(default_factory=dict)


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
    once. Then the run
    fetches every file back through ``Host.sources`` as a stranger. Killed anywhere, the next run begins again: what is
    already at the host must be found there or in the notes, and never be uploaded twice.

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
        Whether `hosted` tells a digest of what was uploaded. Where it does not, this machine notes what it has proven.
    versioned : bool
        Whether a name may get other bytes and its locator keeps finding the old ones; known after `check_rights`.
    superseded : mapping of str to HostedFile
        What the host has under names for which a new version is wanted; set before `begin`.
    registered : sequence of str
        The hosts that the registry declares. A line that asks for something new, ``figshare:new``, means what it made
        the last time, if that is among them.
    """

    limits: Limits = Limits()
    parallel: int = 4
    tells_digests: bool = True
    versioned: bool = False

    def __init__(self, host: Host, settings: Settings, about: Mapping[str, Any]) -> None:
        self.host = host
        self.settings = settings
        self.about = about
        self.superseded: Mapping[str, HostedFile] = {}
        self.registered: Sequence[str] = ()

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
        from ..errors import TransferError

        try:
            return {name: hosted.size or 0 for name, hosted in self.host.hosted(self.settings).items()}
        except TransferError:  # nothing is there yet, or nobody tells
            return {}

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """What else the plan says of this host: files are divided, spread, cannot be taken back; pure, after `hosted`.

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

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:  # noqa: B027
        """Make ready for uploads: a draft, a release, a clone. Called only if some file has to go.

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
    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Take one file there; resumes what the notes or the host know. Called from several threads.

        Parameters
        ----------
        upload : Upload
            The file.
        notes : mapping
            What was noted for this file and these bytes, kept on disk at every change; values fit JSON.
        moved : callable
            Is told the bytes that went, as they go; a negative number where they have to go again.

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

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Make what was uploaded public, once all of it is there. Called also if nothing had to go this time.

        If a single file did not arrive it is not called. What strangers can read even so is proven and registered; the
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
        """How long the host may need after `finish` until strangers see the files; the fetch-back waits that long."""
        return 0.0

    def entry_locators(self, entry: Entry) -> Mapping[str, str | int]:
        """The part of an entry's locators that is this host's."""
        key = self.host.locator
        return {key: entry.locators[key]} if key and key in entry.locators else {}
