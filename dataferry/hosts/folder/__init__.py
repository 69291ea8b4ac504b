"""A folder of one's own that a web server publishes: a team's server, a supercomputer's web space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...download.source import Source
from ...errors import BadName, TransferError
from ...registry.names import check_url, quoted_name, redact_url
from ..base import Host

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["FolderHost"]

_OPTIONS = {"url", "lfs", "remote"}


class FolderHost(Host):
    """Files below a URL, and the folder that a web server publishes there.

    Parameters
    ----------
    spec : str
        ``folder:/srv/www/mypkg-data?url=https://host/mypkg-data/``; ``&lfs=1`` where the folder is the work tree of a
        git repository with git-lfs, ``&lfs=0`` where it is one and git is to be left alone, ``&remote=`` the remote
        that is pushed to, by default ``origin``.

    Raises
    ------
    BadName
        If it is not of this form.
    """

    schemes = ("folder",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.folder, _, query = spec.partition(":")[2].partition("?")
        options = {}
        for item in filter(None, query.split("&")):
            key, _, options[key] = item.partition("=")
        if not self.folder or not self.folder.startswith(("/", "~", "$")):
            raise BadName(
                f"{self.redacted} names no absolute folder; write folder:/path/of/the/folder?url=https://host/path/"
            )
        for key in options.keys() - _OPTIONS:
            raise BadName(f"{self.redacted}: unknown option {key!r}; there are {', '.join(sorted(_OPTIONS))}")
        if "url" not in options:
            raise BadName(
                f"{self.redacted} does not say at which URL the folder is published; add ?url=https://host/path/"
            )
        if options.get("lfs", "") not in {"", "0", "1"}:
            raise BadName(f"{self.redacted}: lfs is 1 or 0, not {options['lfs']!r}")
        self.url = check_url(options["url"], "the folder's URL")
        if "@" in self.url.partition("://")[2].partition("/")[0]:
            raise BadName(
                f"{self.redacted}: everybody reads the URL; user and password belong into config.toml or .netrc"
            )
        self.lfs = {"1": True, "0": False}.get(options.get("lfs", ""))
        self.remote = options.get("remote") or "origin"

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        return self.spec.partition("?")[0]

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL: that of the folder and the quoted name."""
        return [Source(self.url + quoted_name(name), redact_url(self.url))]

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """The files in the folder, where this machine has it; else what the catalog at the URL lists.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to HostedFile
            Sizes; sha256 where a stamp vouches for it, or where only the catalog is at hand.

        Raises
        ------
        TransferError
            If there is neither.
        """
        from ...config.folders import expand_folder, folder_problem
        from .contents import files_in

        path, problem = expand_folder(self.folder)
        if not (problem or folder_problem(path, settings.folder_timeout)):
            return files_in(path)
        return self._listed(settings, f"the folder is not on this machine ({problem or path})")

    def _listed(self, settings: Settings, why: str) -> Mapping[str, HostedFile]:
        from ...registry.checksum_lists import CATALOG, read_catalog
        from ..api_client import ApiClient
        from ..base import HostedFile

        with ApiClient(settings, self.url) as service:
            try:
                listed = read_catalog(service.call("GET", CATALOG).body)
            except ValueError as error:
                said = f"{why}, and {CATALOG} there cannot be read: {error}"
                raise TransferError(redact_url(self.url + CATALOG), said, kind="list", final=True) from None
        return {name: HostedFile(said.size, said.sha256) for name, said in listed.items()}

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What copies files into the folder.

        Parameters
        ----------
        settings : Settings
            The user's settings.
        about : mapping of str to object
            The ``[about]`` table.

        Returns
        -------
        Publisher
            For this machine only: the folder must be mounted here.

        Raises
        ------
        PublishError
            If this system has no file locks.
        """
        from ...errors import PublishError

        if os.name != "posix":
            raise PublishError(self.redacted, "folders are published to from POSIX systems only")
        from .publisher import FolderPublisher

        return FolderPublisher(self, settings, about)
