"""What only the API can tell: the list of the files, and those of private repositories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...download.source import Part, Source
from ...errors import TransferError
from ..github import github_token
from .api import Api
from .asset_names import pieces
from .releases import Release, files_of, find_release, published_series

if TYPE_CHECKING:
    from ...config.settings import Settings
    from ...registry.registry import Entry
    from ..base import HostedFile
    from . import GitHubReleaseHost

__all__ = ["hosted", "look_up"]


def hosted(host: GitHubReleaseHost, settings: Settings) -> Mapping[str, HostedFile]:
    """As `Host.hosted`."""
    api = Api(host, settings, github_token(host.server, settings))
    files: dict[str, HostedFile] = {}
    try:
        for number, release in enumerate(published_series(api, host.tag)):
            files = {**files_of(release, host.part, further=number > 0), **files}
    except TransferError as error:
        if getattr(error, "status", None) == 404:
            raise _not_seen(host) from error
        raise
    return files


def look_up(
    host: GitHubReleaseHost, wanted: Mapping[str, Entry | None], settings: Settings
) -> Mapping[str, Sequence[Source]]:
    """As `Host.look_up`."""
    token = github_token(host.server, settings)
    if token is None:
        raise TransferError(
            host.redacted, f"its interface was not asked: {_for_private(host)}", kind="token", final=True
        )
    api = Api(host, settings, token)
    releases: dict[str, Release | None] = {}
    found: dict[str, Sequence[Source]] = {}
    headers = {**api.authorization, "Accept": "application/octet-stream"}
    for name, entry in wanted.items():
        tag = host.tag_of(entry)
        if tag not in releases:
            releases[tag] = find_release(api, tag)
        release = releases[tag]
        if release is None:
            continue
        assets = [release.asset(asset) for asset, _ in pieces(name, entry.size if entry else None, host.part)]
        there = [asset for asset in assets if asset is not None and asset.complete]
        other = entry is not None and len(there) == 1 and there[0].sha256 not in {None, entry.sha256}
        if len(there) < len(assets) or other:
            continue
        parts = tuple(Part(asset.url, asset.size) for asset in there) if len(there) > 1 else ()
        found[name] = [Source(there[0].url, host.redacted, headers, parts)]
    if all(release is None for release in releases.values()):
        raise _not_seen(host)
    return found


def _not_seen(host: GitHubReleaseHost) -> TransferError:
    reason = f"no published release {host.tag!r} of {host.repository} is seen; {_for_private(host)}"
    return TransferError(host.redacted, reason, kind="token", final=True)


def _for_private(host: GitHubReleaseHost) -> str:
    name = urlsplit(host.server).hostname
    where = "GH_TOKEN, or `gh auth login`"
    if name != "github.com":
        where = f"`keyring set dataferry {name}`, or GH_ENTERPRISE_TOKEN with GH_HOST={urlsplit(host.server).netloc}"
    return f"the readers of a private repository need a token ({where})"
