"""After a push: the time until the site serves what was pushed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...download.backoff import tries
from ...errors import PublishError, TransferError
from ...registry.checksum_lists import CATALOG, Listed, read_catalog
from ..api_client import ApiClient

if TYPE_CHECKING:
    from ...config.settings import Settings
    from . import GitHubPagesHost

__all__ = ["wait_until_served"]

#: Seconds that a deployment of Pages may take.
SERVED_WITHIN = 600.0


def wait_until_served(host: GitHubPagesHost, settings: Settings, files: Mapping[str, Listed]) -> None:
    """Wait until the site's own catalog lists files: then this build of the site is the one that is served.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    settings : Settings
        The user's settings; the site is asked as by a stranger.
    files : mapping of str to Listed
        The files.

    Raises
    ------
    PublishError
        If it takes longer than a deployment may.
    """
    with ApiClient(settings.as_anonymous(), host.site) as service:
        for _ in tries(SERVED_WITHIN, 0.2):
            try:
                # another query each time: caches keep an answer for minutes
                told = service.call("GET", CATALOG, query={"at": time.time_ns()}).body
                if files.items() <= read_catalog(told).items():
                    return
                reason = "it still serves an older state"
            except ValueError:
                reason = f"it serves something else as {CATALOG}"
            except TransferError as error:
                reason = f"it does not serve {CATALOG}: {error.reason}"
    branch = f"the branch {host.branch}" if host.branch else "the default branch"
    remedy = f"in the repository's settings, Pages must publish {branch}; then run this again: what was pushed stays"
    raise PublishError(host.site, f"pushed, but after {SERVED_WITHIN:.0f} s {reason}", remedy)
