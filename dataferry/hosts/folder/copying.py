"""One file into a published folder: a private copy beside its place, proven, then visible at once and whole."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...files import rename_noreplace, sync_folder
from .private import PRIVATE, private_path

if TYPE_CHECKING:
    from ..base import Upload

__all__ = ["Changed", "copy_in", "reserve"]

#: What a published file may be: read by everybody, written by nobody.
MODE = 0o444
_STEP = 32 << 20
_BLOCK = 1 << 20
#: What a kernel or file system answers that cannot copy between these two files.
_UNABLE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY, errno.EIO}
)
_KEEP_SIZE = 1


class Changed(Exception):
    """The file changed since it was hashed."""


def copy_in(upload: Upload, target: str, moved: Callable[[int], None]) -> None:
    """Copy a file to its place; a copy that was cut is continued.

    Parameters
    ----------
    upload : Upload
        The file.
    target : str
        Its place, in a folder that is there.
    moved : callable
        Is told the bytes that went.

    Raises
    ------
    FileExistsError
        If something has that name.
    Changed
        If the file is not the one that was hashed.
    OSError
        If it could not be written.
    """
    folder = os.path.dirname(target)
    handle, private = _private(folder, upload.sha256)
    try:
        resumed = os.fstat(handle).st_size > 0
        while _fill(handle, upload, moved) != upload.sha256:
            os.ftruncate(handle, 0)
            if not resumed:
                raise Changed
            moved(-upload.size)  # what was there was not what it seemed
            resumed = False
        with contextlib.suppress(PermissionError):  # who is not in the group cannot give away
            os.fchown(handle, -1, os.stat(folder).st_gid)
        os.fchmod(handle, MODE)
        os.fsync(handle)
        rename_noreplace(private, target)
        sync_folder(folder)
    except (FileExistsError, Changed):
        os.unlink(private)
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:  # others need the room more than the next run needs the copy
            os.unlink(private)
        raise
    finally:
        os.close(handle)


def _private(folder: str, sha256: str) -> tuple[int, str]:
    """Open the private copy of these bytes; nobody else writes to it."""
    who = hashlib.sha256(f"{os.getuid()}@{socket.gethostname()}".encode()).hexdigest()[:12]
    usual = os.path.join(folder, f"{PRIVATE}{sha256[:32]}-{who}")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            seen = os.lstat(usual)
            # a killed run may have left a second name of a published file: that one is never written to
            if seen.st_nlink > 1 or not stat.S_ISREG(seen.st_mode):
                os.unlink(usual)
            else:
                os.chmod(usual, 0o600)
        handle = os.open(usual, flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(handle)
            if mine.st_nlink == 1 and os.path.samestat(mine, os.lstat(usual)):
                return handle, usual
        except OSError:  # another process or thread copies the same bytes here, or there are no locks
            os.close(handle)
            break
        os.close(handle)
    once = private_path(folder)
    return os.open(once, flags | os.O_EXCL, 0o600), once


def _fill(handle: int, upload: Upload, moved: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with open(upload.path, "rb", buffering=0) as source:
        if os.fstat(source.fileno()).st_size != upload.size:
            raise Changed
        there = os.fstat(handle).st_size
        if there > upload.size:
            os.ftruncate(handle, 0)
            there = 0
        _hash(handle, 0, there, digest.update)
        moved(there)
        reserve(handle, upload.size)
        by_kernel = hasattr(os, "copy_file_range")
        at = there
        while at < upload.size:
            count = 0
            if by_kernel:
                try:
                    count = os.copy_file_range(source.fileno(), handle, min(_STEP, upload.size - at), at, at)
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise
                by_kernel = count > 0
            if count:
                _hash(handle, at, at + count, digest.update)  # from the cache of the system, where it just went
            else:
                block = os.pread(source.fileno(), min(_BLOCK, upload.size - at), at)
                if not block:
                    raise Changed
                count = os.pwrite(handle, block, at)
                digest.update(block[:count])
            at += count
            moved(count)
        if os.fstat(source.fileno()).st_size != upload.size:
            raise Changed
    return digest.hexdigest()


def _hash(handle: int, start: int, end: int, update: Callable[[bytes], None]) -> None:
    while start < end:
        block = os.pread(handle, min(_BLOCK, end - start), start)
        if not block:
            return
        update(block)
        start += len(block)


def reserve(handle: int, size: int) -> None:
    """Ask the file system for room, quotas included, before a byte is written; silent where it cannot be asked.

    Parameters
    ----------
    handle : int
        A file that is open for writing.
    size : int
        How large it will be.

    Raises
    ------
    OSError
        If there is no room.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    allocate = getattr(libc, "fallocate64", None)
    if allocate is None or size == 0:
        return
    allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if allocate(handle, _KEEP_SIZE, 0, size) and ctypes.get_errno() in {errno.ENOSPC, errno.EDQUOT}:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
