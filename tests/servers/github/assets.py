"""The assets of a release, in the API, at the place for uploads and for everybody."""

from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import quote

from . import state
from .forms import Forms
from .state import Asset, Refused, Release, Repository, signature


class Assets(Forms):
    """What is asked of assets."""

    find: object  # of the releases

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

    def patch_asset(self, owner: str, repo: str, asset_id: str) -> None:
        found = self.seen(owner, repo)
        self.must(found)
        told = json.loads(self.read())
        with self.github.lock:
            release, asset = self.one_asset(found, asset_id)
            name = state.kept_name(told.get("name", asset.name))
            if release.assets.get(name.lower(), asset) is not asset:
                problem = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
                raise Refused(422, "Validation Failed", problem)
            del release.assets[asset.name.lower()]
            asset.name, asset.label = name, told.get("label", asset.label)
            release.assets[name.lower()] = asset
            answer = self.asset(found, release, asset)
        self.reply(200, answer)

    def post_asset(self, owner: str, repo: str, release_id: str) -> None:
        found = self.seen(owner, repo)
        user = self.must(found)
        problem = {"resource": "ReleaseAsset"}
        if "Content-Length" not in self.headers:
            raise Refused(400, "Bad Content-Length: ")
        name = state.kept_name(self.query["name"])
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
        asset.data = self.read(self.length)
        with self.github.lock:
            asset.state = "uploaded"
            self.github.arrived.append(name)
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
        self.moved(f"{self.github.storage}/{asset.id}?sig={signature(asset.id, until)}&se={until}")

    def moved(self, url: str) -> None:
        self.extra["Location"] = url
        self.reply(302)
