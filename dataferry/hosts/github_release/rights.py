"""Who publishes to a repository, and whether the token is enough; nothing is changed to find out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import AccessDenied, HostRefused, PublishError
from .api import Api

if TYPE_CHECKING:
    from ...config.credentials import Token
    from . import GitHubReleaseHost

__all__ = ["check", "no_token", "too_weak"]


def check(host: GitHubReleaseHost, api: Api, token: Token) -> str:
    """Ask GitHub whether a token may publish releases.

    Parameters
    ----------
    host : GitHubReleaseHost
        The host.
    api : Api
        The API, with the token.
    token : Token
        The token.

    Returns
    -------
    str
        Who publishes.

    Raises
    ------
    AccessDenied
        If the token is not good, or too weak.
    PublishError
        If the repository takes no releases.
    """
    reply = api.call("GET", api.repository, accept={401, 403, 404})
    if reply.status == 401:
        raise AccessDenied(host.redacted, f"GitHub does not know the token of {token.origin}", how_to(host))
    if reply.status in {403, 404}:
        reason = f"the token of {token.origin} sees no repository {host.repository}"
        raise AccessDenied(host.redacted, reason, how_to(host))
    told = reply.json()
    _check_repository(host, told)
    _check_commits(host, api)
    # only classic tokens have scopes; `permissions` tells the role of the user, not what the token may
    scopes = reply.headers.get("X-OAuth-Scopes")
    if scopes is not None:
        _check_classic(host, token, told, {scope.strip() for scope in scopes.split(",")})
    else:
        _check_by_asking(host, api, token)
    user = api.call("GET", "user", accept={401, 403, 404})
    who = user.json().get("login", "") if user.status == 200 else ""
    return f"{who or 'an app'}, with the token of {token.origin}"


def no_token(host: GitHubReleaseHost) -> AccessDenied:
    """The error where there is no token."""
    return AccessDenied(host.redacted, "there is no token for it", how_to(host))


def too_weak(host: GitHubReleaseHost, token: Token | None, said: str) -> AccessDenied:
    """The error where GitHub refuses the token."""
    origin = token.origin if token else "nobody"
    return AccessDenied(host.redacted, f"the token of {origin} may not publish releases there ({said})", how_to(host))


def how_to(host: GitHubReleaseHost) -> str:
    """Which rights a token needs, where to make one and where to put it."""
    name = urlsplit(host.server).hostname
    ours = name == "github.com"
    return (
        f"A fine-grained token for {host.repository} with the permission Contents: read and write is enough; make one "
        f"at {host.server}/settings/personal-access-tokens/new. A classic token needs the scope public_repo. Put it "
        f"into {'GH_TOKEN' if ours else 'GH_ENTERPRISE_TOKEN'} or `keyring set dataferry {name}`, or run `gh auth "
        f"login{'' if ours else f' --hostname {name}'}`; a workflow of GitHub Actions has GITHUB_TOKEN and needs "
        "`permissions: contents: write`."
    )


def _check_repository(host: GitHubReleaseHost, told: Mapping[str, Any]) -> None:
    full = told["full_name"]
    if full.lower() != host.repository.lower():
        raise PublishError(
            host.redacted, f"the repository is called {full} now", f"Use github-release:{full}@{host.tag}"
        )
    if told.get("archived"):
        raise PublishError(host.redacted, "the repository is archived and takes no releases")
    if told.get("private"):
        reason = "the repository is private, so that users would not get the files"
        remedy = "Make it public; or upload with `gh release upload`, and register with `dataferry add --from`"
        raise PublishError(host.redacted, reason, remedy)


def _check_classic(host: GitHubReleaseHost, token: Token, told: Mapping[str, Any], scopes: set[str]) -> None:
    if not told.get("permissions", {}).get("push"):
        raise too_weak(host, token, "its user has no write access to the repository")
    if not scopes & {"repo", "public_repo"}:
        raise too_weak(host, token, f"its scopes are: {', '.join(sorted(scopes)) or 'none'}")


def _check_by_asking(host: GitHubReleaseHost, api: Api, token: Token) -> None:
    # notes are computed and not kept, and it takes the same right as a release
    path = f"{api.repository}/releases/generate-notes"
    try:
        api.call("POST", path, json={"tag_name": "dataferry-asks-for-rights"}, accept={422}, again=True)
    except HostRefused as error:
        if error.status in {403, 404}:
            raise too_weak(host, token, error.said) from error
        raise


def _check_commits(host: GitHubReleaseHost, api: Api) -> None:
    reply = api.call("GET", f"{api.repository}/commits", query={"per_page": 1}, accept={403, 404, 409})
    if reply.status == 409:
        reason = "the repository is empty, and a tag needs a commit"
        raise PublishError(host.redacted, reason, "Push a first commit, a README for example")
