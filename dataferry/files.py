"""Files on disk: their hashes and stamps, and how a private file gets its public name in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .errors import WrongBytes

__all__ = [
    "Digests",
    "Stamp",
    "Stamps",
    "hash_file",
    "hash_files",
    "is_alive",
    "make_folders",
    "rename_if_free",
    "sha256_file",
    "stamp_of",
    "sync_folder",
]

_BLOCK = 1 << 20
#: A file changed less than this before it was hashed may change again without its times showing it.
_SETTLED_NS = 2_000_000_000


def sha256_file(path: str | os.PathLike[str], seen: Callable[[int], object] | None = None) -> str:
    """The sha256 of a file.

    Parameters
    ----------
    path : path-like
        The file.
    seen : callable, optional
        Is told the bytes of each block; what it raises ends the hashing.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            if seen is not None:
                seen(count)
    return digest.hexdigest()


class Stamp(NamedTuple):
    """What proves that a file is still the one that was hashed.

    Parameters
    ----------
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change in nanoseconds.
    inode : int
        The file's inode.
    sha256 : str
        What the hash was.
    """

    size: int
    mtime_ns: int
    inode: int
    sha256: str

    def holds(self, stat: os.stat_result) -> bool:
        """Whether a file with this `os.stat` result is the one that was hashed."""
        return self.size == stat.st_size and self.mtime_ns == stat.st_mtime_ns and self.inode == stat.st_ino


def stamp_of(path: str | os.PathLike[str], sha256: str | None = None) -> Stamp:
    """Hash a file and make its stamp.

    Parameters
    ----------
    path : path-like
        The file.
    sha256 : str, optional
        The hash, where the caller has just computed it from the bytes that it wrote.

    Returns
    -------
    Stamp
        The file's stamp.

    Raises
    ------
    OSError
        If the file cannot be read, or changed while it was read.
    """
    before = os.stat(path)
    found = sha256 or sha256_file(path)
    after = os.stat(path)
    stamp = Stamp(after.st_size, after.st_mtime_ns, after.st_ino, found)
    if not stamp.holds(before):
        raise OSError(f"{os.fspath(path)} changed while it was read")
    return stamp


class Stamps:
    """Stamps kept on disk, one small file each, named after the path that they vouch for.

    Parameters
    ----------
    root : path-like
        The folder that holds them. It is made when the first stamp is kept.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)

    def _file(self, path: str) -> str:
        key = hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()
        return f"{self.root}/{key[:2]}/{key[2:]}"

    def read(self, path: str) -> Stamp | None:
        """The stamp of a path, or None where there is none or it cannot be read."""
        try:
            with open(self._file(path), encoding="utf-8") as file:
                size, mtime_ns, inode, sha256, of = file.read().rstrip("\n").split(" ", 4)
            return Stamp(int(size), int(mtime_ns), int(inode), sha256) if of == path else None
        except (OSError, ValueError):
            return None

    def keep(self, path: str, stamp: Stamp, *, settled: bool = False) -> bool:
        """Keep a stamp.

        Parameters
        ----------
        path : str
            The path that it vouches for: absolute, or relative to the folder of a cache.
        stamp : Stamp
            Its stamp.
        settled : bool
            True where nobody but dataferry writes this file. Elsewhere a file that changed within the last two seconds
            is not stamped: it could change again within the resolution of its times.

        Returns
        -------
        bool
            Whether it was kept; False as well where the folder cannot be written.
        """
        if not settled and time.time_ns() - stamp.mtime_ns < _SETTLED_NS:
            return False
        target = Path(self._file(path))
        private = target.with_name(f"{target.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            private.write_text(
                f"{stamp.size} {stamp.mtime_ns} {stamp.inode} {stamp.sha256} {path}\n",
                encoding="utf-8",
            )
            os.replace(private, target)
        except (OSError, UnicodeEncodeError):
            with contextlib.suppress(OSError):
                private.unlink()
            return False
        return True

    def forget(self, path: str) -> None:
        """Drop the stamp of a path, if there is one."""
        try:
            os.unlink(self._file(path))
        except OSError:
            return


_POINTER = b"version https://git-lfs.github.com/spec/"


class Digests(NamedTuple):
    """What a file was when it was read.

    Parameters
    ----------
    size : int
        Bytes.
    sha256, md5 : str
        Hexadecimal digits in lower case; `md5` is empty where nobody asked for it.
    mtime_ns, inode : int
        Time of its last change in nanoseconds, and its inode.
    """

    size: int
    sha256: str
    md5: str
    mtime_ns: int
    inode: int

    def holds(self, stat: os.stat_result) -> bool:
        """Whether a file with this `os.stat` result is still the one that was read."""
        return (self.size, self.mtime_ns, self.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def hash_file(path: Path, *, md5: bool = False, seen: Callable[[int], object] | None = None) -> Digests:
    """Read a file once and take its digests.

    Parameters
    ----------
    path : Path
        The file.
    md5 : bool
        Whether some host wants its md5 as well.
    seen : callable, optional
        Is told the bytes of each block; what it raises ends the reading.

    Returns
    -------
    Digests
        What the file is.

    Raises
    ------
    WrongBytes
        If it cannot be read, changes while it is read, or is a git-lfs pointer.
    """
    strong, quick = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    first = True
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                if first and buffer.startswith(_POINTER):
                    raise WrongBytes(f"{path} is a git-lfs pointer, not the file itself: run git lfs pull first")
                first = False
                strong.update(view[:count])
                if md5:
                    quick.update(view[:count])
                if seen is not None:
                    seen(count)
        after = os.stat(path)
    except WrongBytes:
        raise
    except OSError as error:
        raise WrongBytes(f"{path}: {error.strerror or error}") from error
    found = Digests(
        after.st_size, strong.hexdigest(), quick.hexdigest() if md5 else "", after.st_mtime_ns, after.st_ino
    )
    if not found.holds(before):
        raise WrongBytes(f"{path} changed while it was read")
    return found


def hash_files(
    files: Mapping[str, Path], *, md5: bool = False, show: bool = True
) -> tuple[dict[str, Digests], dict[str, WrongBytes]]:
    """Read files in threads, with a bar where a terminal watches and it takes a while.

    Parameters
    ----------
    files : mapping of str to Path
        Name -> file.
    md5 : bool
        Whether some host wants their md5 as well.
    show : bool
        Whether there may be a bar.

    Returns
    -------
    (dict of str to Digests, dict of str to WrongBytes)
        What was read, and what could not be; both in the order of `files`.
    """
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event, Lock

    from tqdm import tqdm

    stopped, lock = Event(), Lock()
    hidden = not (show and sys.stderr.isatty())
    total = sum(map(_size, files.values()))
    with tqdm(total=total, unit="B", unit_scale=True, desc="hashing", leave=False, delay=0.5, disable=hidden) as bar:

        def seen(count: int) -> None:
            if stopped.is_set():
                raise InterruptedError("stopped")
            with lock:
                bar.update(count)

        def one(path: Path) -> Digests | WrongBytes:
            try:
                return hash_file(path, md5=md5, seen=seen)
            except WrongBytes as error:
                return error

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            try:
                found = dict(zip(files, pool.map(one, files.values()), strict=True))
            except BaseException:
                stopped.set()  # Ctrl-C does not wait for the end of a large file
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return (
        {name: result for name, result in found.items() if isinstance(result, Digests)},
        {name: result for name, result in found.items() if isinstance(result, WrongBytes)},
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


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


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs, whosever it is.

    Parameters
    ----------
    pid : int
        Its number.

    Returns
    -------
    bool
        False only if it has ended for sure.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's, or no number of a process
    return True
