"""What a release has of a file, compared with the file here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Conflict
from ..base import HostedFile, Upload
from .asset_names import asset_name, base_of, pieces
from .releases import Release

if TYPE_CHECKING:
    from . import GitHubReleaseHost

__all__ = ["Piece", "next_tag", "other_bytes", "there"]


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


def there(release: Release, upload: Upload, part: int | None) -> HostedFile | None:
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
    HostedFile or None
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
        return HostedFile(sum(asset.size for asset in others))
    found = [release.asset(name) for name, _ in wanted]
    complete = [asset for asset in found if asset is not None and asset.complete]
    if len(complete) < len(wanted):
        return None
    size = sum(asset.size for asset in complete)
    if len(wanted) == 1 or size != upload.size:
        return HostedFile(size, complete[0].sha256 if len(wanted) == 1 else None)
    start, digests, told = 0, hashlib.sha256(), True
    same = True
    for asset, (_, each) in zip(complete, wanted, strict=True):
        digests.update(bytes.fromhex(asset.sha256 or ""))
        told = told and asset.sha256 is not None
        same = same and (asset.sha256 in {None, _sha256_of(upload.path, start, each)})
        start += each
    if same:
        return HostedFile(size, upload.sha256 if told else None)
    return HostedFile(size, digests.hexdigest())  # any digest but that of the file says what matters


def next_tag(tag: str) -> str:
    """A tag for the next version of the data: ``data-v2`` behind ``data-v1``."""
    found = re.search(r"[0-9]+(?=[^0-9]*\Z)", tag)
    return f"{tag[: found.start()]}{int(found[0]) + 1}{tag[found.end() :]}" if found else f"{tag}-v2"


def other_bytes(host: GitHubReleaseHost, release: Release, names: Sequence[str]) -> Conflict:
    """The error where a release has other bytes under names that are to be published."""
    remedy = f"A published file keeps its bytes: publish to @{next_tag(release.tag)}"
    if release.draft:
        remedy = f"Nobody has seen that draft: delete the assets there, or publish to @{next_tag(release.tag)}"
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Conflict(host.redacted, f"{release.page} has other bytes under {some}", remedy)


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
