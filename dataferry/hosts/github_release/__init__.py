"""Files that are the assets of a release on GitHub: ``github-release:owner/repo@tag``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from ...download.source import Part, Source
from ...errors import BadName
from ..base import Credential, Host
from ..github import github_credentials, is_ref, is_repository
from .asset_names import WHOLE_BYTES, pieces

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile, Publisher

__all__ = ["GitHubReleaseHost"]

LATEST = "latest"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class GitHubReleaseHost(Host):
    """The assets of one release.

    Parameters
    ----------
    spec : str
        ``github-release:owner/repo@tag``, or ``@latest`` for whatever release is the latest one. Behind it may stand
        ``?server=https://github.example.org`` for GitHub Enterprise, and ``part=BYTES`` where files are divided into
        smaller parts than usual.

    Raises
    ------
    BadName
        If it is no such line.
    """

    locator = "github-release"
    schemes = ("github-release",)
    example = "github-release:owner/repo@v1"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, _, query = spec.partition(":")[2].partition("?")
        repository, _, tag = rest.partition("@")
        if not is_repository(repository):
            raise _bad(spec, f"{repository!r} is not an owner and a repository, as in myorg/mypkg-data")
        if not is_ref(tag):
            raise _bad(spec, f"{tag!r} is not a tag" if tag else "it names no tag, as in @data-v1, or @latest")
        self.repository, self.tag = repository, tag
        self.server, self.part = "https://github.com", None
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key == "server":
                self.server = _server(spec, value)
            elif key == "part":
                self.part = _part(spec, value)
            else:
                raise _bad(spec, f"{key!r} is not known (there are: part, server)")

    @property
    def redacted(self) -> str:
        """The host as it may be printed; nothing in it is secret."""
        return self.spec

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """A token for the repository."""
        return github_credentials(self.server)

    @property
    def series(self) -> str:  # type: ignore[override]
        """The releases of one repository hold the versions of its data."""
        return f"github-release:{self.server}/{self.repository.lower()}"

    def tag_of(self, entry: Entry | None) -> str:
        """The release that holds a file.

        Parameters
        ----------
        entry : Entry or None
            What the registry knows of it; its locator names a further release of the same data.

        Returns
        -------
        str
            A tag, or ``"latest"``.
        """
        further = str(entry.locators.get(self.locator, "")) if entry else ""
        return further if is_further(further, self.tag) else self.tag

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL, or those of its parts for a file that is larger than an asset may be."""
        tag = self.tag_of(entry)
        way = "latest/download" if tag == LATEST else f"download/{quote(tag, safe='')}"
        base = f"{self.server}/{self.repository}/releases/{way}/"
        assets = pieces(name, entry.size if entry else None, self.part)
        parts = [Part(base + quote(asset, safe=""), size) for asset, size in assets]
        return [Source(parts[0].url, self.redacted, parts=tuple(parts) if len(parts) > 1 else ())]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Ask the API with the user's token: for the files of private repositories."""
        from .reading import look_up

        return look_up(self, wanted, settings)

    def hosted(self, settings: Settings) -> Mapping[str, HostedFile]:
        """All assets of the release and of the further releases of the same data."""
        from .reading import hosted

        return hosted(self, settings)

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        """What makes releases and uploads assets."""
        from .publishing import GitHubReleasePublisher

        return GitHubReleasePublisher(self, settings, about)


def further_tag(tag: str, number: int) -> str:
    """The tag of a further release, for what the first one does not hold: ``data-v1-more2``."""
    return tag if number == 1 else f"{tag}-more{number}"


def is_further(further: str, tag: str) -> bool:
    """Whether a tag is that of a further release of another tag's data."""
    return tag != LATEST and re.fullmatch(re.escape(tag) + r"-more[1-9][0-9]{0,3}", further) is not None


def _bad(spec: str, why: str) -> BadName:
    redacted = re.sub(r"//[^/@]*@", "//", spec)
    return BadName(f"{redacted!r} is no release on GitHub: {why}; it reads github-release:owner/repo@tag")


def _server(spec: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _bad(spec, "server= is not a URL") from None
    plain = parts.scheme == "http" and host in _LOOPBACK
    if not host or not (parts.scheme == "https" or plain) or parts.username is not None or parts.query:
        raise _bad(spec, "server= is an https URL without user, password and query")
    return value.rstrip("/")


def _part(spec: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value) <= WHOLE_BYTES:
        raise _bad(spec, f"part= is a number of bytes from 1 to {WHOLE_BYTES}")
    return int(value)
