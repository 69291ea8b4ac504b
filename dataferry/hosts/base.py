"""What a host is: it turns a name into the URLs that should answer with that file's bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..download.source import Part, Source
from ..errors import PublishError
from ..registry.names import redact_url

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.registry import Entry
    from .publisher import HostedFile, Publisher

__all__ = ["Host", "Part", "Source"]


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
    def redacted(self) -> str:
        """The host as it may be printed."""
        return redact_url(self.spec)

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
        from ..errors import TransferError

        raise TransferError(self.redacted, "this kind of host gives no list of its files", kind="list", final=True)

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
        raise PublishError(self.redacted, "files can be read from such a host, and not published to it by dataferry")
