"""One asset on its way: what is there already, what was cut, what somebody else sends at the same time."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, HostRefused, PublishError, TransferError
from ...service import FileBody
from ..publisher import Held, Upload
from .api import Api, may_be_told, server_time
from .asset_names import asset_name, base_of, pieces
from .releases import Asset, Release

if TYPE_CHECKING:
    from . import GitHubReleaseHost

__all__ = ["Piece", "Sender", "next_tag", "there"]

_ATTEMPTS = 5
#: Seconds before the second and later attempts after a failure, times 4, 8, 16.
_PAUSE = 0.5
#: An upload that began longer ago than this, and is not complete, was cut.
_CUT_AFTER = 3600.0
#: Seconds that are waited for another author who sends the same asset.
_OTHERS_WITHIN = 60.0
#: Seconds in which GitHub tells the digest of an asset that it has.
_DIGEST_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a part of one, that becomes an asset.

    Parameters
    ----------
    upload : Upload
        The file.
    asset : str
        The asset's name.
    label : str
        What people read in its place; empty for the name itself.
    start, size : int
        Its first byte in the file, and how many there are.
    whole : bool
        Whether it is all of the file.
    """

    upload: Upload
    asset: str
    label: str
    start: int
    size: int
    whole: bool

    def sha256(self, notes: MutableMapping[str, Any]) -> str:
        """Its digest; that of a part is computed once and noted."""
        if self.whole:
            return self.upload.sha256
        known: dict[str, str] = notes.get("parts", {})
        if self.asset not in known:
            known = {**known, self.asset: _sha256_of(self.upload.path, self.start, self.size)}
            notes["parts"] = known
        return known[self.asset]


def there(release: Release, upload: Upload, part: int | None) -> Held | None:
    """What a release has of a file.

    Parameters
    ----------
    release : Release
        With its assets.
    upload : Upload
        The file.
    part : int or None
        The bytes of a part, where the declaration says so.

    Returns
    -------
    Held or None
        Only what is complete. Parts have digests of their own: they are compared with those of the file here.
    """
    wanted = pieces(upload.name, upload.size, part)
    base = asset_name(upload.name)
    others = [
        asset
        for asset in release.assets.values()
        if asset.complete and base_of(asset.name)[0] == base and asset.name not in dict(wanted)
    ]
    if others:  # divided in another way, so it has another size
        return Held(sum(asset.size for asset in others))
    found = [release.asset(name) for name, _ in wanted]
    complete = [asset for asset in found if asset is not None and asset.complete]
    if len(complete) < len(wanted):
        return None
    size = sum(asset.size for asset in complete)
    if len(wanted) == 1 or size != upload.size:
        return Held(size, complete[0].sha256 if len(wanted) == 1 else None)
    start, digests, told = 0, hashlib.sha256(), True
    same = True
    for asset, (_, each) in zip(complete, wanted, strict=True):
        digests.update(bytes.fromhex(asset.sha256 or ""))
        told = told and asset.sha256 is not None
        same = same and (asset.sha256 in {None, _sha256_of(upload.path, start, each)})
        start += each
    if same:
        return Held(size, upload.sha256 if told else None)
    return Held(size, digests.hexdigest())  # any digest but that of the file says what matters


def next_tag(tag: str) -> str:
    """A tag for the next version of the data: ``data-v2`` behind ``data-v1``."""
    found = re.search(r"[0-9]+(?=[^0-9]*\Z)", tag)
    return f"{tag[: found.start()]}{int(found[0]) + 1}{tag[found.end() :]}" if found else f"{tag}-v2"


class Sender:
    """Sends pieces to one release.

    Parameters
    ----------
    host : GitHubReleaseHost
        The host.
    api : Api
        The API, with a token that may.
    release : Release
        Where they go.
    lock : threading.Lock
        Held while the list of assets is read again.
    """

    def __init__(self, host: GitHubReleaseHost, api: Api, release: Release, lock: threading.Lock) -> None:
        self._host = host
        self._api = api
        self._release = release
        self._lock = lock

    def send(self, piece: Piece, notes: MutableMapping[str, Any], moved: Callable[[int], None]) -> None:
        """Bring a piece there, unless it is there.

        Parameters
        ----------
        piece : Piece
            The piece.
        notes : mapping
            What was noted for its file.
        moved : callable
            Is told the bytes that went.

        Raises
        ------
        Conflict
            If there are other bytes under the name.
        PublishError
            If GitHub does not take it, or it did not arrive.
        """
        sha256 = piece.sha256(notes)
        failed: Exception | None = None
        for attempt in range(_ATTEMPTS):
            found = self._release.asset(piece.asset)
            if found is not None and found.complete:
                return self._compare(piece, found, sha256)
            if found is not None:
                self._remove_cut(piece, found, notes)
                found = self._release.asset(piece.asset)
                if found is not None:
                    return self._compare(piece, found, sha256)
            if attempt > 1:
                time.sleep(_PAUSE * 2**attempt)
            notes["sending"] = piece.asset
            try:
                made = self._post(piece, moved)
            except HostRefused as error:
                if error.status < 500:
                    if error.status != 422 or "already_exists" not in error.said:
                        raise self._refused(piece, error) from error
                    notes["sending"] = ""  # what is there is somebody else's
                failed = error
            except TransferError as error:
                if error.kind == "rate":
                    raise
                failed = error
            else:
                return self._check_sent(piece, made, sha256)
            with self._lock:
                self._release.refresh(self._api)
        found = self._release.asset(piece.asset)
        if found is not None and found.complete:
            return self._compare(piece, found, sha256)
        clash = self._release.assets.get(piece.asset.lower())
        if clash is not None and clash.name != piece.asset:
            raise self._error(piece, f"GitHub has {clash.name}, and takes no names that differ in case only")
        raise self._error(piece, f"it did not arrive in {_ATTEMPTS} attempts: {failed}") from failed

    def _post(self, piece: Piece, moved: Callable[[int], None]) -> Asset:
        if not may_be_told(self._release.upload_url, self._host.server):
            raise self._error(piece, f"GitHub names {self._release.upload_url} for uploads, which is not its own")
        query = {"name": piece.asset} | ({"label": piece.label} if piece.label else {})
        head = {"Content-Type": "application/octet-stream"}
        with FileBody(piece.upload.path, piece.start, piece.size, moved) as body:
            try:
                reply = self._api.call(
                    "POST", self._release.upload_url, body=body, query=query, headers=head, timeout=300.0
                )
            except TransferError:
                moved(-body.tell())
                raise
        return Asset.told(reply.json())

    def _compare(self, piece: Piece, found: Asset, sha256: str) -> None:
        if found.size != piece.size or found.sha256 not in {None, sha256}:
            place = f"{self._host.shown}: {piece.upload.name}"
            remedy = f"publish to @{next_tag(self._release.tag)}"
            if self._release.draft:
                remedy = f"Nobody has seen that draft: delete the asset {found.name} there, or {remedy}"
            else:
                remedy = f"A published file keeps its bytes; {remedy}"
            raise Conflict(place, f"{self._release.page} has other bytes under that name", remedy)

    def _check_sent(self, piece: Piece, made: Asset, sha256: str) -> None:
        end = time.monotonic() + _DIGEST_WITHIN
        while made.sha256 is None and time.monotonic() < end:
            time.sleep(0.5)
            made = Asset.told(self._api.call("GET", made.url).json())
        if made.name == piece.asset and made.complete and made.size == piece.size and made.sha256 in {None, sha256}:
            self._keep(made)
            return
        self._delete(made)
        if made.name != piece.asset:
            raise self._error(piece, f"GitHub calls the asset {piece.asset} {made.name}, where nobody would find it")
        raise self._error(piece, "other bytes arrived than were sent, and were removed: did the file change?")

    def _remove_cut(self, piece: Piece, found: Asset, notes: MutableMapping[str, Any]) -> None:
        """Remove what was cut; but wait for what another author sends just now."""
        end = time.monotonic() + _OTHERS_WITHIN
        while notes.get("sending") != piece.asset:
            reply = self._api.call("GET", found.url, accept={404})
            if reply.status == 404:
                break
            found = Asset.told(reply.json())
            if found.complete:
                self._keep(found)
                return
            age = server_time(reply) - datetime.fromisoformat(found.begun).timestamp()
            if age > _CUT_AFTER:
                break
            if time.monotonic() > end:
                raise self._error(
                    piece,
                    f"somebody has been uploading it for {max(age, 0) / 60:.0f} min",
                    "Run the same command again later; what is not complete after an hour is taken as cut",
                )
            time.sleep(1)
        self._delete(found)

    def _keep(self, asset: Asset) -> None:
        with self._lock:
            self._release.assets[asset.name.lower()] = asset

    def _delete(self, asset: Asset) -> None:
        self._api.call("DELETE", asset.url, accept={404})
        with self._lock:
            self._release.assets.pop(asset.name.lower(), None)

    def _refused(self, piece: Piece, error: HostRefused) -> PublishError | HostRefused:
        if error.status in {401, 403}:
            return error
        tag = self._release.tag
        if "immutable" in error.said:
            reason = f"the release {tag} became immutable and takes no more files"
            return self._error(piece, reason, f"Publish to @{next_tag(tag)}")
        if "file_count" in error.said:
            reason = f"the release {tag} has as many assets as it may"
            return self._error(piece, reason, "Run the same command again: the rest goes to a further release")
        return self._error(piece, f"GitHub does not take it: {error.said}")

    def _error(self, piece: Piece, reason: str, remedy: str = "") -> PublishError:
        return PublishError(f"{self._host.shown}: {piece.upload.name}", reason, remedy)


def _sha256_of(path: Path, start: int, size: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        while size > 0:
            block = file.read(min(1 << 20, size))
            if not block:
                break
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
