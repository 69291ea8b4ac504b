"""A private file or folder gets its public name in one step, and never takes the place of another."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import sys
from functools import lru_cache

__all__ = ["make_folders", "rename_if_free", "sync_folder"]

#: Where neither hard links nor an exclusive rename are to be had.
_UNABLE = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.ENOTTY, errno.EXDEV}
)
_AT_FDCWD = -100
_NOREPLACE = 1


def rename_if_free(private: str, public: str) -> None:
    """Give a private file or folder its name.

    Parameters
    ----------
    private : str
        What has the name now, in the same folder.
    public : str
        The name.

    Raises
    ------
    FileExistsError
        If something has that name.
    OSError
        If it cannot be done.
    """
    for way in (_exclusive_rename, _link):
        try:
            way(private, public)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
        else:
            return
    _rename_while_locked(private, public)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _exclusive_rename(private: str, public: str) -> None:
    names = os.fsencode(private), os.fsencode(public)
    try:
        if sys.platform == "darwin":
            status = _libc().renamex_np(*names, 4)
        else:
            status = _libc().renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _NOREPLACE)
    except AttributeError:  # another libc
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), private, None, public)


def _link(private: str, public: str) -> None:
    if stat.S_ISDIR(os.lstat(private).st_mode):
        raise OSError(errno.EPERM, "folders have no second name", private)
    os.link(private, public, follow_symlinks=False)
    os.unlink(private)


def _rename_while_locked(private: str, public: str) -> None:
    # the last resort: it excludes those who do the same, as far as the file system's locks do
    folder = os.open(os.path.dirname(public), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(public):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), public)
        os.rename(private, public)
    finally:
        os.close(folder)


def sync_folder(path: str) -> None:
    """Have a folder's new names on disk; what cannot be synced is left."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folders(root: str, path: str, private: str) -> None:
    """Make the folders between a root and a path, each with group and rights of the one above from its first moment.

    Parameters
    ----------
    root : str
        A folder that is there.
    path : str
        The root, or a folder below it.
    private : str
        A name for a folder that is not visible yet; nobody else uses it.

    Raises
    ------
    OSError
        If one cannot be made.
    """
    if path == root or os.path.isdir(path):
        return
    above = os.path.dirname(path)
    make_folders(root, above, private)
    mine = os.path.join(above, private)
    with contextlib.suppress(FileExistsError):  # of a run that was killed here
        os.mkdir(mine, 0o700)
    like = os.stat(above)
    with contextlib.suppress(PermissionError):  # who is not in the group cannot give away
        os.chown(mine, -1, like.st_gid)
    os.chmod(mine, stat.S_IMODE(like.st_mode) | stat.S_IRWXU)
    try:
        rename_if_free(mine, path)
        sync_folder(above)
    except FileExistsError:
        with contextlib.suppress(OSError):
            os.rmdir(mine)
        if not os.path.isdir(path):
            raise
