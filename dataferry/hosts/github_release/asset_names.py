"""A file's name as the name of a release asset, and back.

GitHub keeps letters and digits of ASCII and ``. _ - + @`` in the name of an asset, and writes anything else as a dot,
several dots as one, and drops dots at both ends. So that no two names meet:

* a slash is ``+-``: ``maps/dust.fits`` is the asset ``maps+-dust.fits``;
* other characters are the hexadecimal digits of their UTF-8 between ``+_`` and ``_``: ``50 GHz.fits`` is the asset
  ``50+_20_GHz.fits``;
* all other names stay as they are.
"""

from __future__ import annotations

import re

from ...errors import BadName
from ...registry.names import check_name

__all__ = ["LONGEST_ASSET", "PART_BYTES", "WHOLE_BYTES", "asset_name", "base_of", "file_name", "part_sizes", "pieces"]

#: The most characters of an asset's name that are known to be kept.
LONGEST_ASSET = 255
#: The most bytes of an asset: it has to be smaller than 2 GiB.
WHOLE_BYTES = 2**31 - 1
#: The bytes of each part, but the last, of a file that is larger.
PART_BYTES = 1900 * 2**20

_TO_HIDE = re.compile(
    r"(?:[^A-Za-z0-9._+@/-]"
    r"|\+(?=-|_(?:[0-9a-f]{2})+_)"  # would read as one of the signs above
    r"|^\.|(?<=\.)\.|\.\Z"
    r"|\.(?=part\d{2,}-of-\d{2,}\Z)"  # would read as a part of another file
    r")+"
)
_SIGN = re.compile(r"\+-|\+_((?:[0-9a-f]{2})+)_")
_PART = re.compile(r"(.+)\.part(\d{2,})-of-(\d{2,})\Z", re.DOTALL)


def asset_name(name: str) -> str:
    """The asset that holds a file, or the first part of what its parts are called.

    Parameters
    ----------
    name : str
        The file's name.

    Returns
    -------
    str
        Made of what GitHub keeps as it is.
    """
    return _TO_HIDE.sub(lambda found: f"+_{found[0].encode().hex()}_", name).replace("/", "+-")


def file_name(asset: str) -> str | None:
    """The file that an asset holds.

    Parameters
    ----------
    asset : str
        The asset's name.

    Returns
    -------
    str or None
        The file's name; None where no name leads to this asset.
    """
    try:
        name = _SIGN.sub(lambda found: bytes.fromhex(found[1]).decode() if found[1] else "/", asset)
        return name if asset_name(check_name(name)) == asset else None
    except (BadName, UnicodeDecodeError):
        return None


def base_of(asset: str) -> tuple[str, int, int]:
    """Take the number of a part from an asset's name.

    Parameters
    ----------
    asset : str
        The asset's name.

    Returns
    -------
    (str, int, int)
        The name without it, which part it is, of how many; both 0 for an asset that is no part.
    """
    found = _PART.match(asset)
    return (found[1], int(found[2]), int(found[3])) if found else (asset, 0, 0)


def part_sizes(size: int | None, part: int | None) -> list[int]:
    """How a file is divided.

    Parameters
    ----------
    size : int or None
        Its bytes; None where they are not known.
    part : int or None
        The bytes of a part, where the declaration says so.

    Returns
    -------
    list of int
        The bytes of each part; empty for a file that is kept whole.
    """
    if size is None or size <= (part or WHOLE_BYTES):
        return []
    each = part or PART_BYTES
    return [each] * (size // each) + ([size % each] if size % each else [])


def pieces(name: str, size: int | None, part: int | None) -> list[tuple[str, int]]:
    """The assets of a file.

    Parameters
    ----------
    name : str
        The file's name.
    size : int or None
        Its bytes; None where they are not known.
    part : int or None
        The bytes of a part, where the declaration says so.

    Returns
    -------
    list of (str, int)
        Names of assets in order, each with its bytes; 0 bytes where they are not known.
    """
    asset, sizes = asset_name(name), part_sizes(size, part)
    if not sizes:
        return [(asset, size or 0)]
    wide = max(2, len(str(len(sizes))))
    return [(f"{asset}.part{i:0{wide}}-of-{len(sizes):0{wide}}", each) for i, each in enumerate(sizes, 1)]
