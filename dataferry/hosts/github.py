"""What GitHub calls a repository and a tag, its API, and the user's token for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .base import Credential
from .deposit import MOST_PAGES, PAGE_BYTES, ArchiveApi, endless_list

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings

_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?/(?!\.\.?\Z)[A-Za-z0-9._-]+(?<!\.git)").fullmatch
_VERSION = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\A[/.-]|[/.]\Z|/\.|\.lock(?:/|\Z)").search


def is_repository(text: str) -> bool:
    """Whether a text is an owner and a repository, ``myorg/mypkg-data``."""
    return _REPOSITORY(text) is not None


def is_ref(text: str) -> bool:
    """Whether a text can be the name of a tag or a branch."""
    return bool(text) and not _NO_REF(text)


def _api_url(server: str) -> str:
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
    api = urlsplit(_api_url(server)).netloc
    return (first, Credential("GitHub", api)) if api != name else (first,)


def _of_github(name: str) -> bool:
    return name == "github.com" or name.endswith(".ghe.com")


class GitHubApi(ArchiveApi):
    """The API of one repository, in which one may create 80 things a minute; a few are left for others."""

    a_minute = 70
    counted = ("POST", "PATCH", "DELETE")

    def __init__(self, settings: Settings, server: str, repository: str, token: Token | None) -> None:
        self.repository = f"repos/{repository}"
        # github.com takes uploads at a host of their own, GitHub Enterprise at the one of its API
        uploads = f"uploads.{urlsplit(server).netloc}"
        super().__init__(settings, _api_url(server), token, headers=_VERSION, trusted=[uploads])

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, asked for in pages of 100."""
        reply = self.call("GET", path, query={"per_page": 100}, max_bytes=PAGE_BYTES)
        for _ in range(MOST_PAGES):
            yield from reply.json()
            found = _NEXT.search(reply.headers.get("link", ""))
            if not found:
                return
            reply = self.call("GET", found[1], max_bytes=PAGE_BYTES)
        raise endless_list(f"{self.base}{path}")
