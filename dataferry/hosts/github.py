"""What GitHub calls a repository and a tag, where its interface is, and the user's token for it."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from .base import Credential

_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?/(?!\.\.?\Z)[A-Za-z0-9._-]+(?<!\.git)").fullmatch
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\A[/.-]|[/.]\Z|/\.|\.lock(?:/|\Z)").search


def is_repository(text: str) -> bool:
    """Whether a text is an owner and a repository, ``myorg/mypkg-data``."""
    return _REPOSITORY(text) is not None


def is_ref(text: str) -> bool:
    """Whether a text can be the name of a tag or a branch."""
    return bool(text) and not _NO_REF(text)


def api_url(server: str) -> str:
    """Where the interface of a server is, github.com or GitHub Enterprise, with a slash at its end."""
    scheme, host = urlsplit(server)[:2]
    return f"{scheme}://api.{host}/" if _of_github(host) else f"{server}/api/v3/"


def github_credentials(server: str) -> tuple[Credential, ...]:
    """The tokens for a server, as ``gh`` looks for them, then those for the host of its interface.

    A line in somebody's package may name any server: to read from it, no token goes there that the user did not give
    for this very server.
    """
    name = urlsplit(server).netloc
    page = f"{server}/settings/personal-access-tokens/new"
    named = name in {os.environ.get("GH_HOST"), urlsplit(os.environ.get("GITHUB_SERVER_URL", "")).netloc}
    variables: tuple[str, ...] = ("GH_TOKEN", "GITHUB_TOKEN") if named or _of_github(name) else ()
    if not _of_github(name):
        variables = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", *variables)
    tool = ("gh", "auth", "token", "--hostname", name)
    own = named or _of_github(name)
    rights = "the permission Contents: read and write, or a classic one with the scope public_repo"
    first = Credential("GitHub", name, variables, tool, page, rights, own)
    api = urlsplit(api_url(server)).netloc
    return (first, Credential("GitHub", api)) if api != name else (first,)


def _of_github(name: str) -> bool:
    return name == "github.com" or name.endswith(".ghe.com")
