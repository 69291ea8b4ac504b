"""What lies in a published folder."""

from __future__ import annotations

import os
import stat

from ...cache.layout import own_home, stamps_of
from ...cache.stamps import Stamps, stamp_files
from ...errors import BadName
from ...files import Stamp, hash_file
from ...registry.checksum_lists import CATALOG, SUMS
from ...registry.names import check_name
from ..base import HostedFile
from .private import PRIVATE

__all__ = ["file_in", "files_in", "is_ours", "remember"]

_OURS = {CATALOG, SUMS, ".git", ".gitattributes", ".gitignore", "lost+found"}


def is_ours(name: str) -> bool:
    """Whether a name at the top, or any part of it, is not for data."""
    parts = name.split("/")
    return parts[0] in _OURS or any(part.startswith(PRIVATE) or part == ".git" for part in parts)


def files_in(folder: str) -> dict[str, HostedFile]:
    """The files of a folder with their sizes, and the sha256 where a stamp vouches for it.

    Parameters
    ----------
    folder : str
        The published folder.

    Returns
    -------
    dict of str to HostedFile
        By name; what has a name that dataferry does not allow is left out.
    """
    stamps = _stamps()
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not is_ours(_below(folder, place, f)))
        for file in sorted(files):
            name, path = _below(folder, place, file), os.path.join(place, file)
            try:
                check_name(name)
                seen = os.stat(path)
            except (BadName, OSError):
                continue
            if not is_ours(name) and stat.S_ISREG(seen.st_mode):
                stamp = stamps.read(path) if stamps else None
                found[name] = HostedFile(seen.st_size, stamp.sha256 if stamp and stamp.holds(seen) else None)
    return found


def file_in(path: str, size: int) -> HostedFile | None:
    """One file of a folder.

    Parameters
    ----------
    path : str
        Where it would be.
    size : int
        With how many bytes its sha256 is worth knowing.

    Returns
    -------
    HostedFile or None
        None if nothing is there.

    Raises
    ------
    OSError
        If what is there is no file, or cannot be read.
    """
    try:
        seen = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.lexists(path):
            raise OSError(f"{path} is a link to a file that is not there") from None
        return None
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(f"{path} is no file")
    if seen.st_size != size:
        return HostedFile(seen.st_size)
    stamps = _stamps()
    stamp = stamps.read(path) if stamps else None
    if stamp is None or not stamp.holds(seen):
        stamp = hash_file(path)
        if stamps:
            stamp_files(stamps, {path: (path, stamp)})
    return HostedFile(stamp.size, stamp.sha256)


def remember(path: str, sha256: str) -> None:
    """Keep the stamp of a file whose bytes were read back after they were written."""
    stamps = _stamps()
    if stamps:
        stamp_files(stamps, {path: (path, Stamp.of(os.stat(path), sha256))}, settled=True)


def _below(folder: str, place: str, file: str) -> str:
    return os.path.relpath(os.path.join(place, file), folder).replace(os.sep, "/")


def _stamps() -> Stamps | None:
    home = own_home()
    return stamps_of(home) if home else None
