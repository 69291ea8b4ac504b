"""What a host is: it turns a name into the URLs that should answer with that file's bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..names import shown_url

if TYPE_CHECKING:
    from ..registry import Entry

__all__ = ["Host", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """One URL that should answer with one file's bytes.

    Parameters
    ----------
    url : str
        Quoted and ready to send. It may hold credentials or a signature: print `shown` instead.
    host : str
        The host as it was declared, without credentials.
    headers : mapping of str to str
        Headers that this request needs beside the usual ones.
    """

    url: str
    host: str
    headers: Mapping[str, str] = field(default_factory=dict)

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
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def shown(self) -> str:
        """The host as it may be printed."""
        return shown_url(self.spec)

    @abstractmethod
    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The URLs of one file at this host, best first.

        Parameters
        ----------
        name : str
            The file's name.
        entry : Entry or None
            What the registry knows of it; None for a file that is not registered.

        Returns
        -------
        sequence of Source
            Usually one.
        """
