"""Files of a site on GitHub Pages: ``github-pages:owner/repo@branch``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from ...download.source import Source
from ...errors import BadName
from ...registry.names import check_name, check_url, quoted_name
from ..base import Credential, Host
from ..github import github_credentials, is_ref, is_repository

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["GitHubPagesHost"]

_OPTIONS = ("folder", "git", "path", "raw", "url")


class GitHubPagesHost(Host):
    """The files of a branch, as GitHub Pages serves them, and as they lie in the repository.

    Parameters
    ----------
    spec : str
        ``github-pages:owner/repo@branch``; without a branch it is ``gh-pages``, and for ``owner/owner.github.io`` the
        default branch. Behind it may stand, after a ``?`` and with ``&`` between: ``url=https://data.example.org/``
        for a custom domain, ``path=v1`` for files below that path, ``folder=docs`` where Pages serves that folder of
        the branch, and for servers other than github.com ``git=`` (URL of the repository) and ``raw=`` (base URL of
        the branch's files).

    Raises
    ------
    BadName
        If it is no such line.
    """

    schemes = ("github-pages",)

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, _, query = spec.partition(":")[2].partition("?")
        self.repository, _, self.branch = rest.partition("@")
        owner, _, repo = self.repository.partition("/")
        if not is_repository(self.repository):
            raise self._bad(f"{self.repository!r} is not an owner and a repository, as in myorg/mypkg-data")
        if "@" in rest and not is_ref(self.branch):
            raise self._bad(f"{self.branch!r} is not a branch")
        options: dict[str, str] = {}
        for item in filter(None, query.split("&")):
            key, _, value = item.partition("=")
            if key not in _OPTIONS:
                raise self._bad(f"{key!r} is not known (there are: {', '.join(_OPTIONS)})")
            options[key] = value
        at_root = repo.lower() == f"{owner}.github.io".lower()
        self.branch = self.branch or ("" if at_root else "gh-pages")
        self.folder, self.path = (self._below(options.get(key, "")) for key in ("folder", "path"))
        self.git = options.get("git") or f"https://github.com/{self.repository}.git"
        own = "url" not in options and "git" in options
        if own:
            raise self._bad("with git= it also says url=, the site's URL")
        site = options.get("url") or f"https://{owner.lower()}.github.io/" + ("" if at_root else f"{repo}/")
        raw = options.get("raw", "")
        if not raw and "git" not in options:
            ref = f"refs/heads/{quote(self.branch, safe='/')}" if self.branch else "HEAD"
            raw = f"https://raw.githubusercontent.com/{self.repository}/{ref}/"
        self.site = check_url(site, "the site's URL") + quoted_name(self.path)
        self.raw = check_url(raw, "raw") + quoted_name(self.folder + self.path) if raw else ""
        for url in (self.git, self.site, self.raw):
            if urlsplit(url).username is not None and urlsplit(url).scheme in {"http", "https"}:
                raise self._bad("everybody reads this line; credentials belong into the environment or config.toml")

    def _bad(self, why: str) -> BadName:
        return BadName(f"{self.redacted}: {why}")

    def _below(self, path: str) -> str:
        path = unquote(path).strip("/")
        return check_name(path) + "/" if path else ""

    @property
    def redacted(self) -> str:
        """The host as it may be printed."""
        return self.spec.partition("?")[0]

    @classmethod
    def missing(cls, scheme: str) -> str:
        """The program that publishes."""
        return "" if shutil.which("git") else "git, to publish: apt install git, or conda install git"

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The user's token for the server of the repository; without one git's own credential helpers decide."""
        parts = urlsplit(self.git)
        web = parts.scheme in {"http", "https"}
        return github_credentials(f"{parts.scheme}://{parts.netloc}") if web else ()

    @property
    def prefix(self) -> str:
        """Where the files lie in the repository."""
        return self.folder + self.path

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """The site, then the repository."""
        below = quoted_name(name)
        found = [Source(self.site + below, self.redacted)]
        return [*found, Source(self.raw + below, self.redacted)] if self.raw else found

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """The files that the site's catalog lists; without one, those of the branch.

        Parameters
        ----------
        settings : Settings
            The user's settings.

        Returns
        -------
        mapping of str to HostedFile
            With sizes and sha256 from a catalog; names alone from the branch.

        Raises
        ------
        TransferError
            If neither can be had.
        """
        from .reading import hosted

        return hosted(self, settings)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What commits files and pushes them."""
        from .publisher import GitHubPagesPublisher

        return GitHubPagesPublisher(self, settings, about)
