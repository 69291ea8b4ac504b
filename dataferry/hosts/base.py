"""What a host is: it turns a name into the URLs that should answer with that file's bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import PublishError
from ..names import shown_url

if TYPE_CHECKING:
    from ..registry import Entry
    from ..settings import Settings
    from .publisher import Held, Publisher

__all__ = ["Host", "Part", "Source"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file that a host keeps in several objects, because one may not be that large.

    Parameters
    ----------
    url : str
        The URL of this piece, quoted and ready to send.
    size : int
        Its bytes.
    """

    url: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """One place that should answer with one file's bytes.

    Parameters
    ----------
    url : str
        Quoted and ready to send. It may hold credentials or a signature: print ``shown`` instead.
    host : str
        The host as it was declared, without credentials.
    headers : mapping of str to str
        Headers that this request needs beside the usual ones.
    parts : tuple of Part
        Where the file is kept in pieces: all of them, in order; ``url`` is then that of the first.
    opener : callable, optional
        For hosts that do not speak HTTP: ``opener(start)`` opens the bytes from an offset as a binary file. ``url``
        only names the place then.
    """

    url: str
    host: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    opener: Callable[[int], BinaryIO] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):  # as a provider may answer
            raise TypeError(f"a URL is a text, and not {type(self.url).__name__}")

    @property
    def shown(self) -> str:
        """The URL as it may be printed."""
        return shown_url(self.url)


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
    """

    locator: str = ""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def shown(self) -> str:
        """The host as it may be printed."""
        return shown_url(self.spec)

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
        """Ask the host where files are; for what `sources` cannot know, or could not get as a stranger.

        It is called for files that no other way brought, at most once for each run.

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

    def held(self, settings: Settings) -> Mapping[str, Held]:
        """What the host has, by name.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to Held
            All files that can be read there.

        Raises
        ------
        TransferError
            If the host could not be asked, or has no list of its files.
        """
        from ..errors import TransferError

        raise TransferError(self.shown, "this kind of host gives no list of its files", kind="list", final=True)

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
        raise PublishError(self.shown, "files can be read from such a host, and not published to it by dataferry")
