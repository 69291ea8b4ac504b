"""What GitHub knows: users, repositories, releases, assets."""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from dataclasses import dataclass, field


@dataclass
class User:
    """Who a token belongs to, and what the token may."""

    login: str
    push: frozenset[str] = frozenset()
    #: None for a token without scopes: a fine-grained one, or that of an app.
    scopes: tuple[str, ...] | None = None
    #: What a fine-grained token may with the contents of the repositories that it sees.
    contents: str = "write"
    sees: frozenset[str] = frozenset()
    app: bool = False


@dataclass
class Asset:
    id: int
    name: str
    label: str | None
    uploader: str
    created: float
    state: str = "starter"
    data: bytes = b""
    digest: str | None = None


@dataclass
class Release:
    id: int
    tag: str
    name: str
    body: str
    author: str
    created: float
    draft: bool = False
    latest: bool = False
    immutable: bool = False
    published: float | None = None
    assets: dict[str, Asset] = field(default_factory=dict)


@dataclass
class Repository:
    owner: str
    name: str
    private: bool = False
    archived: bool = False
    empty: bool = False
    immutable_releases: bool = False
    releases: dict[int, Release] = field(default_factory=dict)
    burned: set[str] = field(default_factory=set)

    def by_tag(self, tag: str) -> Release | None:
        return next((r for r in self.releases.values() if r.tag == tag and not r.draft), None)


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, *errors: dict[str, str], **headers: str) -> None:
        super().__init__(message)
        self.status, self.errors, self.headers = status, errors, headers


def kept_name(name: str) -> str:
    """How GitHub writes the name of an asset."""
    value = "".join(c for c in unicodedata.normalize("NFKD", name) if c.isascii())
    value = f"default{value}" if value.startswith(".") else value
    value = re.sub(r"[^A-Za-z0-9_+@-]+", ".", value)
    value = value.strip(".")
    return f"default.{value}" if name != value and "." not in value else value


def signature(number: int, until: float) -> str:
    return hashlib.sha256(f"{number} {until}".encode()).hexdigest()[:16]


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
