"""Files on disk: their hash and stamp, and how one gets its name in a single step.

What is renamed is what was hashed, and a stamp is kept only for bytes that are on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .errors import WrongBytes
from .portable import OPEN, give_group, libc_function, link, lock_file, symlink

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    _AnyPath = TypeVar("_AnyPath", str, Path)

_BLOCK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/"


class Stamp(NamedTuple):
    """What proves that a file is still the one that was hashed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    #: Empty where nobody asked for it.
    md5: str = ""

    def holds(self, now: os.stat_result) -> bool:
        """Whether a file with this `os.stat` result is the one that was hashed."""
        return (
            self.size == now.st_size
            and self.mtime_ns == now.st_mtime_ns
            and self.ctime_ns == now.st_ctime_ns  # `cp -p` and `tar --mtime` put the mtime back
            and self.inode == now.st_ino
        )

    @classmethod
    def of(cls, now: os.stat_result, sha256: str, md5: str = "") -> Stamp:
        """The stamp of a file with this `os.stat` result."""
        return cls(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, sha256, md5)


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file that somebody named; an `OSError` also for a FIFO or device, whose end might never come."""
    mode = os.stat(path).st_mode
    endless = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    if endless and not os.path.samefile(path, os.devnull):
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    with open(path, "rb") as file:
        return file.read()


def hash_file(
    path: str | os.PathLike[str], *, md5: bool = False, on_bytes: Callable[[int], object] | None = None
) -> Stamp:
    """Read a file once; raises `WrongBytes`, an `OSError`, if it cannot be read or changes while it is read."""
    import hashlib

    strong, quick = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                strong.update(view[:count])
                if md5:
                    quick.update(view[:count])
                if on_bytes is not None:
                    on_bytes(count)
        after = os.stat(path)
    except InterruptedError:
        raise
    except OSError as error:
        raise WrongBytes(f"{os.fspath(path)}: {error.strerror or error}") from error
    stamp = Stamp.of(after, strong.hexdigest(), quick.hexdigest() if md5 else "")
    if not stamp.holds(before):
        raise WrongBytes(f"{os.fspath(path)} changed while it was read")
    return stamp


def hash_files(
    files: Mapping[str, Path], *, md5: bool = False, show: bool = True
) -> tuple[dict[str, Stamp], dict[str, WrongBytes]]:
    """Read an author's files in threads, with a bar on a terminal: what was read, and what cannot be published."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event, Lock

    from tqdm import tqdm

    stopped, lock = Event(), Lock()
    hidden = not (show and sys.stderr.isatty())
    total = sum(map(_size, files.values()))
    with tqdm(total=total, unit="B", unit_scale=True, desc="hashing", leave=False, delay=0.5, disable=hidden) as bar:

        def on_bytes(count: int) -> None:
            if stopped.is_set():
                raise InterruptedError("stopped")
            with lock:
                bar.update(count)

        def one(path: Path) -> Stamp | WrongBytes:
            try:
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if file.read(len(_POINTER)) == _POINTER:
                        return WrongBytes(f"{path} is a git-lfs pointer, not the file itself: run git lfs pull first")
                return hash_file(path, md5=md5, on_bytes=on_bytes)
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
        {name: result for name, result in found.items() if isinstance(result, Stamp)},
        {name: result for name, result in found.items() if isinstance(result, WrongBytes)},
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# -- names ------------------------------------------------------------------------------------------

#: Where neither hard links nor an exclusive rename are available.
_UNABLE = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.ENOTTY, errno.EXDEV}
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN
_AT_FDCWD = -100
_NOREPLACE = 1
#: What every private name begins with that `put_atomically` makes.
PRIVATE = ".dataferry-"


def write_new(path: str, data: bytes, *, sync: bool = False) -> None:
    """Write a file that is not there yet, with the rights that the umask gives; raises `OSError` where it is."""
    handle = os.open(path, _NEW, 0o666)
    try:
        done = os.write(handle, data)
        while done < len(data):  # an interrupted or nearly full disk
            done += os.write(handle, data[done:])
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def put_atomically(
    path: str | os.PathLike[str], data: bytes, *, sync: bool = False, like: os.stat_result | None = None
) -> None:
    """Write a whole file and give it its name, in place of what has that name now; with group and mode of another."""
    path = os.fspath(path)
    private = os.path.join(os.path.dirname(path), f"{PRIVATE}{os.urandom(6).hex()}")
    try:
        write_new(private, data, sync=sync)
        if like is not None:
            give_group(private, like.st_gid)
            os.chmod(private, stat.S_IMODE(like.st_mode))
        os.replace(private, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(private)
        raise
    if sync:
        sync_folder(os.path.dirname(path))


def put_content(content: str | os.PathLike[str] | bytes, path: _AnyPath) -> _AnyPath:
    """Give bytes, or a private file of the same file system, their name in a single step; that name."""
    if isinstance(content, bytes):
        put_atomically(path, content)
    else:
        os.replace(content, path)
    return path


def is_private(name: str) -> bool:
    """Whether a name is one that `put_atomically` makes."""
    return re.fullmatch(re.escape(PRIVATE) + "[0-9a-f]{12}", name) is not None


def remove_private(folder: str, older_than: float = 3600.0) -> None:
    """Remove what `put_atomically` left in a folder where it was killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_private(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > older_than:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def rename_noreplace(private: str, public: str) -> None:
    """Give a private file or folder its name; raises `FileExistsError` if something has that name."""
    for rename in (_exclusive_rename, _link):
        try:
            rename(private, public)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
        else:
            return
    _rename_while_locked(private, public)


def _exclusive_rename(private: str, public: str) -> None:
    import ctypes

    if os.name == "nt":  # where a rename takes no name that is in use
        os.rename(private, public)
        return
    names = os.fsencode(private), os.fsencode(public)
    rename = libc_function("renamex_np" if sys.platform == "darwin" else "renameat2")
    if rename is None:  # a libc without it
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if sys.platform == "darwin":
        status = rename(*names, 4)
    else:
        status = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _NOREPLACE)
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), private, None, public)


def _link(private: str, public: str) -> None:
    if stat.S_ISDIR(os.lstat(private).st_mode):
        raise OSError(errno.EPERM, "folders have no second name", private)
    link(private, public)
    os.unlink(private)


def _rename_while_locked(private: str, public: str) -> None:
    # the last resort: it excludes those who do the same, as far as the file system's locks do
    folder = -1
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(public), os.O_RDONLY)
        lock_file(folder, wait=True)
    try:
        if os.path.lexists(public):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), public)
        os.rename(private, public)
    finally:
        if folder >= 0:
            os.close(folder)


def make_folders(root: str, path: str, private: str) -> None:
    """Make the folders from a root to a path, each with group and rights of the one above from its first moment.

    ``private`` is a name that nobody else uses, for a folder that is not visible yet.
    """
    if path == root or os.path.isdir(path):
        return
    above = os.path.dirname(path)
    make_folders(root, above, private)
    mine = os.path.join(above, private)
    with contextlib.suppress(FileExistsError):  # of a run that was killed here
        os.mkdir(mine, 0o700)
    like = os.stat(above)
    give_group(mine, like.st_gid)
    os.chmod(mine, stat.S_IMODE(like.st_mode) | stat.S_IRWXU)
    try:
        rename_noreplace(mine, path)
        sync_folder(above)
    except FileExistsError:
        with contextlib.suppress(OSError):
            os.rmdir(mine)
        if not os.path.isdir(path):
            raise


# -- the disk, and other processes ------------------------------------------------------------------

#: More files than this share one flush of their file system.
_FLUSHED_ONE_BY_ONE = 16


def sync_folder(path: str) -> None:
    """Have a folder's new names on disk; what cannot be synced is left."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


#: The bytes and the size; times may be older after a power cut, and the stamp does not hold then.
_flush = getattr(os, "fdatasync", os.fsync)


def sync_files(paths: Iterable[str]) -> set[str]:
    """Have the bytes of files on disk; those of which that is certain."""
    paths = list(paths)
    if len(paths) > _FLUSHED_ONE_BY_ONE and (done := _sync_file_systems(paths)):
        return done
    done = set()
    for path in paths:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                _flush(handle)
            finally:
                os.close(handle)
            done.add(path)
    return done


def _sync_file_systems(paths: list[str]) -> set[str]:
    """Flush each file system once: 2,000 files of 20 KB take 0.04 s, and 0.4 s one by one."""
    flush = libc_function("syncfs")
    if flush is None:  # macOS
        return set()
    devices: dict[int, list[str]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            devices.setdefault(os.stat(path).st_dev, []).append(path)
    done: set[str] = set()
    for several in devices.values():
        with contextlib.suppress(OSError):
            handle = os.open(several[0], os.O_RDONLY)
            try:
                if flush(handle) == 0:
                    done.update(several)
            finally:
                os.close(handle)
    return done


def place_files(paths: Mapping[str, str], folder: str, *, links: bool = True) -> list[str]:
    """Put files under their names below a folder: links, or copies where there are none or none are wanted."""
    placed = []
    for name, path in paths.items():
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        source = os.path.realpath(path)
        placed.append(target)
        if links and os.path.lexists(target) and os.path.realpath(target) == source:
            continue
        private = f"{target}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            if links:
                with contextlib.suppress(OSError):
                    symlink(source, private)
            if not os.path.lexists(private):
                from shutil import copyfile

                copyfile(source, private)
            os.replace(private, target)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(private)
    return placed
