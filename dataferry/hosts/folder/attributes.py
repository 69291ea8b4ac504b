"""``.gitattributes`` of a published folder: which files git-lfs tracks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

from ...errors import PublishError
from ..git import Git
from .lists import replace
from .pointers import TRACK, by_name, by_suffix

__all__ = ["ATTRIBUTES", "track"]

ATTRIBUTES = ".gitattributes"


def track(git: Git, root: str, there: bytes, names: Collection[str]) -> bytes:
    """Have git-lfs track files: their suffixes, or the file alone where it has none.

    Parameters
    ----------
    git : Git
        Runs in the folder.
    root : str
        The folder.
    there : bytes
        What the repository's newest ``.gitattributes`` holds.
    names : collection of str
        The files.

    Returns
    -------
    bytes
        What ``.gitattributes`` holds now, in the folder and for the next commit: all lines of both.

    Raises
    ------
    PublishError
        If another line keeps a file from being tracked.
    """
    path = os.path.join(root, ATTRIBUTES)
    lines = there.decode(errors="surrogateescape").splitlines()
    lines += [line for line in _read(path).decode(errors="surrogateescape").splitlines() if line not in lines]
    data = _write(path, lines)
    for pattern in (by_suffix, by_name):
        missing = _not_tracked(git, names)
        new = dict.fromkeys(f"{pattern(name)} {TRACK}" for name in missing if pattern(name))
        if new:
            lines += new
            data = _write(path, lines)
    missing = _not_tracked(git, names)
    if missing:
        said = f"a line of .gitattributes keeps git-lfs from tracking {missing[0]!r}"
        raise PublishError(git.place, said, f"change {path} by hand, and run this again")
    return data


def _read(path: str) -> bytes:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read()
    return b""


def _write(path: str, lines: list[str]) -> bytes:
    data = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    if data != _read(path):
        replace(path, data)
    return data


def _not_tracked(git: Git, names: Collection[str]) -> list[str]:
    told = "".join(f"{name}\0" for name in names).encode()
    said = git.run("check-attr", "-z", "--stdin", "filter", told=told).out.decode().split("\0")
    return [name for name, value in zip(said[::3], said[2::3], strict=False) if value != "lfs"]
