"""A stand-in for GitHub: the part of its interface for releases, and what it serves to everybody.

What it does was looked up in GitHub's documentation and in what users of it reported; requests and answers are held
against descriptions of the interface.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from .described import Description, Exchange, descriptions

API, UPLOADS = "https://api.github.com", "https://uploads.github.com"
_REPO = r"/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)"


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


@dataclass
class Rule:
    """What happens with the next requests that match, ``METHOD /path``, in place of what would or before it."""

    pattern: str
    act: Callable[[_Handler], bool]
    times: int = 1


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, *errors: dict[str, str], **headers: str) -> None:
        super().__init__(message)
        self.status, self.errors, self.headers = status, errors, headers


class GitHub:
    """GitHub on loopback; a context manager. What is public may be changed while it runs.

    ``url`` is for ``?server=``; ``log`` has a line for each request; ``violations`` must be empty at the end.
    """

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.repositories: dict[str, Repository] = {}
        self.rules: list[Rule] = []
        self.log: list[str] = []
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
            descriptions("github.yaml", "github/releases.openapi.json", _fill_gaps)
        )
        self._servers = [_Server(self, storage=False), _Server(self, storage=True)]
        self.url = self._servers[0].url
        self.storage = self._servers[1].url

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def repository(self, full: str = "ann/data", **options: Any) -> Repository:
        owner, _, name = full.partition("/")
        made = self.repositories[full.lower()] = Repository(owner, name, **options)
        return made

    def user(self, token: str, login: str = "ann", push: tuple[str, ...] = ("ann/data",), **options: Any) -> User:
        made = self.users[token] = User(login, frozenset(push), **options)
        return made

    def spec(self, tag: str = "v1", full: str = "ann/data", **more: object) -> str:
        return f"github-release:{full}@{tag}?server={self.url}" + "".join(f"&{k}={v}" for k, v in more.items())

    def when(self, pattern: str, act: Callable[[_Handler], bool], times: int = 1) -> None:
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


def kept_name(name: str) -> str:
    """How GitHub writes the name of an asset."""
    value = "".join(c for c in unicodedata.normalize("NFKD", name) if c.isascii())
    value = f"default{value}" if value.startswith(".") else value
    value = re.sub(r"[^A-Za-z0-9_+@-]+", ".", value)
    value = value.strip(".")
    return f"default.{value}" if name != value and "." not in value else value


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, github: GitHub, *, storage: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Storage if storage else _Handler)
        self.github = github
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


class _Base(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.github.now() if timestamp is None else timestamp, usegmt=True)

    def reset(self) -> None:
        """Cut the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True


class _Handler(_Base):
    """The API, uploads, and the site itself."""

    def handle_any(self) -> None:
        github = self.server.github
        self.github = github
        self.parts = urlsplit(self.path)
        self.query = {k: v[-1] for k, v in parse_qs(self.parts.query, keep_blank_values=True).items()}
        self.length = int(self.headers.get("Content-Length") or 0)
        self.left = self.length
        self.kept = b""
        self.extra: dict[str, str] = {}
        line = f"{self.command} {self.path}"
        with github.lock:
            github.log.append(line)
            rule = next((r for r in github.rules if r.times > 0 and re.match(r.pattern, line)), None)
            if rule:
                rule.times -= 1
        try:
            if rule and rule.act(self):
                return
            self.route()
        except Refused as refused:
            told = {"message": str(refused), "documentation_url": "https://docs.github.com/rest"}
            if refused.errors:
                told["errors"] = list(refused.errors)  # type: ignore[assignment]
            self.extra |= {key.replace("_", "-"): value for key, value in refused.headers.items()}
            self.reply(refused.status, told)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

    # -- bodies and answers ------------------------------------------------------------------------------------------

    def read(self, most: int = 1 << 30) -> bytes:
        """The body; raises ConnectionError where it ends early."""
        blocks = []
        while self.left and most > 0:
            block = self.rfile.read1(min(self.left, most, 1 << 16))  # type: ignore[attr-defined]
            if not block:
                raise ConnectionError("cut")
            blocks.append(block)
            self.left -= len(block)
            most -= len(block)
        data = b"".join(blocks)
        self.kept += data[: 1 << 16]
        return data

    def reply(self, status: int, told: object = None) -> None:
        try:
            self.read()  # what came with a request that is refused
        except OSError:
            self.close_connection = True
            return
        body = b"" if told is None else json.dumps(told).encode()
        head = {"Content-Length": str(len(body)), **self.extra}
        if told is not None:
            head["Content-Type"] = "application/json; charset=utf-8"
        if status == 204:
            del head["Content-Length"]
        self.send_response(status)
        for key, value in head.items():
            self.send_header(key, value)
        for prefix, base in (("/api/v3", API), ("/api/uploads", UPLOADS)):
            if self.path.startswith(prefix + "/"):
                url = base + self.path.removeprefix(prefix)
                exchange = Exchange(self.command, url, dict(self.headers), self.kept, status, head, body)
                with self.github.lock:
                    self.github.check(exchange)
        self.end_headers()
        self.wfile.write(body)

    # -- who asks ----------------------------------------------------------------------------------------------------

    @property
    def user(self) -> User | None:
        sent = self.headers.get("Authorization")
        if sent is None:
            return None
        user = self.github.users.get(sent.removeprefix("Bearer ").removeprefix("token "))
        if user is None:
            raise Refused(401, "Bad credentials")
        if user.scopes is not None:
            self.extra["X-OAuth-Scopes"] = ", ".join(user.scopes)
        return user

    def seen(self, owner: str, repo: str) -> Repository:
        found = self.github.repositories.get(f"{owner}/{repo}".lower())
        user = self.user
        if found is None:
            raise Refused(404, "Not Found")
        full = f"{found.owner}/{found.name}"
        if found.private:
            role = user is not None and full in user.push | user.sees
            if not role or (user.scopes is not None and "repo" not in user.scopes):  # type: ignore[union-attr]
                raise Refused(404, "Not Found")
        return found

    def may(self, repo: Repository) -> bool:
        """Whether the token may change the contents."""
        user, full = self.user, f"{repo.owner}/{repo.name}"
        if user is None or full not in user.push:
            return False
        if user.scopes is not None:
            return bool({"repo"} & set(user.scopes) or (not repo.private and "public_repo" in user.scopes))
        return user.contents == "write"

    def must(self, repo: Repository) -> User:
        user = self.user
        if user is None:
            raise Refused(401, "Requires authentication")
        if not self.may(repo):
            if user.scopes is not None:
                raise Refused(404, "Not Found")
            raise Refused(403, f"Resource not accessible by {'integration' if user.app else 'personal access token'}")
        return user

    # -- what is asked -----------------------------------------------------------------------------------------------

    def route(self) -> None:
        path = self.parts.path
        if path.startswith("/api/v3/"):
            self.limited()
            return self.pick(path.removeprefix("/api/v3"), _ROUTES)
        if path.startswith("/api/uploads/"):
            return self.pick(path.removeprefix("/api/uploads"), _UPLOADS)
        return self.pick(path, _SITE)

    def pick(self, path: str, routes: list[tuple[str, str, str]]) -> None:
        for method, pattern, name in routes:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                getattr(self, name)(**{key: unquote(value) for key, value in found.groupdict().items()})
                return
        raise Refused(404, "Not Found")

    def limited(self) -> None:
        github = self.github
        with github.lock:
            if github.limit_left is None:
                return
            self.extra["X-RateLimit-Remaining"] = str(max(0, github.limit_left - 1))
            self.extra["X-RateLimit-Reset"] = str(int(github.limit_reset))
            if github.limit_left <= 0 and github.now() < github.limit_reset:
                self.extra["X-RateLimit-Remaining"] = "0"
                raise Refused(403, "API rate limit exceeded for user ID 1.")
            github.limit_left -= 1

    def get_user(self) -> None:
        user = self.user
        if user is None:
            raise Refused(401, "Requires authentication")
        if user.app:
            raise Refused(403, "Resource not accessible by integration")
        self.reply(200, self.person(user.login))

    def get_repository(self, owner: str, repo: str) -> None:
        found = self.seen(owner, repo)
        full, user = f"{found.owner}/{found.name}", self.user
        told: dict[str, Any] = {"id": 1, "name": found.name, "full_name": full, "private": found.private}
        told |= {"archived": found.archived, "default_branch": "main"}
        if user is not None:
            # the role of the user, whatever the token may; an app has none
            push = not user.app and full in user.push
            told["permissions"] = {"admin": False, "push": push, "pull": True}
        self.reply(200, told)

    def get_commits(self, owner: str, repo: str) -> None:
        if self.seen(owner, repo).empty:
            raise Refused(409, "Git Repository is empty.")
        self.reply(200, [{"sha": "1" * 40}])

    def post_notes(self, owner: str, repo: str) -> None:
        self.must(self.seen(owner, repo))
        self.read()
        self.reply(200, {"name": "notes", "body": "What changed"})

    def get_releases(self, owner: str, repo: str) -> None:
        found = self.seen(owner, repo)
        with self.github.lock:
            releases = [r for r in found.releases.values() if not r.draft or self.may(found)]
            told = [self.release(found, r) for r in sorted(releases, key=lambda r: -r.id)]
        self.page(told)

    def post_release(self, owner: str, repo: str) -> None:
        found = self.seen(owner, repo)
        user = self.must(found)
        told = json.loads(self.read())
        with self.github.lock:
            release = Release(
                self.github.number(),
                told["tag_name"],
                told.get("name") or told["tag_name"],
                told.get("body") or "",
                user.login,
                self.github.now(),
                draft=True,
            )
            if not told.get("draft"):
                self.publish(found, release, told)
            found.releases[release.id] = release
            answer = self.release(found, release)
        self.reply(201, answer)

    def publish(self, repo: Repository, release: Release, told: dict[str, Any]) -> None:
        problem = {"resource": "Release", "field": "tag_name"}
        if repo.empty:
            raise Refused(
                422, "Validation Failed", {"resource": "Release", "code": "custom", "message": "Repository is empty."}
            )
        if release.tag in repo.burned:
            message = "tag_name was used by an immutable release"
            raise Refused(422, "Validation Failed", {**problem, "code": "custom", "message": message})
        if repo.by_tag(release.tag):
            raise Refused(422, "Validation Failed", {**problem, "code": "already_exists"})
        release.draft = False
        release.published = self.github.now()
        release.immutable = repo.immutable_releases
        if told.get("make_latest", "true") == "true":
            for other in repo.releases.values():
                other.latest = False
            release.latest = True

    def find(self, repo: Repository, number: str) -> Release:
        release = repo.releases.get(int(number))
        if release is None or (release.draft and not self.may(repo)):
            raise Refused(404, "Not Found")
        return release

    def get_release(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        self.reply(200, self.release(found, self.find(found, release_id)))

    def get_by_tag(self, owner: str, repo: str, tag: str) -> None:
        found = self.seen(owner, repo)
        release = found.by_tag(tag)
        if release is None:
            raise Refused(404, "Not Found")
        self.reply(200, self.release(found, release))

    def get_latest(self, owner: str, repo: str) -> None:
        found = self.seen(owner, repo)
        release = next((r for r in found.releases.values() if r.latest and not r.draft), None)
        if release is None:
            raise Refused(404, "Not Found")
        self.reply(200, self.release(found, release))

    def patch_release(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        self.must(found)
        told = json.loads(self.read())
        with self.github.lock:
            release = self.find(found, release_id)
            if release.draft and told.get("draft") is False:
                self.publish(found, release, told)
            answer = self.release(found, release)
        self.reply(200, answer)

    def delete_release(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        self.must(found)
        with self.github.lock:
            release = self.find(found, release_id)
            if release.immutable:
                found.burned.add(release.tag)
            del found.releases[release.id]
        self.reply(204)

    def get_assets(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        with self.github.lock:
            release = self.find(found, release_id)
            told = [self.asset(found, release, asset) for asset in release.assets.values()]
        self.page(told)

    def one_asset(self, repo: Repository, number: str) -> tuple[Release, Asset]:
        for release in repo.releases.values():
            for asset in release.assets.values():
                if asset.id == int(number) and (not release.draft or self.may(repo)):
                    return release, asset
        raise Refused(404, "Not Found")

    def get_asset(self, owner: str, repo: str, asset_id: str) -> None:
        found = self.seen(owner, repo)
        with self.github.lock:
            release, asset = self.one_asset(found, asset_id)
        if self.headers.get("Accept") == "application/octet-stream":
            self.to_storage(asset)
        else:
            self.reply(200, self.asset(found, release, asset))

    def delete_asset(self, owner: str, repo: str, asset_id: str) -> None:
        found = self.seen(owner, repo)
        self.must(found)
        with self.github.lock:
            release, asset = self.one_asset(found, asset_id)
            if release.immutable:
                raise Refused(422, "Cannot delete asset from an immutable release")
            del release.assets[asset.name.lower()]
        self.reply(204)

    def post_asset(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        user = self.must(found)
        problem = {"resource": "ReleaseAsset"}
        if "Content-Length" not in self.headers:
            raise Refused(400, "Bad Content-Length: ")
        name = kept_name(self.query["name"])
        with self.github.lock:
            release = self.find(found, release_id)
            if release.immutable:
                raise Refused(422, "Cannot upload assets to an immutable release.")
            if name.lower() in release.assets:
                raise Refused(422, "Validation Failed", {**problem, "code": "already_exists", "field": "name"})
            for bad, name_of, message in (
                (
                    len(release.assets) >= self.github.most_assets,
                    "file_count",
                    f"file_count limited to {self.github.most_assets} assets per release",
                ),
                (self.length < 1, "size", "size must be greater than or equal to 1"),
                (
                    self.length >= self.github.most_bytes,
                    "size",
                    f"size must be less than or equal to {self.github.most_bytes}",
                ),
            ):
                if bad:
                    error = {**problem, "code": "custom", "field": name_of, "message": message}
                    raise Refused(422, "Validation Failed", error)
            asset = Asset(self.github.number(), name, self.query.get("label", ""), user.login, self.github.now())
            release.assets[name.lower()] = asset
        asset.data = self.read()
        with self.github.lock:
            asset.state = "uploaded"
            if self.github.digests:
                asset.digest = f"sha256:{hashlib.sha256(asset.data).hexdigest()}"
            answer = self.asset(found, release, asset)
        self.reply(201, answer)

    # -- what everybody may have -------------------------------------------------------------------------------------

    def site_asset(self, owner: str, repo: str, tag: str, name: str) -> None:
        found = self.github.repositories.get(f"{owner}/{repo}".lower())
        release = found.by_tag(tag) if found and not found.private else None
        asset = release.assets.get(name.lower()) if release else None
        if asset is None or asset.name != name or asset.state != "uploaded":
            raise Refused(404, "Not Found")
        self.to_storage(asset)

    def site_latest(self, owner: str, repo: str, name: str) -> None:
        found = self.github.repositories.get(f"{owner}/{repo}".lower())
        latest = next((r for r in found.releases.values() if r.latest), None) if found and not found.private else None
        if latest is None:
            raise Refused(404, "Not Found")
        self.moved(f"/{owner}/{repo}/releases/download/{quote(latest.tag, safe='')}/{quote(name, safe='')}")

    def to_storage(self, asset: Asset) -> None:
        until = time.time() + self.github.signature_seconds
        self.moved(f"{self.github.storage}/{asset.id}?sig={_signature(asset.id, until)}&se={until}")

    def moved(self, url: str) -> None:
        self.extra["Location"] = url
        self.reply(302)

    # -- forms -------------------------------------------------------------------------------------------------------

    def page(self, items: list[Any]) -> None:
        each, page = int(self.query.get("per_page", 30)), int(self.query.get("page", 1))
        if len(items) > each * page:
            base = f"{self.github.url}{self.parts.path}"
            rel = {"next": page + 1, "last": -(-len(items) // each)}
            self.extra["Link"] = ", ".join(f'<{base}?per_page={each}&page={n}>; rel="{key}"' for key, n in rel.items())
        self.reply(200, items[each * (page - 1) : each * page])

    def person(self, login: str) -> dict[str, Any]:
        url = f"https://api.github.com/users/{login}"
        named = ("events", "followers", "following", "gists", "organizations", "received_events", "repos", "starred")
        told: dict[str, Any] = {f"{name}_url": f"{url}/{name}" for name in (*named, "subscriptions")}
        told |= {"login": login, "id": 1, "node_id": "U_1", "avatar_url": f"{url}/avatar", "gravatar_id": ""}
        return told | {"url": url, "html_url": f"https://github.com/{login}", "type": "User", "site_admin": False}

    def asset(self, repo: Repository, release: Release, asset: Asset) -> dict[str, Any]:
        base = f"{self.github.url}/api/v3/repos/{repo.owner}/{repo.name}/releases"
        site = f"{self.github.url}/{repo.owner}/{repo.name}/releases/download"
        return {
            "url": f"{base}/assets/{asset.id}",
            "browser_download_url": f"{site}/{quote(release.tag, safe='')}/{quote(asset.name, safe='')}",
            "id": asset.id,
            "node_id": f"RA_{asset.id}",
            "name": asset.name,
            "label": asset.label,
            "state": asset.state,
            "content_type": "application/octet-stream",
            "size": len(asset.data) if asset.state == "uploaded" else 0,
            "digest": asset.digest,
            "download_count": 0,
            "created_at": _stamp(asset.created),
            "updated_at": _stamp(asset.created),
            "uploader": self.person(asset.uploader),
        }

    def release(self, repo: Repository, release: Release) -> dict[str, Any]:
        full = f"{repo.owner}/{repo.name}"
        base = f"{self.github.url}/api/v3/repos/{full}/releases/{release.id}"
        page = f"untagged-{release.id}" if release.draft else release.tag
        return {
            "url": base,
            "html_url": f"{self.github.url}/{full}/releases/tag/{page}",
            "assets_url": f"{base}/assets",
            "upload_url": f"{self.github.url}/api/uploads/repos/{full}/releases/{release.id}/assets{{?name,label}}",
            "tarball_url": None if release.draft else f"{base}/tarball",
            "zipball_url": None if release.draft else f"{base}/zipball",
            "id": release.id,
            "node_id": f"RE_{release.id}",
            "tag_name": release.tag,
            "target_commitish": "main",
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": False,
            "immutable": release.immutable,
            "created_at": _stamp(release.created),
            "published_at": _stamp(release.published) if release.published else None,
            "author": self.person(release.author),
            # only the first ones: who wants all of them asks for the pages
            "assets": [self.asset(repo, release, a) for a in list(release.assets.values())[:30]],
        }


class _Storage(_Base):
    """Signed addresses with ranges; a token that came along is refused, as storage does."""

    def do_GET(self) -> None:
        github = self.server.github
        parts = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        number = int(parts.path.strip("/") or 0)
        with github.lock:
            github.log.append(f"STORAGE {self.path} {self.headers.get('Range', '')}".strip())
            assets = [
                a for repo in github.repositories.values() for r in repo.releases.values() for a in r.assets.values()
            ]
        asset = next((a for a in assets if a.id == number), None)
        until = float(query.get("se", 0))
        if "Authorization" in self.headers:
            return self.text(400, "InvalidAuthenticationInfo")
        if asset is None or query.get("sig") != _signature(number, until) or time.time() > until:
            return self.text(403, "AuthenticationFailed")
        return self.serve(asset.data, f'"{asset.id}"')

    def text(self, status: int, said: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def serve(self, data: bytes, etag: str) -> None:
        start, stop, status = 0, len(data), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", etag) == etag:
            start = int(asked[1])
            stop = min(len(data), int(asked[2]) + 1 if asked[2] else len(data))
            status = 206 if start < len(data) else 416
        if status == 416:
            start = stop = 0
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        if status != 200:
            told = f"{start}-{stop - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {told}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:stop])


_ROUTES = [
    ("GET", "/user", "get_user"),
    ("GET", _REPO, "get_repository"),
    ("GET", f"{_REPO}/commits", "get_commits"),
    ("POST", f"{_REPO}/releases/generate-notes", "post_notes"),
    ("GET", f"{_REPO}/releases", "get_releases"),
    ("POST", f"{_REPO}/releases", "post_release"),
    ("GET", f"{_REPO}/releases/latest", "get_latest"),
    ("GET", f"{_REPO}/releases/tags/(?P<tag>[^/]+)", "get_by_tag"),
    ("GET", f"{_REPO}/releases/assets/(?P<asset_id>[0-9]+)", "get_asset"),
    ("DELETE", f"{_REPO}/releases/assets/(?P<asset_id>[0-9]+)", "delete_asset"),
    ("GET", f"{_REPO}/releases/(?P<release_id>[0-9]+)", "get_release"),
    ("PATCH", f"{_REPO}/releases/(?P<release_id>[0-9]+)", "patch_release"),
    ("DELETE", f"{_REPO}/releases/(?P<release_id>[0-9]+)", "delete_release"),
    ("GET", f"{_REPO}/releases/(?P<release_id>[0-9]+)/assets", "get_assets"),
]
_UPLOADS = [("POST", f"{_REPO}/releases/(?P<release_id>[0-9]+)/assets", "post_asset")]
_OWNED = r"/(?P<owner>[^/]+)/(?P<repo>[^/]+)/releases"
_SITE = [
    ("GET", f"{_OWNED}/download/(?P<tag>[^/]+)/(?P<name>[^/]+)", "site_asset"),
    ("GET", f"{_OWNED}/latest/download/(?P<name>[^/]+)", "site_latest"),
]


def _signature(number: int, until: float) -> str:
    return hashlib.sha256(f"{number} {until}".encode()).hexdigest()[:16]


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@pytest.fixture
def github(need: Any) -> Iterator[GitHub]:
    """GitHub with the public repository ann/data, and the token "ghp_ann" of its owner."""
    need.module("openapi_core")
    with GitHub() as github:
        github.repository("ann/data")
        github.user("ghp_ann", scopes=("repo",))
        yield github
    assert github.violations == []
