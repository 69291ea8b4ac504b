"""Before a file goes into a folder, and when it could not: rights, room, quotas."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat

from ...errors import AccessDenied, PublishError
from .copying import reserve
from .private import private_path

__all__ = ["check_room", "check_writable", "failure"]


def check_writable(folder: str) -> None:
    """Whether this user may make files in a folder.

    Parameters
    ----------
    folder : str
        A folder that is there.

    Raises
    ------
    AccessDenied
        If not; it says who can change that.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        return
    seen = os.stat(folder)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise AccessDenied(folder, "the file system is mounted read-only", "run this where it can be written")
    owner, group = _names(seen)
    remedy = f"its owner {owner} can let the group write (chmod g+ws {folder}); you must be in the group {group}"
    raise AccessDenied(folder, f"you may not write there: {stat.filemode(seen.st_mode)} {owner} {group}", remedy)


def check_room(folder: str, size: int) -> None:
    """Whether there is room in a file system, within the quota.

    Parameters
    ----------
    folder : str
        A folder of it.
    size : int
        How many bytes are to go there.

    Raises
    ------
    PublishError
        If there is not so much.
    """
    there = os.statvfs(folder)
    free = there.f_bavail * there.f_frsize
    if there.f_blocks and free < size:
        said = f"{size} bytes are to go there, and {free} are free"
        raise PublishError(folder, said, "make room, and run this again")
    place = private_path(folder)
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.unlink(place)  # nothing of it stays, whatever happens
            reserve(handle, size)
        finally:
            os.close(handle)
    except OSError as error:
        raise failure(folder, error, size) from error


def failure(place: str, error: OSError, size: int = 0) -> PublishError:
    """What an error of the file system means to who publishes.

    Parameters
    ----------
    place : str
        The folder or file.
    error : OSError
        What happened.
    size : int
        How many bytes were to go there.

    Returns
    -------
    PublishError
        To be raised.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        what = "the quota does not leave room" if error.errno == errno.EDQUOT else "there is no room"
        return PublishError(place, f"{what} for {size} bytes", "make room, and run this again: whole files stay")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        where = f" ({error.filename})" if error.filename else ""
        remedy = "the folder and those in it must be writable for the group: chmod g+ws"
        return AccessDenied(place, f"{(error.strerror or str(error)).lower()}{where}", remedy)
    return PublishError(place, (error.strerror or str(error)).lower())


def _names(seen: os.stat_result) -> tuple[str, str]:
    owner, group = str(seen.st_uid), str(seen.st_gid)
    with contextlib.suppress(KeyError):
        owner = pwd.getpwuid(seen.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(seen.st_gid).gr_name
    return owner, group
