"""How the API writes what it tells."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .asked import Asked
from .state import Asset, Release, Repository, stamp


class Forms(Asked):
    """Answers in JSON."""

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
            "created_at": stamp(asset.created),
            "updated_at": stamp(asset.created),
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
            "created_at": stamp(release.created),
            "published_at": stamp(release.published) if release.published else None,
            "author": self.person(release.author),
            # only the first ones: who wants all of them asks for the pages
            "assets": [self.asset(repo, release, a) for a in list(release.assets.values())[:30]],
        }
