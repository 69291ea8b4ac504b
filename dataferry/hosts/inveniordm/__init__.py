"""Zenodo, and any other server of InvenioRDM: records, their versions, and the files of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from ...download.source import Source
from ..base import Credential, Host
from .declared import Declared, read_address, read_zenodo

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["InvenioHost", "ZenodoHost", "ZenodoSandboxHost"]


class InvenioHost(Host):
    """A record at a server of InvenioRDM.

    Each version of a record has an id of its own, which the registry keeps as its files' locator: whatever later
    versions hold, it finds the same bytes for ever. One more id stands for all versions together; a line with it means
    the newest one, where the registry says no version.

    Parameters
    ----------
    spec : str
        ``inveniordm:https://host/abcde-12345``; ``inveniordm:https://host/new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line.

    Attributes
    ----------
    declared : Declared
        What the line says.
    variables : tuple of str
        Environment variables that may hold a token.
    """

    schemes: ClassVar[tuple[str, ...]] = ("inveniordm",)
    provider: ClassVar[str] = "InvenioRDM"
    variables: ClassVar[tuple[str, ...]] = ("INVENIORDM_TOKEN",)
    #: Whether the variables hold a token for this server and no other, so that a package cannot ask for it.
    own_token: ClassVar[bool] = False

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.declared = self._read(spec)
        # one key for each server: a package may have mirrors at two of them
        self.locator = self._locator()

    def _read(self, spec: str) -> Declared:
        return read_address(spec)

    def _locator(self) -> str:
        return f"inveniordm:{urlsplit(self.declared.server).netloc}"

    def line(self, record: str) -> str:
        """The declaration of a record at this server."""
        return f"inveniordm:{self.declared.server}{record}"

    @property
    def publishing_name(self) -> str:
        """Who publishes, where the author names nobody else."""
        return urlsplit(self.declared.server).hostname or ""

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A token; none goes over unencrypted HTTP, but for loopback."""
        server = urlsplit(self.declared.server)
        if server.scheme != "https" and server.hostname not in {"127.0.0.1", "::1", "localhost"}:
            return ()
        page = f"{self.declared.server}account/settings/applications/"
        return (Credential(self.provider, server.netloc, self.variables, page=page, own=self.own_token),)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The file in the version that the registry names, else in the declared record; none for a new one."""
        pinned = entry.locators.get(self.locator) if entry is not None else None
        record = str(pinned) if pinned else self.declared.record
        return [self.source(record, name)] if record else []

    def source(self, record: str, name: str, headers: Mapping[str, str] | None = None) -> Source:
        """The place of a file in a version of a record.

        Parameters
        ----------
        record : str
            The id of the version.
        name : str
            The file's name, which is its key in the record as well.
        headers : mapping of str to str, optional
            What tells who asks, for restricted files.

        Returns
        -------
        Source
            The address of its content.
        """
        path = f"api/records/{quote(record, safe='')}/files/{quote(name)}/content"
        return Source(self.declared.server + path, self.redacted, dict(headers or {}))

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Find the newest version where the line names all of them; restricted files with the user's token."""
        from .reading import look_up

        return look_up(self, wanted, settings)

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All files of the record: of its newest version, if the line names all of them."""
        from .reading import hosted

        return hosted(self, settings)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What uploads files to a version of the record and publishes it."""
        from .publisher import InvenioPublisher

        return InvenioPublisher(self, settings, about)


class ZenodoHost(InvenioHost):
    """A record at Zenodo.

    Parameters
    ----------
    spec : str
        ``zenodo:4924875`` or ``zenodo:10.5281/zenodo.4924875``; ``zenodo:new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind.
    """

    schemes = ("zenodo",)
    example = "zenodo:1"
    provider = "Zenodo"
    variables = ("ZENODO_TOKEN",)
    own_token = True
    #: The scheme, which is the key of the locators as well.
    scheme: ClassVar[str] = "zenodo"
    server: ClassVar[str] = "https://zenodo.org/"

    def _read(self, spec: str) -> Declared:
        return read_zenodo(spec, self.server)

    def _locator(self) -> str:
        return self.scheme

    def line(self, record: str) -> str:
        """The declaration of a record."""
        return f"{self.scheme}:{record}"

    @property
    def publishing_name(self) -> str:
        """Who publishes, where the author names nobody else."""
        return "Zenodo"


class ZenodoSandboxHost(ZenodoHost):
    """A record at Zenodo's sandbox, which is there to try things out and is emptied now and then.

    Parameters
    ----------
    spec : str
        ``zenodo-sandbox:`` and a number or a DOI; ``zenodo-sandbox:new`` to publish a new one.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind.
    """

    schemes = ("zenodo-sandbox",)
    example = "zenodo-sandbox:1"
    provider = "Zenodo's sandbox"
    variables = ("ZENODO_SANDBOX_TOKEN",)
    scheme = "zenodo-sandbox"
    server = "https://sandbox.zenodo.org/"
