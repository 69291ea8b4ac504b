"""Repositories and their releases."""

from __future__ import annotations

import json
from typing import Any

from .forms import Forms
from .state import Refused, Release, Repository


class Releases(Forms):
    """What is asked of repositories and releases."""

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
