"""A release and its assets, as the API tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ...errors import HostRefused
from ..base import HostedFile
from . import LATEST, further_tag, is_further
from .api import Api
from .asset_names import base_of, file_name, pieces

__all__ = ["Asset", "Release", "files_of", "find_release", "find_series"]

_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})\Z")


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset.

    Parameters
    ----------
    id : int
        Its number.
    name : str
        Its name, as GitHub keeps it.
    url : str
        Its address in the API.
    size : int
        Its bytes.
    sha256 : str or None
        What GitHub computed; None for one that is older than that.
    complete : bool
        Whether all of it arrived. What was cut stays as an empty asset that nobody can download.
    begun : str
        When its upload began, in ISO 8601.
    """

    id: int
    name: str
    url: str
    size: int
    sha256: str | None
    complete: bool
    begun: str

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> Asset:
        """Make it from what the API says."""
        digest = _SHA256.match(told.get("digest") or "")
        return cls(
            told["id"],
            told["name"],
            told["url"],
            told["size"],
            digest[1].lower() if digest else None,
            told["state"] == "uploaded",
            told["created_at"],
        )


@dataclass
class Release:
    """One release.

    Parameters
    ----------
    id : int
        Its number.
    tag : str
        Its tag; that of a draft is made when it is published.
    draft, immutable : bool
        Whether strangers do not see it; whether it takes no more assets.
    upload_url : str
        Where assets go.
    page : str
        Where people see it.
    assets : dict of str to Asset
        By name in lower case: to GitHub names that differ in case only are the same.
    """

    id: int
    tag: str
    draft: bool
    immutable: bool
    upload_url: str
    page: str
    assets: dict[str, Asset] = field(default_factory=dict)

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> Release:
        """Make it, still without assets, from what the API says."""
        draft = bool(told["draft"])
        immutable = bool(told.get("immutable")) and not draft
        upload_url = told["upload_url"].partition("{")[0]
        return cls(told["id"], told["tag_name"], draft, immutable, upload_url, told["html_url"])

    def refresh(self, api: Api) -> None:
        """Ask which assets it has.

        Raises
        ------
        TransferError
            If GitHub could not be asked.
        """
        told = map(Asset.told, api.pages(f"{api.repository}/releases/{self.id}/assets"))
        self.assets = {asset.name.lower(): asset for asset in told}

    def asset(self, name: str) -> Asset | None:
        """The asset of exactly this name, complete or not."""
        found = self.assets.get(name.lower())
        return found if found is not None and found.name == name else None


def find_release(api: Api, tag: str) -> Release | None:
    """Find a published release with its assets.

    Parameters
    ----------
    api : Api
        The API.
    tag : str
        Its tag, or ``"latest"``.

    Returns
    -------
    Release or None
        None if there is none that this token sees.

    Raises
    ------
    TransferError
        If GitHub could not be asked.
    """
    path = "releases/latest" if tag == LATEST else f"releases/tags/{quote(tag, safe='')}"
    reply = api.call("GET", f"{api.repository}/{path}", accept={404})
    if reply.status == 404:
        return None
    release = Release.told(reply.json())
    release.refresh(api)
    return release


def find_series(api: Api, tag: str) -> list[Release]:
    """Find a release and the further releases of its data, published or drafts, with their assets.

    Parameters
    ----------
    api : Api
        The API, with a token that may publish.
    tag : str
        The tag of the first one.

    Returns
    -------
    list of Release
        One for each tag; of several drafts with one tag the oldest.

    Raises
    ------
    TransferError
        If GitHub could not be asked.
    """
    found: dict[str, Release] = {}
    for told in api.pages(f"{api.repository}/releases"):
        if told["tag_name"] == tag or is_further(told["tag_name"], tag):
            release = Release.told(told)
            known = found.get(release.tag)
            if known is None or (release.draft, release.id) < (known.draft, known.id):
                found[release.tag] = release
    if tag not in found or found[tag].draft:
        # the list may be some seconds behind
        published = api.call("GET", f"{api.repository}/releases/tags/{quote(tag, safe='')}", accept={404})
        if published.status != 404:
            found[tag] = Release.told(published.json())
    for release in found.values():
        release.refresh(api)
    return sorted(found.values(), key=lambda release: (len(release.tag), release.tag))


def published_series(api: Api, tag: str) -> Iterator[Release]:
    """A release and the further releases of its data, as strangers see them.

    Parameters
    ----------
    api : Api
        The API, with or without a token.
    tag : str
        The tag of the first one, or ``"latest"``.

    Yields
    ------
    Release
        Each with its assets.

    Raises
    ------
    TransferError
        If GitHub could not be asked, or there is no such release.
    """
    number, first = 1, tag
    while release := find_release(api, further_tag(first, number)):
        first = release.tag if number == 1 else first
        number += 1
        yield release
    if number == 1:
        raise HostRefused(f"{api.repository}/releases: {tag}", 404, "no such release is seen here")


def files_of(release: Release, part: int | None, further: bool) -> dict[str, HostedFile]:
    """The files that a release has.

    Parameters
    ----------
    release : Release
        With its assets.
    part : int or None
        The bytes of a part, where the declaration says so.
    further : bool
        Whether the registry has to name this release for each of them.

    Returns
    -------
    dict of str to HostedFile
        By name; assets that no name leads to, and files of which a part is missing, are left out.
    """
    locators: dict[str, str | int] = {"github-release": release.tag} if further else {}
    groups: dict[str, list[Asset]] = {}
    for asset in release.assets.values():
        if asset.complete:
            groups.setdefault(base_of(asset.name)[0], []).append(asset)
    files: dict[str, HostedFile] = {}
    for base, assets in groups.items():
        name = file_name(base)
        size = sum(asset.size for asset in assets)
        if name is not None and {(asset.name, asset.size) for asset in assets} == set(pieces(name, size, part)):
            digest = assets[0].sha256 if len(assets) == 1 else None
            files[name] = HostedFile(size, digest, locators=locators)
    return files
