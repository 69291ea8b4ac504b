"""One asset on its way: what is there already, what was cut, what somebody else sends at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...download.backoff import tries
from ...errors import HostRefused, PublishError, TransferError
from ..api_client import FileBody
from .api import Api, may_be_told, server_time
from .comparing import Piece, next_tag, other_bytes
from .releases import Asset, Release

if TYPE_CHECKING:
    from . import GitHubReleaseHost

__all__ = ["Sender"]

_ATTEMPTS = 5
#: Seconds before the second and later attempts after a failure, times 4, 8, 16.
_PAUSE = 0.5
#: An upload that began longer ago than this, and is not complete, was cut.
_CUT_AFTER = 3600.0
#: Seconds that are waited for another author who sends the same asset.
_OTHERS_WITHIN = 60.0
#: Seconds in which GitHub tells the digest of an asset that it has.
_DIGEST_WITHIN = 10.0


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
        HostedFile while the list of assets is read again.
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
            raise other_bytes(self._host, self._release, [piece.upload.name])

    def _check_sent(self, piece: Piece, made: Asset, sha256: str) -> None:
        for _ in tries(_DIGEST_WITHIN, 0.3):
            if made.sha256 is not None:
                break
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
        if notes.get("sending") == piece.asset or self._was_cut(piece, found):
            self._delete(found)

    def _was_cut(self, piece: Piece, found: Asset) -> bool:
        for _ in tries(_OTHERS_WITHIN, 0.5, 2.0):
            reply = self._api.call("GET", found.url, accept={404})
            if reply.status == 404:
                return True
            found = Asset.told(reply.json())
            if found.complete:
                self._keep(found)
                return False
            age = server_time(reply) - datetime.fromisoformat(found.begun).timestamp()
            if age > _CUT_AFTER:
                return True
        raise self._error(
            piece,
            f"somebody has been uploading it for {max(age, 0) / 60:.0f} min",
            "Run the same command again later; what is not complete after an hour is taken as cut",
        )

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
        return PublishError(f"{self._host.redacted}: {piece.upload.name}", reason, remedy)
