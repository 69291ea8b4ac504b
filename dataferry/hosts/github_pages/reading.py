"""What a site has: from its catalog, or from its branch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ...errors import HostRefused, PublishError, TransferError
from ...registry.checksum_lists import CATALOG, SUMS, read_catalog
from ...registry.names import is_name
from ..api_client import ApiClient
from ..base import HostedFile
from .access import WorkFolder, open_branch, token_of

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import GitHubPagesHost

__all__ = ["hosted", "is_ours", "jekyll_drops", "made_by_jekyll"]

#: What a site has for itself.
_OURS = {".nojekyll", "CNAME", "_config.yml", "index.html", "404.html", CATALOG, SUMS}

_NO_PAGES = {"README.md", "LICENSE.md"}


def is_ours(name: str) -> bool:
    """Whether a name at the top means something to Pages or dataferry."""
    return name in _OURS


def jekyll_drops(name: str) -> bool:
    """Whether Jekyll leaves a file out of the site, as it does where there is no ``.nojekyll``."""
    return any(part[0] in "_.#" or part[-1] == "~" for part in name.split("/"))


def made_by_jekyll(host: GitHubPagesHost, files: Collection[str]) -> bool:
    """Whether somebody has pages there that Jekyll makes; a README alone is none.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    files : collection of str
        The paths of its branch.

    Returns
    -------
    bool
        If so, a ``.nojekyll`` would break them.
    """
    inside = [path.removeprefix(host.folder) for path in files if path.startswith(host.folder)]
    pages = [path for path in inside if path.endswith((".md", ".markdown")) and path not in _NO_PAGES]
    return ".nojekyll" not in inside and bool(pages or {"_config.yml", "_config.yaml"} & set(inside))


def hosted(host: GitHubPagesHost, settings: Settings) -> Mapping[str, HostedFile]:
    """See `GitHubPagesHost.held`."""
    with ApiClient(settings, host.site) as service:
        try:
            listed = read_catalog(service.call("GET", CATALOG).body)
            return {name: HostedFile(said.size, said.sha256) for name, said in listed.items()}
        except ValueError:
            pass
        except HostRefused as error:
            if error.status != 404:
                raise
    try:
        folder = WorkFolder(host.git)
        branch = open_branch(host, settings, token_of(host, settings, publishing=False), folder)
        branch.fetch()
        files = branch.files()
        plain = f"{host.folder}.nojekyll" in files
        names = [path.removeprefix(host.prefix) for path in files if path.startswith(host.prefix)]
        folder.drop()
    except (PublishError, OSError) as error:
        raise TransferError(
            host.redacted, f"the site has no {CATALOG}, and its branch cannot be read: {error}"
        ) from error
    return {
        name: HostedFile()
        for name in names
        if is_name(name) and not is_ours(name) and (plain or not jekyll_drops(name))
    }
