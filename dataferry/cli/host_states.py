"""What the kinds of hosts lack on this machine, and where the user's tokens for them are; no host is asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import DataferryError

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..hosts.base import Host

__all__ = ["PROVIDERS", "by_reason", "lacking", "login", "logins"]

#: Providers that take a token: a line of theirs, and the variable for it.
PROVIDERS: Mapping[str, tuple[str, str]] = {
    "GitHub": ("github-release:owner/repo@v1", "GH_TOKEN"),
    "Figshare": ("figshare:1", "FIGSHARE_TOKEN"),
    "Zenodo": ("zenodo:1", "ZENODO_TOKEN"),
    "Zenodo's sandbox": ("zenodo-sandbox:1", "ZENODO_SANDBOX_TOKEN"),
    "Amazon S3": ("s3://bucket/", "AWS_ACCESS_KEY_ID"),
}


def lacking() -> dict[str, str]:
    """What has to be installed before a kind of host can be used.

    Returns
    -------
    dict of str to str
        Scheme -> what is missing and the command that brings it; only those that lack something.
    """
    from ..hosts import host_kind, host_names

    found = {}
    for scheme in host_names():
        try:
            kind = host_kind(scheme)
        except ImportError as error:  # of a third party
            found[scheme] = f"it cannot be loaded: {error}"
            continue
        if reason := _lacking(scheme, kind.__module__):
            found[scheme] = reason
    return found


def by_reason(lacks: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn what `lacking` gives around: reason -> schemes."""
    return {reason: [s for s, other in lacks.items() if other == reason] for reason in lacks.values()}


def _lacking(scheme: str, module: str) -> str:
    if module.startswith("dataferry.hosts.fsspec"):
        from ..hosts.fsspec import lacking as not_there

        library, package = not_there(scheme)
        more = f" {package}" if package else ""
        return f"{library}: pip install 'dataferry[fsspec]'{more}" if library else ""
    if scheme == "s3" and find_spec("boto3") is None:
        return "boto3, to publish and for private buckets: pip install 'dataferry[s3]'"
    if scheme == "github-pages" and shutil.which("git") is None:
        return "git, to publish: apt install git, or conda install git"
    return ""


def logins(settings: Settings) -> dict[str, str]:
    """Where the user's tokens for the providers are.

    Parameters
    ----------
    settings : Settings
        The user's settings.

    Returns
    -------
    dict of str to str
        Provider -> where its token was found, never the token itself; empty where there is none.
    """
    return {provider: login(spec, settings) or "" for provider, (spec, _) in PROVIDERS.items()}


def login(spec: str, settings: Settings) -> str | None:
    """Where the user's token to publish to a host is.

    Parameters
    ----------
    spec : str
        The line of the host.
    settings : Settings
        The user's settings.

    Returns
    -------
    str or None
        The place, empty if there is none; None for hosts of which that cannot be said without asking them.
    """
    from ..hosts import make_host

    scheme = spec.partition(":")[0].lower()
    if scheme == "s3":
        return _of_amazon()
    try:
        token = _token(scheme, make_host(spec), settings)
    except (DataferryError, KeyError):
        return None
    return token.origin if token is not None else ""


def _token(scheme: str, host: Host, settings: Settings) -> Token | None:
    if scheme == "github-release":
        from ..hosts.github import github_token
        from ..hosts.github_release import GitHubReleaseHost

        if isinstance(host, GitHubReleaseHost):
            return github_token(host.server, settings, publishing=True)
    if scheme == "github-pages":
        from ..hosts.github_pages import GitHubPagesHost
        from ..hosts.github_pages.access import token_of

        if isinstance(host, GitHubPagesHost):
            return token_of(host, settings, publishing=True)
    if scheme == "figshare":
        from ..hosts.figshare import FigshareHost, interface

        if isinstance(host, FigshareHost):
            return interface.token_for(host.declared, settings, publishing=True)
    if scheme in {"zenodo", "zenodo-sandbox", "inveniordm"}:
        from ..hosts.inveniordm import InvenioHost, records

        if isinstance(host, InvenioHost):
            return records.token_for(host, settings, publishing=True)
    raise KeyError(scheme)


def _of_amazon() -> str:
    """What boto3 would find first, without it: loading it is slow, and it may ask the network."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        if os.environ.get(variable):
            return f"the variable {variable}"
    for variable, path in (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AWS_CONFIG_FILE", "~/.aws/config"),
    ):
        place = os.path.expanduser(os.environ.get(variable) or path)
        if os.path.isfile(place):
            return place
    return ""
