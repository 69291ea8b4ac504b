"""Which request is answered by what."""

from __future__ import annotations

import re
from urllib.parse import unquote

from .assets import Assets
from .releases import Releases
from .state import Refused

_REPO = r"/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)"
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
    ("PATCH", f"{_REPO}/releases/assets/(?P<asset_id>[0-9]+)", "patch_asset"),
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


class Handler(Releases, Assets):
    """The API, uploads, and the site itself."""

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
