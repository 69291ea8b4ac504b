"""The assets of a release on GitHub: their names, the files that they hold, and the parts of large files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import BadName
from ..registry.names import check_name
from .api_client import FileBody
from .base import Upload
from .deposit import DraftFile

# GitHub keeps letters and digits of ASCII and ". _ - + @" in the name of an asset, and writes anything else as a dot,
# several dots as one, and drops dots at both ends. So that no two names meet, a slash is "+-", and other characters are
# the hexadecimal digits of their UTF-8 between "+_" and "_": "50 GHz.fits" is the asset "50+_20_GHz.fits".

#: The most characters of an asset's name that are known to be kept.
LONGEST_ASSET = 255
#: The most bytes of an asset: it has to be smaller than 2 GiB.
LARGEST_ASSET = 2**31 - 1
#: The bytes of each part, but the last, of a file that is larger.
_PART_BYTES = 1900 * 2**20
#: Of a file: 1,000 assets in each of 100 releases.
_MOST_PARTS = 100_000

_TO_HIDE = re.compile(
    r"(?:[^A-Za-z0-9._+@/-]"
    r"|\+(?=-|_(?:[0-9a-f]{2})+_)"  # would read as one of the signs above
    r"|^\.|(?<=\.)\.|\.\Z"
    r"|\.(?=part\d{2,}-of-\d{2,}\Z)"  # would read as a part of another file
    r")+"
)
_SIGN = re.compile(r"\+-|\+_((?:[0-9a-f]{2})+)_")
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})\Z")
_PART = re.compile(r"(.+)\.part(\d{2,})-of-(\d{2,})\Z", re.DOTALL)


def asset_name(name: str) -> str:
    """The asset that holds a file, or what the names of its parts begin with."""
    return _TO_HIDE.sub(lambda found: f"+_{found[0].encode().hex()}_", name).replace("/", "+-")


def file_name(asset: str) -> str | None:
    """The file that an asset holds; None where no name leads to this asset."""
    try:
        name = _SIGN.sub(lambda found: bytes.fromhex(found[1]).decode() if found[1] else "/", asset)
        return name if asset_name(check_name(name)) == asset else None
    except (BadName, UnicodeDecodeError):
        return None


def _base_of(asset: str) -> str:
    """The name of an asset without the number of a part."""
    found = _PART.match(asset)
    return found[1] if found else asset


def pieces(name: str, size: int | None, part: int | None) -> list[tuple[str, int]]:
    """The assets of a file in order, each with its bytes (0 where they are not known)."""
    asset, each = asset_name(name), part or _PART_BYTES
    if size is None or size <= (part or LARGEST_ASSET):
        return [(asset, size or 0)]
    if size > _MOST_PARTS * each:
        raise BadName(f"{name!r} with {size} bytes has more than {_MOST_PARTS} parts of {each} bytes")
    sizes = [each] * (size // each) + ([size % each] if size % each else [])
    wide = max(2, len(str(len(sizes))))
    return [(f"{asset}.part{i:0{wide}}-of-{len(sizes):0{wide}}", size) for i, size in enumerate(sizes, 1)]


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a part of one, that becomes an asset; people read the label in place of its name."""

    asset: str
    label: str
    start: int
    size: int
    sha256: str

    @property
    def substitute(self) -> str:
        """The asset that takes the place of a damaged one; no name leads to it, as its dot needs no sign."""
        return f"new+_2e_{self.sha256[:32]}"

    def is_in(self, asset: DraftFile) -> bool | None:
        """Whether an asset has these bytes; None if GitHub reports no digest."""
        if not asset.complete or asset.size != self.size:
            return False
        return None if asset.sha256 is None else asset.sha256 == self.sha256


@lru_cache(maxsize=1024)
def pieces_of(upload: Upload, part: int | None) -> list[Piece]:
    """What becomes of a file: one asset, or parts with digests of their own."""
    wanted, start, found = pieces(upload.name, upload.size, part), 0, []
    for number, (asset, size) in enumerate(wanted, 1):
        label, sha256 = "" if asset == upload.name else upload.name, upload.sha256
        if len(wanted) > 1:
            label = f"{upload.name}, part {number} of {len(wanted)}"
            with FileBody(upload.path, start, size) as body:
                sha256 = hashlib.file_digest(body, "sha256").hexdigest()
        found.append(Piece(asset, label, start, size, sha256))
        start += size
    return found


def read_asset(item: Mapping[str, Any]) -> DraftFile:
    """An asset, with its address as the key. One whose upload was cut stays, incomplete and empty."""
    digest = _SHA256.match(item.get("digest") or "")
    sha256 = digest[1].lower() if digest else None  # older assets have none
    complete = item["state"] == "uploaded"
    return DraftFile(int(item["size"]), sha256, name=item["name"], key=item["url"], complete=complete, data=item)


@dataclass(frozen=True, slots=True)
class ReleaseFile(DraftFile):
    """A file of a release: an asset, or the parts that it is divided into. ``part`` is their size."""

    assets: Sequence[DraftFile] = ()
    part: int | None = None

    @classmethod
    def of(cls, name: str, assets: Sequence[DraftFile], part: int | None, **known: Any) -> ReleaseFile:
        """The file that these assets are; ``known`` are its locators and the login for it."""
        size, sha256 = sum(asset.size or 0 for asset in assets), assets[0].sha256 if len(assets) == 1 else None
        return cls(size, sha256, name=name, key=name, assets=assets, part=part, **known)

    @property
    def is_whole(self) -> bool:
        """Whether no part is missing, and each has the size that readers expect."""
        with suppress(BadName):
            return [(asset.name, asset.size) for asset in self.assets] == pieces(self.name, self.size, self.part)
        return False

    def matches(self, upload: Upload) -> bool | None:
        """Parts have digests of their own, and are compared with those of the local file."""
        if self.size != upload.size:
            return False
        same = {piece.is_in(asset) for piece, asset in zip(pieces_of(upload, self.part), self.assets, strict=False)}
        return False if False in same else None if None in same else True


class Release:
    """A release; its assets by name in lower case, since to GitHub names that differ in case only are the same."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.id, self.tag, self.page = int(item["id"]), str(item["tag_name"]), str(item["html_url"])
        self.draft = bool(item["draft"])
        self.immutable = bool(item.get("immutable")) and not self.draft
        self.upload_url = str(item["upload_url"]).partition("{")[0]
        self.assets: dict[str, DraftFile] = {}

    def asset(self, name: str) -> DraftFile | None:
        """The asset of exactly this name, complete or not."""
        found = self.assets.get(name.lower())
        return found if found is not None and found.name == name else None

    def complete_assets(self, prefix: str = "") -> dict[str, list[DraftFile]]:
        """The complete assets in order, by the name that they have without the number of a part."""
        groups: dict[str, list[DraftFile]] = {}
        found = [asset for asset in self.assets.values() if asset.complete and asset.name.startswith(prefix)]
        for asset in sorted(found, key=lambda asset: asset.name):
            groups.setdefault(_base_of(asset.name), []).append(asset)
        return groups

    def assets_of(self, name: str) -> list[DraftFile]:
        """The complete assets of a file in order, however it was divided."""
        asset = asset_name(name)
        return self.complete_assets(asset).get(asset, [])

    def files(self, part: int | None, **known: Any) -> list[DraftFile]:
        """The files that it has; assets that no name leads to, and files with a missing part, are left out."""
        named = [(file_name(base), assets) for base, assets in self.complete_assets().items()]
        files = [ReleaseFile.of(name, assets, part, **known) for name, assets in named if name]
        return [file for file in files if file.is_whole]
