"""Names that cannot stand beside each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from ..errors import BadName, DataferryError

__all__ = ["clashes"]


def clashes(names: Iterable[str], registered: Iterable[str]) -> list[DataferryError]:
    """Names that would be one file on some disks, or a file and a folder at once.

    Parameters
    ----------
    names : iterable of str
        The names to publish.
    registered : iterable of str
        The names that the registry has.

    Returns
    -------
    list of DataferryError
        One for each clash.
    """
    wanted = list(names)
    every = list(dict.fromkeys([*wanted, *registered]))
    if not wanted:
        return []
    folded: dict[str, list[str]] = {}
    for name in every:
        folded.setdefault(_fold(name), []).append(name)
    folders = {name[:at] for name in every for at, c in enumerate(name) if c == "/"}
    new = set(wanted)
    found: list[DataferryError] = [
        BadName(f"{' and '.join(map(repr, same))} are one file on disks that ignore case: rename one of them")
        for same in folded.values()
        if len(same) > 1 and new & set(same)
    ]
    found += [
        BadName(f"{name!r} is a file and the folder of {_below(name, every)!r}: rename one of them")
        for name in every
        if name in folders and (name in new or any(other.startswith(f"{name}/") for other in wanted))
    ]
    return found


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _below(name: str, names: Iterable[str]) -> str:
    return next(other for other in names if other.startswith(f"{name}/"))
