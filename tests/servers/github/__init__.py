"""A stand-in for GitHub: the part of its interface for releases, and what it serves to everybody.

What it does was looked up in GitHub's documentation and in what users of it reported; requests and answers are held
against descriptions of the interface.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest

from ..described import Description, Exchange, descriptions
from ..stand_in import Server
from .routes import Handler
from .state import Asset, Release, Repository, User
from .storage import Storage


@dataclass
class Rule:
    """What happens with the next requests that match, ``METHOD /path``, in place of what would or before it."""

    pattern: str
    act: Callable[[Handler], bool]
    times: int = 1


class GitHub:
    """GitHub on loopback; a context manager. What is public may be changed while it runs.

    ``url`` is for ``?server=``; ``log`` has a line for each request, ``arrived`` the name of each upload that was
    not cut; ``violations`` must be empty at the end.
    """

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.repositories: dict[str, Repository] = {}
        self.rules: list[Rule] = []
        self.log: list[str] = []
        self.arrived: list[str] = []
        self.violations: list[str] = []
        self.most_assets = 1000
        self.most_bytes = 2**31
        self.digests = True
        self.skew = 0.0
        self.signature_seconds = 300.0
        self.limit_left: int | None = None
        self.limit_reset = 0.0
        self.lock = threading.RLock()
        self._number = 100
        self._descriptions: list[Description] = list(
            descriptions("github.yaml", "github/releases.openapi.json", gaps=_fill_gaps)
        )
        self._servers = [_Server(Handler, self), _Server(Storage, self)]
        self.url = self._servers[0].url
        self.storage = self._servers[1].url

    def __enter__(self) -> Self:
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self._servers:
            server.stop()

    def repository(self, full: str = "ann/data", **options: Any) -> Repository:
        owner, _, name = full.partition("/")
        made = self.repositories[full.lower()] = Repository(owner, name, **options)
        return made

    def user(self, token: str, login: str = "ann", push: tuple[str, ...] = ("ann/data",), **options: Any) -> User:
        made = self.users[token] = User(login, frozenset(push), **options)
        return made

    def spec(self, tag: str = "v1", full: str = "ann/data", **more: object) -> str:
        return f"github-release:{full}@{tag}?server={self.url}" + "".join(f"&{k}={v}" for k, v in more.items())

    def when(self, pattern: str, act: Callable[[Handler], bool], times: int = 1) -> None:
        self.rules.append(Rule(pattern, act, times))

    def count(self, pattern: str) -> int:
        return sum(re.match(pattern, line) is not None for line in self.log)

    def now(self) -> float:
        return time.time() + self.skew

    def number(self) -> int:
        with self.lock:
            self._number += 1
            return self._number

    def put(
        self, tag: str, name: str, data: bytes, full: str = "ann/data", *, draft: bool = False, state: str = "uploaded"
    ) -> Asset:
        """Have an asset, as if somebody had uploaded it."""
        repo = self.repositories[full.lower()]
        release = next((r for r in repo.releases.values() if r.tag == tag and r.draft == draft), None)
        if release is None:
            release = Release(self.number(), tag, tag, "", "bob", self.now(), draft)
            release.published = None if draft else self.now()
            release.latest = not draft
            repo.releases[release.id] = release
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}" if self.digests and state == "uploaded" else None
        asset = Asset(self.number(), name, "", "bob", self.now(), state, data, digest)
        release.assets[name.lower()] = asset
        return asset

    def check(self, exchange: Exchange) -> None:
        for description in self._descriptions:
            self.violations += description.violations(exchange)


def _fill_gaps(told: dict[str, Any]) -> None:
    # an upload that was cut leaves an asset of this state, as the text of the same description says
    told["components"]["schemas"]["release-asset"]["properties"]["state"]["enum"].append("starter")


class _Server(Server):
    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):  # clients that go away are what the tests are about
            self.stand_in.violations.append("".join(traceback.format_exception(error)))


@pytest.fixture
def github(need: Any) -> Iterator[GitHub]:
    """GitHub with the public repository ann/data, and the token "ghp_ann" of its owner."""
    need.module("openapi_core")
    with GitHub() as github:
        github.repository("ann/data")
        github.user("ghp_ann", scopes=("repo",))
        yield github
    assert not github.violations, "\n".join(github.violations)
