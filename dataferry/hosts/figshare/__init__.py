"""Figshare: articles, their versions, and files that have a number each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...download.source import Source
from ..base import Credential, Host
from .declared import read_declaration

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["FigshareHost"]


class FigshareHost(Host):
    """An article at Figshare.

    Every file has a number of its own, which the registry keeps as its locator and which finds the same bytes for
    ever, whatever later versions of the article hold.

    Parameters
    ----------
    spec : str
        ``figshare:14763051``, ``figshare:14763051.v2``, ``figshare:<DOI>``; ``figshare:new`` to publish a new one. An
        installation other than figshare.com is given as ``?server=https://api.../v2&downloads=https://.../``.

    Raises
    ------
    BadName
        If it is no such line.
    """

    locator = "figshare"
    schemes = ("figshare",)
    example = "figshare:1"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.declared = read_declaration(spec)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A personal token."""
        server = urlsplit(self.declared.api)
        own = server.scheme == "https" and (server.hostname or "").endswith((".figshare.com", ".figsh.com"))
        page = "https://figshare.com/account/applications"
        return (Credential("Figshare", server.netloc, ("FIGSHARE_TOKEN",), page=page, own=own),)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The file's number as a download; none where the registry holds no number, see `look_up`."""
        number = entry.locators.get(self.locator) if entry is not None else None
        return [] if number is None or not _is_number(number) else self.downloads(number)

    def downloads(self, number: int | str, headers: Mapping[str, str] | None = None) -> list[Source]:
        """The places of the file with a number.

        Parameters
        ----------
        number : int or str
            The file's id.
        headers : mapping of str to str, optional
            What tells who asks, for private files; a download host that is not the interface's own does not see it.

        Returns
        -------
        list of Source
            The download host, then the interface, which answers also where a firewall keeps programs from the former.
        """
        bases = [self.declared.downloads + "files/"] if self.declared.downloads else []
        bases.append(self.declared.api + "file/download/")
        # a package may name any download host
        told = {base: dict(headers or {}) if self.declared.may_be_told(base) else {} for base in bases}
        return [Source(f"{base}{number}", self.redacted, login) for base, login in told.items()]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Find the files in the article's list; private ones with the user's token."""
        from .article import look_up

        return look_up(self, wanted, settings)

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All files of the article, or of the version that is pinned."""
        from .article import hosted

        return hosted(self, settings)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What uploads files to the article and publishes it."""
        from .publisher import FigsharePublisher

        return FigsharePublisher(self, settings, about)


def _is_number(number: object) -> bool:
    return str(number).isascii() and str(number).isdigit()
