"""Files that are the assets of a release on GitHub: ``github-release:owner/repo@tag``."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..config.credentials import may_get_login
from ..download.backoff import tries
from ..download.response import server_time
from ..errors import AccessDenied, BadName, Conflict, HostRefused, PublishError, Reason, TransferError
from .about import as_list, authors
from .api_client import FileBody, error_message
from .base import Credential, HostedFile, Limits, Locators, Moved, Notes, Part, Publisher, Source, Upload
from .deposit import (
    MOST_PAGES,
    DepositHost,
    DepositPublisher,
    DraftFile,
    is_status,
    read_options,
)
from .github import GitHubApi, github_credentials, is_ref, is_repository
from .github_assets import (
    LARGEST_ASSET,
    LONGEST_ASSET,
    Piece,
    Release,
    ReleaseFile,
    asset_name,
    pieces,
    pieces_of,
    read_asset,
)

if TYPE_CHECKING:
    from ..config.credentials import Token
    from ..config.settings import Settings
    from ..registry.entry import Entry


LATEST = "latest"

# -- tags -------------------------------------------------------------------------------------------------------------


def _further_tag(tag: str, number: int) -> str:
    """The tag of a further release, for what the first one has no space for: ``data-v1-more2``."""
    return tag if number == 1 else f"{tag}-more{number}"


def _is_further(further: str, tag: str) -> bool:
    return tag != LATEST and re.fullmatch(re.escape(tag) + r"-more[1-9][0-9]{0,3}", further) is not None


def _next_tag(tag: str) -> str:
    """A tag for the next version of the data: ``data-v2`` after ``data-v1``."""
    found = re.search(r"[0-9]+(?=[^0-9]*\Z)", tag)
    return f"{tag[: found.start()]}{int(found[0]) + 1}{tag[found.end() :]}" if found else f"{tag}-v2"


# -- the interface ----------------------------------------------------------------------------------------------------


class _Api(GitHubApi):
    """Releases and their assets."""

    def release(self, path: str) -> Release | None:
        """The release at a path, with its assets; None if there is none that this token sees."""
        found = self.find(f"{self.repository}/releases/{path}")
        return None if found is None else self.refresh(Release(found))

    def refresh(self, release: Release) -> Release:
        """Ask which assets a release has."""
        assets = map(read_asset, self.pages(f"{self.repository}/releases/{release.id}/assets"))
        release.assets = {asset.name.lower(): asset for asset in assets}
        return release

    def tagged(self, tag: str) -> Release | None:
        """The published release with a tag."""
        return self.release(LATEST if tag == LATEST else f"tags/{quote(tag, safe='')}")

    def series(self, tag: str) -> dict[str, Release]:
        """A release and the further ones of its data by tag, published or drafts (of several the oldest)."""
        every = map(Release, self.pages(f"{self.repository}/releases"))
        same = [release for release in every if release.tag == tag or _is_further(release.tag, tag)]
        # of several with a tag the one that comes last
        found = {release.tag: release for release in sorted(same, key=lambda r: (not r.draft, -r.id))}
        # the list may be some seconds behind
        published = self.tagged(tag) if tag not in found or found[tag].draft else None
        found |= {tag: published} if published else {}
        return {known.tag: self.refresh(known) for known in sorted(found.values(), key=lambda r: (len(r.tag), r.tag))}


# -- reading ----------------------------------------------------------------------------------------------------------


class GitHubReleaseHost(DepositHost["_Api"]):
    """The assets of one release.

    It is declared as ``github-release:owner/repo@tag``, or ``@latest`` for whatever release is the latest one.
    Behind it may stand ``?server=https://github.example.org`` for GitHub Enterprise, and ``part=BYTES`` where files
    are divided into smaller parts than usual.
    """

    locator = "github-release"
    schemes = ("github-release",)
    example = "github-release:owner/repo@v1"

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        rest, options = read_options(spec, "server", "part")
        repository, _, tag = rest.partition("@")
        if not is_repository(repository):
            raise _bad(spec, f"{repository!r} is not an owner and a repository, as in myorg/mypkg-data")
        if not is_ref(tag):
            raise _bad(spec, f"{tag!r} is not a tag" if tag else "it names no tag, as in @data-v1, or @latest")
        self.repository, self.tag, self.record = repository, tag, tag
        self.server = options.get("server", "https://github.com").rstrip("/")
        server, part = urlsplit(self.server), options.get("part", str(LARGEST_ASSET))
        if not may_get_login(server.scheme, server.hostname or ""):
            raise _bad(spec, "server= is an https URL")
        if not re.fullmatch("[0-9]{1,10}", part) or not 0 < int(part) <= LARGEST_ASSET:
            raise _bad(spec, f"part= is a number of bytes from 1 to {LARGEST_ASSET}")
        self.part = int(part) if "part" in options else None

    @property
    def redacted(self) -> str:
        """The host as it may be printed; nothing in it is secret."""
        return self.spec

    @property
    def credentials(self) -> tuple[Credential, ...]:
        return github_credentials(self.server)

    @property
    def series(self) -> str:  # type: ignore[override]
        """The releases of one repository hold the versions of its data."""
        return f"github-release:{self.server}/{self.repository.lower()}"

    def connect(self, settings: Settings, token: Token | None) -> _Api:
        return _Api(settings, self.server, self.repository, token)

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """One URL, or those of its parts for a file that is larger than an asset may be."""
        # the locator may name a further release of the same data
        further = str(entry.locators.get(self.locator, "")) if entry else ""
        tag = further if _is_further(further, self.tag) else self.tag
        path = "latest/download" if tag == LATEST else f"download/{quote(tag, safe='')}"
        base = f"{self.server}/{self.repository}/releases/{path}/"
        assets = pieces(name, entry.size if entry else None, self.part)
        parts = [Part(base + quote(asset, safe=""), size) for asset, size in assets]
        return [Source(parts[0].url, self.redacted, parts=tuple(parts) if len(parts) > 1 else ())]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Ask the API with the user's token: for the files of private repositories."""
        if self.token(settings) is None:
            reason = f"its API was not asked: {self._for_private()}"
            raise TransferError(self.redacted, reason, kind="token", final=True)
        return super().look_up(wanted, settings)

    def places(self, file: DraftFile) -> Sequence[Source]:
        headers = {**file.login, "Accept": "application/octet-stream"}
        assets = file.assets if isinstance(file, ReleaseFile) else ()
        parts = tuple(Part(asset.key, asset.size or 0) for asset in assets)
        return [Source(parts[0].url, self.redacted, headers, parts if len(parts) > 1 else ())]

    def public_files(self, settings: Settings) -> list[DraftFile]:
        """All files of the further releases of the same data, and of the release, which counts first."""
        api = self.connect(settings, self.token(settings))
        first = api.tagged(self.tag)
        if first is None:
            reason = f"there is no published release {self.tag!r} of {self.repository}, or it is private"
            raise TransferError(self.redacted, f"{reason}; {self._for_private()}", kind="token", final=True)
        files = first.files(self.part, login=api.login)
        for number in range(2, MOST_PAGES + 1):
            if (further := api.tagged(_further_tag(first.tag, number))) is None:
                break
            files = further.files(self.part, locators={self.locator: further.tag}, login=api.login) + files
        return files

    def publisher(self, settings: Settings, about: Mapping[str, Any]) -> Publisher:
        return GitHubReleasePublisher(self, settings, about)

    def _for_private(self) -> str:
        name = urlsplit(self.server).hostname
        where = "GH_TOKEN, or `gh auth login`"
        if name != "github.com":
            netloc = urlsplit(self.server).netloc
            where = f"`keyring set dataferry {name}`, or GH_ENTERPRISE_TOKEN with GH_HOST={netloc}"
        return f"the readers of a private repository need a token ({where})"


def _bad(spec: str, why: str) -> BadName:
    redacted = re.sub(r"//[^/@]*@", "//", spec)
    return BadName(f"{redacted!r} is no release on GitHub: {why}; it reads github-release:owner/repo@tag")


# -- publishing -------------------------------------------------------------------------------------------------------

#: An upload that began longer ago than this, and is not complete, was cut.
_CUT_AFTER = 3600.0
_ATTEMPTS = 5
#: Uploads without an answer that are waited for.
_MOST_SILENT = 2
_LONGEST_TITLE, _LONGEST_BODY = 200, 100_000


class GitHubReleasePublisher(DepositPublisher[_Api]):
    """Uploads assets to one release, and to further ones when it is full; see `DepositPublisher`."""

    limits = Limits(empty=False)
    parallel = 4
    patience = 0.0, 10.0
    #: How many assets GitHub takes in one release.
    most_assets = 1000
    #: Seconds: before the second attempt of an upload, without an answer to it, that another author's upload of the
    #: same asset is waited for, and in which GitHub computes the digest of an asset.
    pause, sent_within, others_within, digest_within = 0.5, 300.0, 60.0, 10.0
    host: GitHubReleaseHost

    def __init__(self, host: GitHubReleaseHost, settings: Settings, about: Mapping[str, Any]) -> None:
        super().__init__(host, settings, about)
        self._tag = host.tag
        #: The release and the further ones of its data, by tag.
        self._series: dict[str, Release] = {}
        #: The tag of the release where a file is, or goes.
        self._place: dict[str, str] = {}

    @property
    def declared(self) -> str:
        """The line for readers: with the tag of the release, also where the latest one was meant."""
        return self.host.spec.replace(f"@{LATEST}", f"@{self._tag}", 1) if self.host.tag == LATEST else self.host.spec

    @property
    def versioned(self) -> bool:  # type: ignore[override]
        """Whether the registry declares other releases of the repository only, which keep the old bytes."""
        lines = [spec for spec in self.registered if spec.lower().startswith("github-release:")]
        tags = {other.tag for other in map(GitHubReleaseHost, lines) if other.series == self.host.series}
        return bool(tags) and self._tag not in tags

    @property
    def next_line(self) -> str:  # type: ignore[override]
        """The release for the next version of the data."""
        return self.host.spec.replace(f"@{self.host.tag}", f"@{_next_tag(self._tag)}", 1)

    # -- rights: nothing is changed to find out

    def account_name(self) -> str:
        """The user's login; an app has none."""
        user = self.api.find("user", {401, 403, 404}) or {}
        return str(user.get("login") or "an app")

    def check_record(self) -> None:
        """Ask GitHub what the repository takes, and what the token may."""
        api = self.api
        reply = api.call("GET", api.repository, accept={401, 403, 404})
        if reply.status != 200:
            reason = f"the token of {self.origin} sees no repository {self.host.repository}"
            if reply.status == 401:
                reason = f"GitHub does not know the token of {self.origin}"
            raise AccessDenied(self.at(), reason, self.remedy)
        repository = reply.json()
        if repository.get("archived"):
            raise self.error("the repository is archived and takes no releases")
        if repository.get("private"):
            reason = "the repository is private, so that users would not get the files"
            remedy = "Make it public; or upload with `gh release upload`, and register with `dataferry add --from`"
            raise self.error(reason, remedy)
        commits = api.call("GET", f"{api.repository}/commits", query={"per_page": 1}, accept={403, 404, 409})
        if commits.status == 409:
            reason = "the repository is empty, and a tag needs a commit"
            raise self.error(reason, "Push a first commit, a README for example")
        self._check_token(reply.headers.get("x-oauth-scopes"), repository)
        if self._tag == LATEST:
            if (latest := api.tagged(LATEST)) is None:
                reason = f"{self.host.repository} has no release yet that could be the latest one"
                raise self.error(reason, "Name a tag: @data-v1")
            self._tag = latest.tag

    def _check_token(self, scopes: str | None, repository: Mapping[str, Any]) -> None:
        """Only classic tokens have scopes; a repository's ``permissions`` are those of the user, not of the token."""
        if scopes is not None:
            if not repository.get("permissions", {}).get("push"):
                raise self._too_weak("its user has no write access to the repository")
            if not {scope.strip() for scope in scopes.split(",")} & {"repo", "public_repo"}:
                raise self._too_weak(f"its scopes are: {scopes or 'none'}")
            return
        # notes are computed and not kept, and it takes the same right as a release
        path, ask = f"{self.api.repository}/releases/generate-notes", {"tag_name": "dataferry-asks-for-rights"}
        reply = self.api.call("POST", path, json=ask, accept={403, 404, 422}, again=True)
        if reply.status in {403, 404}:
            raise self._too_weak(error_message(reply))

    def _too_weak(self, message: str) -> AccessDenied:
        reason = f"the token of {self.origin} may not publish releases there ({message})"
        return AccessDenied(self.at(), reason, self.remedy)

    # -- what is there

    def hosted(self, uploads: Sequence[Upload]) -> Mapping[str, HostedFile]:
        """The files in the release, in its draft and in further releases of the same data."""
        files = super().hosted(uploads)
        same = {upload.name: files[upload.name].matches(upload) for upload in uploads if upload.name in files}
        is_draft = {name: self._series[self._place[name]].draft for name in same}
        # where the registry declares the release, the plan sees whether the copy of a registered file is damaged
        strict = self.declared not in self.registered
        if other := [name for name, equal in same.items() if equal is False and (strict or is_draft[name])]:
            raise self._other_bytes(other)
        # what is in a draft without a digest cannot be compared from outside: `upload` does that
        found = {name: file for name, file in files.items() if same[name] is not None or not is_draft[name]}
        first = self._series.get(self._tag)
        new = [upload.name for upload in uploads if upload.name not in found]
        if new and first is not None and first.immutable:
            reason = f"the release {self._tag} is immutable and takes no more files, so not {new[0]}"
            raise self.error(reason, f"Publish to @{_next_tag(self._tag)}")
        return found

    @property
    def repairs(self) -> bool:  # type: ignore[override]
        """Whether assets may be deleted: not from an immutable release."""
        return not any(release.immutable for release in self._series.values())

    def may_replace(self, upload: Upload, file: DraftFile) -> bool:
        return upload.name in self.damaged

    def files_named(self, upload: Upload) -> list[DraftFile]:
        """The file in one of the releases, with these bytes or others; parts of these bytes do not make one."""
        wanted = {asset for asset, _ in pieces(upload.name, upload.size, self.host.part)}
        for tag, release in self._series.items():
            assets = release.assets_of(upload.name)
            if not {asset.name for asset in assets} < wanted:
                self._place[upload.name] = tag
                return [ReleaseFile.of(upload.name, assets, self.host.part, locators=self._locators(tag))]
        return []

    def complete_file(self, upload: Upload) -> DraftFile | None:
        return None if upload.name in self.damaged else super().complete_file(upload)

    def conflict(self, upload: Upload) -> Conflict:
        return self._other_bytes([upload.name])

    def _other_bytes(self, names: Sequence[str]) -> Conflict:
        release = self._series[self._place[names[0]]]
        remedy = f"A published file keeps its bytes: publish to @{_next_tag(release.tag)}"
        if release.draft:
            remedy = f"That draft is not public: delete the assets there, or publish to @{_next_tag(release.tag)}"
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return Conflict(self.host.redacted, f"{release.page} has other bytes under {some}", remedy)

    def _locators(self, tag: str) -> Locators:
        return {} if tag == self._tag else {self.host.locator: tag}

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
        uploads = [upload for upload in uploads if not self.problem(upload)]  # no release has space for the others
        if not uploads:
            return ()
        parts = {u.name: len(pieces(u.name, u.size, self.host.part)) for u in uploads}
        remarks = []
        if self._tag not in self._series:
            remarks.append(f"a release {self._tag} is made as a draft, and published once all files are proven")
        remarks += [f"{name} goes in {count} parts" for name, count in parts.items() if count > 1]
        counts: Counter[str] = Counter()
        for name, tag in self._placed(uploads).items():
            counts[tag] += parts[name]
        if set(counts) - {self._tag}:
            where = ", ".join(f"{count} in {tag}" for tag, count in counts.items())
            remarks.append(f"a release holds {self.most_assets} assets, of which no two differ in case only: {where}")
        return remarks

    def _placed(self, uploads: Sequence[Upload]) -> dict[str, str]:
        """The release of each file: the first one with space for it."""
        taken = {tag: set(release.assets) for tag, release in self._series.items()}
        placed: dict[str, str] = {}
        for upload in uploads:
            exact = [asset for asset, _ in pieces(upload.name, upload.size, self.host.part)]
            assets = {asset.lower() for asset in exact}
            for number in count(1):
                tag = _further_tag(self._tag, number)
                release, names = self._series.get(tag), taken.setdefault(tag, set())
                if release is not None and any(map(release.asset, exact)):
                    break
                full = len(names | assets) > self.most_assets or (release is not None and release.immutable)
                if not full and names.isdisjoint(assets | {asset_name(upload.name).lower()}):
                    break
            names |= assets
            placed[upload.name] = tag
        return placed

    # -- drafts

    def open_draft(self, uploads: Sequence[Upload]) -> None:
        """Make drafts of the releases that are not there yet."""
        self.refresh()
        self._place |= self._placed(uploads)
        for tag in dict.fromkeys(self._place[upload.name] for upload in uploads):
            if tag not in self._series:
                self._series[tag] = self._make(tag)

    def _make(self, tag: str) -> Release:
        title, body = _release_text(self.about, tag, self.at(), further=tag != self._tag)
        wanted = {"tag_name": tag, "name": title, "body": body, "draft": True}
        with self._releasing(tag):
            made = Release(self.api.json("POST", f"{self.api.repository}/releases", json=wanted))
        self.notes["drafts"] = {**self.notes.get("drafts", {}), tag: made.id}
        # another author may have made one at the same moment: both take the older
        older = self.api.series(self._tag).get(tag)
        if older is None or older.id >= made.id:
            return made
        self._drop(tag, made.id)
        return older

    def _drop(self, tag: str, draft: int) -> None:
        """Delete a draft that was made for a tag which has another release."""
        path = f"{self.api.repository}/releases/{draft}"
        if (self.api.find(path) or {}).get("draft"):
            self.api.call("DELETE", path, accept={404})
        self.notes["drafts"] = {other: kept for other, kept in self.notes["drafts"].items() if other != tag}

    def list_files(self) -> list[DraftFile]:
        """Read the releases again: an asset can only be compared with the file here, see `files_named`."""
        self._series = self.api.series(self._tag)
        for tag, draft in self.notes.get("drafts", {}).items():
            if tag in self._series and self._series[tag].id != draft:
                self._drop(tag, draft)
            elif tag not in self._series and (release := self.api.release(str(draft))) is not None:
                self._series[tag] = release  # GitHub's list may be some seconds behind
        return []

    def public_files(self) -> list[DraftFile]:
        return [file for name, file in self.verified.items() if not self._series[self._place[name]].draft]

    def publish(self) -> None:
        """Publish the drafts; the first release comes last."""
        tags = {self._place[name] for name in self.verified}
        for tag in sorted(tags, key=lambda tag: tag == self._tag):
            release = self._series[tag]
            if not release.draft:
                continue
            path = f"{self.api.repository}/releases/{release.id}"
            wanted = {"draft": False, "make_latest": "true" if self._becomes_latest(tag) else "false"}
            with self._releasing(tag):
                self.api.call("PATCH", path, json=wanted, again=True)
            release.draft = False

    def _becomes_latest(self, tag: str) -> bool:
        """A release of data takes the place of the latest one from older data only, not from the code."""
        if tag != self._tag:
            return False
        latest = self.api.tagged(LATEST)
        return latest is None or re.sub(r"[0-9][0-9.]*\Z", "", latest.tag) == re.sub(r"[0-9][0-9.]*\Z", "", tag)

    @contextmanager
    def _releasing(self, tag: str) -> Iterator[None]:
        try:
            yield
        except HostRefused as error:
            if is_status(error, 401, 403, 404):
                raise self._too_weak(error.message) from error
            reason, remedy = f"GitHub does not take the release {tag}: {error.message}", ""
            if "immutable release" in error.message:
                reason = f"an immutable release had the tag {tag} once, and GitHub never allows it again"
                remedy = f"Publish to @{_next_tag(self._tag)}"
            elif "already_exists" in error.message:
                reason = f"somebody published another release {tag} at the same time"
                remedy = "Run the same command again: the files go to that release"
            raise self.error(reason, remedy) from error

    # -- assets: what is there already, what was cut, what somebody else sends at the same time

    def send_file(self, upload: Upload, begun: DraftFile | None, notes: Notes, moved: Moved) -> DraftFile:
        """Upload the asset, or the parts that are not there yet."""
        tag = self._place[upload.name]
        release, wanted = self._series[tag], pieces_of(upload, self.host.part)
        for piece in wanted:
            there = release.asset(piece.asset)
            if there is not None and upload.name in self.damaged and not piece.is_in(there):
                # the new bytes arrive first, so that a killed run leaves one of the two
                if len(release.assets) < self.most_assets:
                    self._send_piece(release, upload, replace(piece, asset=piece.substitute), notes, moved)
                self._delete_asset(release, there)
                there = None
            substitute = release.asset(piece.substitute)
            if there is None and substitute is not None and piece.is_in(substitute) is not False:
                wanted_name = {"name": piece.asset, "label": piece.label}
                self._keep(release, read_asset(self.api.json("PATCH", substitute.key, json=wanted_name, again=True)))
            self._send_piece(release, upload, piece, notes, moved)
        if upload.name in self.damaged:  # it may have been divided in another way
            for asset in release.assets_of(upload.name):
                if asset.name not in {piece.asset for piece in wanted}:
                    self._delete_asset(release, asset)
            self.damaged.discard(upload.name)
        return DraftFile(upload.size, upload.sha256, None, self._locators(tag), upload.name, upload.name)

    def _send_piece(self, release: Release, upload: Upload, piece: Piece, notes: Notes, moved: Moved) -> None:
        silent = 0
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                time.sleep(self.pause * 2**attempt)
            found = release.asset(piece.asset)
            if found is not None and not found.complete:
                if notes.get("sending") == piece.asset or self._was_cut(release, upload, found):
                    self._delete_asset(release, found)
                found = release.asset(piece.asset)
            if found is not None:
                if piece.is_in(found) is False:
                    raise self._other_bytes([upload.name])
                return None
            notes["sending"] = piece.asset
            query = {"name": piece.asset} | ({"label": piece.label} if piece.label else {})
            try:
                with FileBody(upload.path, piece.start, piece.size, moved) as body:
                    made = self.api.json("POST", release.upload_url, body=body, query=query, timeout=self.sent_within)
                return self._check_sent(release, upload, piece, read_asset(made))
            except TransferError as error:
                failed = error
            silent += failed.kind == Reason.STALL
            if is_status(failed, 422) and "already_exists" in str(failed):
                notes["sending"] = ""  # what is there is somebody else's
            elif is_status(failed, 422) and "immutable" in str(failed):
                reason = f"the release {release.tag} became immutable and takes no more files"
                raise PublishError(self.at(upload.name), reason, f"Publish to @{_next_tag(release.tag)}")
            elif failed.final or silent == _MOST_SILENT:
                raise failed
            with self.lock:
                self.api.refresh(release)
        reason = f"it did not arrive in {_ATTEMPTS} attempts: {failed}"
        raise PublishError(self.at(upload.name), reason) from failed

    def _check_sent(self, release: Release, upload: Upload, piece: Piece, made: DraftFile) -> None:
        for _ in tries(self.digest_within, 0.3):
            if made.sha256 is not None:
                break
            made = read_asset(self.api.json("GET", made.key))
        if made.name == piece.asset and piece.is_in(made) is not False:
            return self._keep(release, made)
        self._delete_asset(release, made)
        reason = "other bytes arrived than were sent, and were removed: did the file change?"
        if made.name != piece.asset:
            reason = f"GitHub calls the asset {piece.asset} {made.name}, where users would not find it"
        raise PublishError(self.at(upload.name), reason)

    def _keep(self, release: Release, asset: DraftFile) -> None:
        with self.lock:
            others = {name: other for name, other in release.assets.items() if other.key != asset.key}
            release.assets = {**others, asset.name.lower(): asset}

    def _was_cut(self, release: Release, upload: Upload, found: DraftFile) -> bool:
        """Whether an unfinished asset is left over; what another author sends just now is waited for."""
        for _ in tries(self.others_within, 0.5, 2.0):
            reply = self.api.call("GET", found.key, accept={404})
            if reply.status == 404:
                return True
            found = read_asset(reply.json())
            if found.complete:
                self._keep(release, found)
                return False
            age = server_time(reply.headers) - datetime.fromisoformat(found.data["created_at"]).timestamp()
            if age > _CUT_AFTER:
                return True
        reason = f"somebody has been uploading it for {max(age, 0) / 60:.0f} min"
        remedy = "Run the same command again later; after an hour an incomplete upload counts as interrupted"
        raise PublishError(self.at(upload.name), reason, remedy)

    def _delete_asset(self, release: Release, asset: DraftFile) -> None:
        self.api.call("DELETE", asset.key, accept={404})
        with self.lock:
            release.assets.pop(asset.name.lower(), None)

    def delete_file(self, file: DraftFile) -> None:  # no complete asset is ever removed
        raise PublishError(self.at(file.name), "a complete file of a release is not deleted")


def _release_text(about: Mapping[str, Any], tag: str, place: str, *, further: bool) -> tuple[str, str]:
    """Title and Markdown text of a release, from ``[about]``."""
    title = str(about.get("title") or "Data files")
    lines = [str(about["description"])] if about.get("description") else []
    if people := authors(about, place):
        lines.append("Authors: " + ", ".join(author.full_name for author in people))
    known = {key: ", ".join(map(str, as_list(about[key]))) for key in ("license", "keywords") if about.get(key)}
    lines += [f"{key.capitalize()}: {value}" for key, value in known.items()]
    lines.append(
        "These are data files of a Python package, which downloads them automatically. "
        "In the names of assets `+-` stands for the slash of a folder."
    )
    if further:
        title += " (more)"
        lines.append("This release has the files that did not fit into another one.")
    return f"{title[:_LONGEST_TITLE]} ({tag})"[:250], "\n\n".join(lines)[:_LONGEST_BODY]
