"""Publishes to releases on GitHub: a draft first, its assets, and when all are proven the release itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import HostRefused, PublishError
from ..base import HostedFile, Limits, Publisher, Upload
from ..github import github_token
from . import LATEST, GitHubReleaseHost, further_tag
from .api import Api
from .asset_names import LONGEST_ASSET, asset_name, pieces
from .comparing import Piece, next_tag, other_bytes, there
from .drafts import Drafts
from .releases import Release, find_release, find_series
from .rights import check, no_token, too_weak
from .sending import Sender

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings

__all__ = ["GitHubReleasePublisher"]


class GitHubReleasePublisher(Publisher):
    """Uploads assets to one release, and to further ones when it is full.

    Attributes
    ----------
    most_assets : int
        How many assets GitHub takes in one release.
    """

    limits = Limits(empty=False)
    parallel = 4
    most_assets = 1000
    host: GitHubReleaseHost

    def __init__(self, host: GitHubReleaseHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._tag = host.tag
        self._token: Token | None = None
        self._known: Api | None = None
        self._series: dict[str, Release] = {}
        self._place: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def declared(self) -> str:
        """The line for readers: with the tag of the release, also where the latest one was meant."""
        return self.host.spec.replace(f"@{LATEST}", f"@{self._tag}", 1) if self.host.tag == LATEST else self.host.spec

    @property
    def _api(self) -> Api:
        if self._known is None:
            self._token = github_token(self.host.server, self.settings, publishing=True)
            if self._token is None:
                raise no_token(self.host)
            self._known = Api(self.host, self.settings, self._token)
        return self._known

    @property
    def _drafts(self) -> Drafts:
        return Drafts(self.host, self._api, self._token, self._tag, self.about)

    def check_rights(self) -> str:
        """Ask GitHub what the token may."""
        api = self._api
        assert self._token is not None  # noqa: S101 - for mypy: there is no API without it
        who = check(self.host, api, self._token)
        if self.host.tag == LATEST:
            latest = find_release(api, LATEST)
            if latest is None:
                reason = f"{self.host.repository} has no release yet that could be the latest one"
                raise PublishError(self.host.redacted, reason, "Name a tag: @data-v1")
            self._tag = latest.tag
        return who

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The files in the release, in its draft and in further releases of the same data."""
        self._series = {release.tag: release for release in find_series(self._api, self._tag)}
        found: dict[str, HostedFile] = {}
        other: dict[str, list[str]] = {}
        for upload in uploads:
            for release in self._series.values():
                hosted = there(release, upload, self.host.part)
                if hosted is None:
                    continue
                self._place[upload.name] = release.tag
                if hosted.size != upload.size or hosted.sha256 not in {None, upload.sha256}:
                    other.setdefault(release.tag, []).append(upload.name)
                elif hosted.sha256 or not release.draft:  # strangers cannot compare what is in a draft: `upload` does
                    found[upload.name] = HostedFile(hosted.size, hosted.sha256, locators=self._locators(release.tag))
                break
        for tag, names in other.items():
            raise other_bytes(self.host, self._series[tag], names)
        first = self._series.get(self._tag)
        new = [upload.name for upload in uploads if upload.name not in found]
        if new and first is not None and first.immutable:
            reason = f"the release {self._tag} is immutable and takes no more files, so not {new[0]}"
            raise PublishError(self.host.redacted, reason, f"Publish to @{next_tag(self._tag)}")
        return found

    def problem(self, upload: Upload) -> str:
        """Why GitHub cannot have a file, as far as its name and its size tell."""
        assets = pieces(upload.name, upload.size, self.host.part)
        longest = max(len(asset) for asset, _ in assets)
        if longest > LONGEST_ASSET:
            return f"as the name of an asset it has {longest} characters, and {LONGEST_ASSET} are the most"
        if len(assets) > self.most_assets:
            return f"it has {len(assets)} parts, and a release holds {self.most_assets} assets"
        return ""

    def remarks(self, uploads: Sequence[Upload]) -> Sequence[str]:
        """Which files are divided, and which go to further releases; that a new release is made."""
        uploads = [upload for upload in uploads if not self.problem(upload)]  # no release has room for the others
        if not uploads:
            return ()
        said = []
        if self._tag not in self._series:
            said.append(f"a release {self._tag} is made as a draft, and published once all files are proven")
        elif self._series[self._tag].draft:
            said.append(f"the draft of {self._tag} is published once all files are proven")
        parts = {u.name: len(pieces(u.name, u.size, self.host.part)) for u in uploads}
        said += [f"{name} goes in {count} parts" for name, count in parts.items() if count > 1]
        counts: dict[str, int] = {}
        for name, tag in self._placed(uploads).items():
            counts[tag] = counts.get(tag, 0) + parts[name]
        if set(counts) - {self._tag}:
            where = ", ".join(f"{count} in {tag}" for tag, count in counts.items())
            said.append(f"a release holds {self.most_assets} assets, of which no two differ in case only: {where}")
        return said

    def begin(self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]) -> None:
        """Make drafts of the releases that are not there yet."""
        self._add_noted(notes)
        self._place |= self._placed(uploads)
        for upload in uploads:
            tag = self._place[upload.name]
            if tag not in self._series:
                self._series[tag] = self._drafts.make(tag, notes)

    def upload(
        self, upload: Upload, notes: MutableMapping[str, Any], moved: Callable[[int], None]
    ) -> Mapping[str, str | int]:
        """Upload the asset, or the parts that are not there yet."""
        tag = self._place[upload.name]
        sender = Sender(self.host, self._api, self._series[tag], self._lock)
        start = 0
        assets = pieces(upload.name, upload.size, self.host.part)
        for number, (asset, size) in enumerate(assets, 1):
            label = "" if asset == upload.name else upload.name
            if len(assets) > 1:
                label = f"{upload.name}, part {number} of {len(assets)}"
            try:
                sender.send(Piece(upload, asset, label, start, size, len(assets) == 1), notes, moved)
            except HostRefused as error:
                if error.status in {401, 403}:
                    raise too_weak(self.host, self._token, error.said) from error
                raise
            start += size
        return self._locators(tag)

    def finish(
        self, uploads: Sequence[Upload], notes: MutableMapping[str, Any]
    ) -> Mapping[str, Mapping[str, str | int]]:
        """Ask what GitHub has of every file, and publish the drafts that hold them; the first release comes last."""
        self._add_noted(notes)
        tags = sorted({self._place.get(upload.name, self._tag) for upload in uploads}, key=lambda tag: tag == self._tag)
        drafts = [tag for tag in tags if tag in self._series and self._drafts.still(self._series[tag])]
        for tag in drafts:
            self._series[tag].refresh(self._api)
            for upload in uploads:
                if self._place.get(upload.name) == tag:
                    self._prove(self._series[tag], upload)
        for tag in drafts:
            self._drafts.publish(self._series[tag])
        self._drafts.drop_needless(self._series, notes)
        return {u.name: self._locators(self._place[u.name]) for u in uploads if u.name in self._place}

    def seconds_until_served(self) -> float:
        """A release is served within seconds."""
        return 60.0

    # ----------------------------------------------------------------------------------------------------------------

    def _locators(self, tag: str) -> Mapping[str, str | int]:
        return {} if tag == self._tag else {self.host.locator: tag}

    def _add_noted(self, notes: Mapping[str, Any]) -> None:
        """Add a draft that was noted and is not in GitHub's list yet."""
        for tag, number in notes.get("drafts", {}).items():
            if tag not in self._series:
                reply = self._api.call("GET", f"{self._api.repository}/releases/{number}", accept={404})
                if reply.status != 404:
                    release = Release.told(reply.json())
                    release.refresh(self._api)
                    self._series.setdefault(release.tag, release)

    def _placed(self, uploads: Sequence[Upload]) -> dict[str, str]:
        """The release of each file: the first one with room for it."""
        taken = {tag: set(release.assets) for tag, release in self._series.items()}
        placed: dict[str, str] = {}
        for upload in uploads:
            exact = [asset for asset, _ in pieces(upload.name, upload.size, self.host.part)]
            assets = {asset.lower() for asset in exact}
            whole = asset_name(upload.name).lower()
            number = 1
            while True:
                tag = further_tag(self._tag, number)
                release, names = self._series.get(tag), taken.setdefault(tag, set())
                own = release is not None and any(map(release.asset, exact))
                full = len(names | assets) > self.most_assets or (release is not None and release.immutable)
                if own or not (full or names & (assets | {whole})):
                    break
                number += 1
            names |= assets
            placed[upload.name] = tag
        return placed

    def _prove(self, release: Release, upload: Upload) -> None:
        found = there(release, upload, self.host.part)
        if found is None or found.size != upload.size or found.sha256 not in {None, upload.sha256}:
            reason = f"GitHub does not have all of it in the draft {release.page}, so that it stays a draft"
            raise PublishError(f"{self.host.redacted}: {upload.name}", reason, "Run the same command again")
