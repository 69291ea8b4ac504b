"""What happens in a published folder: temporary names, copies, quotas, and the lists that several members write."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from functools import cache
from io import BufferedRandom

from ..cache.layout import own_home, stamps_of
from ..cache.stamps import Stamps, stamp_files
from ..errors import AccessDenied, BadName, PublishError
from ..files import Stamp, hash_file, read_regular, rename_noreplace, sync_folder
from ..portable import OPEN, fallocate, get_user_id, give_group, is_alive, link, lock_file
from ..registry.catalog import CATALOG, SUMS, Listed, catalog_bytes, read_catalog, read_sums, sums_with
from ..registry.names import check_name
from .base import HostedFile, Moved, Upload

with contextlib.suppress(ImportError):  # Windows, where folders are only read
    import grp
    import pwd

#: How the names of temporary files begin.
TEMPORARY = ".dataferry-"
#: The file that members lock who write the lists.
_LOCK = ".dataferry-lock"
_RESERVED = {CATALOG, SUMS, ".git", ".gitattributes", ".gitignore", "lost+found"}
#: What a published file may be: read by everybody, written by nobody.
_MODE = 0o444
_BLOCK = 1 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
#: Copies that a run left, and nobody continued in this time, are taken away.
_ABANDONED = 30 * 86400
#: A lock of another machine that is older was left by a run that died there; the lists are written in far less.
_STALE_LOCK = 30.0
_OF_A_PROCESS = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}").fullmatch


# -- what lies in a folder ---------------------------------------------------------------------------------------------


def is_reserved(name: str) -> bool:
    """Whether a name at the top, or any part of it, is not for data."""
    parts = name.split("/")
    return parts[0] in _RESERVED or any(part.startswith(TEMPORARY) or part == ".git" for part in parts)


def _stamps() -> Stamps | None:
    home = own_home()
    return stamps_of(home) if home else None


def _stamped_sha256(path: str, seen: os.stat_result) -> str | None:
    stamps = _stamps()
    stamp = stamps.read(path) if stamps else None
    return stamp.sha256 if stamp and stamp.holds(seen) else None


def files_in(root: str) -> Iterator[tuple[str, HostedFile]]:
    """The files of a folder that have legal names: sizes, and the sha256 where a stamp vouches for it."""
    for place, folders, files in os.walk(root):
        below = os.path.relpath(place, root).replace(os.sep, "/") + "/" if place != root else ""
        folders[:] = sorted(folder for folder in folders if not is_reserved(below + folder))
        for file in sorted(files):
            path = os.path.join(place, file)
            try:
                name, seen = check_name(below + file), os.stat(path)
            except (BadName, OSError):
                continue
            if stat.S_ISREG(seen.st_mode) and not is_reserved(name):
                yield name, HostedFile(seen.st_size, _stamped_sha256(path, seen))


def file_in(path: str, size: int) -> HostedFile | None:
    """One file of a folder, with its sha256 if it has this size; None if nothing is there."""
    try:
        seen = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.lexists(path):
            raise OSError(f"{path} is a link to a file that is not there") from None
        return None
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(f"{path} is no file")
    sha256 = _stamped_sha256(path, seen)
    if sha256 is None and seen.st_size == size:
        stamp = hash_file(path)
        sha256 = stamp.sha256
        if stamps := _stamps():
            stamp_files(stamps, {path: (path, stamp)})
    return HostedFile(seen.st_size, sha256)


def remember(path: str, sha256: str) -> None:
    """Keep the stamp of a file whose bytes were hashed as they were written."""
    if stamps := _stamps():
        stamp_files(stamps, {path: (path, Stamp.of(os.stat(path), sha256))}, settled=True)


# -- temporary names ---------------------------------------------------------------------------------------------------


def temporary_name() -> str:
    """A name that nobody else uses, and that shows runs on this machine when its process is no more."""
    return f"{TEMPORARY}{_machine()}-{os.getpid()}-{os.urandom(4).hex()}"


def temporary_path(folder: str) -> str:
    """A temporary name in a folder."""
    return os.path.join(folder, temporary_name())


def is_of_dead_run(name: str) -> bool:
    """Whether a temporary name was made on this machine by a process that is no more."""
    process = _OF_A_PROCESS(name)
    return process is not None and process[1] == _machine() and not is_alive(int(process[2]))


@cache
def _machine() -> str:
    """Name this machine; containers that share its name have processes of their own, and so a word of their own."""
    processes = ""
    with contextlib.suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode()).hexdigest()[:8]


def remove_temporary(folder: str, *, remove: bool = True) -> int:
    """Remove what dead runs of this user left: at once where nobody can continue it, else after a month.

    Returns the bytes of what may be continued.
    """
    kept = 0
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if not item.name.startswith(TEMPORARY) or item.name == _LOCK:
                continue
            with contextlib.suppress(OSError):
                seen = item.stat(follow_symlinks=False)
                if seen.st_uid != get_user_id():
                    continue
                if is_of_dead_run(item.name) or time.time() - seen.st_mtime > _ABANDONED:
                    if remove:
                        (os.rmdir if item.is_dir(follow_symlinks=False) else os.unlink)(item.path)
                elif seen.st_nlink == 1 and not _OF_A_PROCESS(item.name):
                    kept += getattr(seen, "st_blocks", 0) * 512
    return kept


# -- one file to its place: a temporary copy beside it, proven, then visible at once and whole -------------------------


class ChangedError(Exception):
    """The file changed since it was hashed."""


def copy_file(upload: Upload, target: str, moved: Moved) -> None:
    """Copy a file to its place; a copy that was cut is continued."""
    folder = os.path.dirname(target)
    handle, private = _open_copy(folder, upload.sha256)
    try:
        resumed = os.fstat(handle).st_size > 0
        while _fill(handle, upload, moved) != upload.sha256:
            moved(-os.fstat(handle).st_size)  # what was there was not what it seemed
            os.ftruncate(handle, 0)
            if not resumed:
                raise ChangedError
            resumed = False
        _let_everybody_read(handle, folder)
        os.fsync(handle)
        rename_noreplace(private, target)
        sync_folder(folder)
    except (FileExistsError, ChangedError):
        os.unlink(private)
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:  # others need the space more than the next run needs the copy
            os.unlink(private)
        raise
    finally:
        os.close(handle)


def _let_everybody_read(handle: int, folder: str, mode: int = _MODE) -> None:
    """Give a file the group of its folder, and a mode."""
    give_group(handle, os.stat(folder).st_gid)
    os.fchmod(handle, mode)


def _open_copy(folder: str, sha256: str) -> tuple[int, str]:
    """Open the temporary copy of these bytes; nobody else writes to it."""
    who = hashlib.sha256(f"{get_user_id()}@{socket.gethostname()}".encode()).hexdigest()[:12]
    usual = os.path.join(folder, f"{TEMPORARY}{sha256[:32]}-{who}")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | OPEN
    with contextlib.suppress(FileNotFoundError):
        seen = os.lstat(usual)
        # a killed run may have left a second name of a published file: that one is never written to
        if seen.st_nlink > 1 or not stat.S_ISREG(seen.st_mode):
            os.unlink(usual)
        else:
            os.chmod(usual, 0o600)
    handle = os.open(usual, flags, 0o600)
    with contextlib.suppress(OSError):  # another process or thread copies the same bytes here, or there are no locks
        lock_file(handle)
        mine = os.fstat(handle)
        if mine.st_nlink == 1 and os.path.samestat(mine, os.lstat(usual)):
            return handle, usual
    os.close(handle)
    once = temporary_path(folder)
    return os.open(once, flags | os.O_EXCL, 0o600), once


def _fill(handle: int, upload: Upload, moved: Moved) -> str:
    """Bring a copy to its whole length; gives the sha256 of all its bytes."""
    digest = hashlib.sha256()
    with open(upload.path, "rb") as source, open(handle, "r+b", closefd=False) as copy:
        if os.fstat(handle).st_size > upload.size:
            copy.truncate(0)
        copy.seek(0)
        while block := copy.read(_BLOCK):
            digest.update(block)
        moved(copy.tell())
        source.seek(copy.tell())
        _reserve(handle, upload.size)
        while block := source.read(_BLOCK):
            copy.write(block)
            digest.update(block)
            moved(len(block))
    return digest.hexdigest()


# -- rights, space, quotas ---------------------------------------------------------------------------------------------


def _reserve(handle: int, size: int) -> None:
    """Ask the file system for space, quotas included, before a byte is written; silent where it cannot be asked."""
    keep_size = 1
    if size and (failed := fallocate(handle, keep_size, 0, size)) in _NO_SPACE:
        raise OSError(failed, os.strerror(failed))


def check_writable(folder: str) -> None:
    """Whether this user may make files in a folder."""
    if os.access(folder, os.W_OK | os.X_OK):
        return
    seen = os.stat(folder)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise AccessDenied(folder, "the file system is mounted read-only", "run this where it can be written")
    owner, group = user_name(seen.st_uid), group_name(seen.st_gid)
    remedy = f"its owner {owner} can let the group write (chmod g+ws {folder}); you must be in the group {group}"
    raise AccessDenied(folder, f"you may not write there: {stat.filemode(seen.st_mode)} {owner} {group}", remedy)


def user_name(number: int) -> str:
    """The name of a user, or its number where it has none here."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def group_name(number: int) -> str:
    """The name of a group, or its number where it has none here."""
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


def check_space(folder: str, size: int) -> None:
    """Whether there is space in a file system, whose quotas show only when a copy reserves its own."""
    total, _, free = shutil.disk_usage(folder)
    if total and free < size:
        remedy = "free some space, and run the same command again"
        raise PublishError(folder, f"{size} bytes are needed, and {free} are free", remedy)


def failure(place: str, error: OSError, size: int = 0) -> PublishError:
    """What an error of the file system means to who publishes."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in _NO_SPACE:
        what = "the quota leaves no space" if error.errno == errno.EDQUOT else "there is no space"
        return PublishError(
            place, f"{what} for {size} bytes", "free some space, and run the same command again: complete files stay"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        where = f" ({error.filename})" if error.filename else ""
        remedy = "the folder and those in it must be writable for the group: chmod g+ws"
        return AccessDenied(place, f"{reason}{where}", remedy)
    return PublishError(place, reason)


# -- SHA256SUMS and the catalog, which several members write: no line is ever lost -------------------------------------


def list_files(root: str, files: Mapping[str, Listed], title: str) -> None:
    """Have files in both lists; an empty title leaves the one that is there."""
    for _ in range(20):
        with locked(root):
            sums, catalog = read_file(f"{root}/{SUMS}"), read_file(f"{root}/{CATALOG}")
            there, listed, old = read_sums(sums), {}, ""
            with contextlib.suppress(ValueError):
                listed, old = read_catalog(catalog), str(json.loads(catalog).get("title") or "")
            fresh = not catalog or bool(title and title != old)
            if not fresh and all(there.get(n) == f.sha256 and listed.get(n) == f for n, f in files.items()):
                return
            replace_file(f"{root}/{SUMS}", sums_with(sums, {name: file.sha256 for name, file in files.items()}))
            replace_file(f"{root}/{CATALOG}", catalog_bytes({**listed, **files}, title or old))
        # once more: on a file system whose locks do not lock, somebody may have written in between
    raise OSError(f"{SUMS} is changed by others all the time")


def read_file(path: str) -> bytes:
    """The bytes of a small file; none where there is none."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        return b""


@contextlib.contextmanager
def new_file(path: str, mode: int = _MODE, *, replace: bool = False) -> Iterator[BufferedRandom]:
    """A file that gets its name when it is whole; it takes the place of another only with `replace`."""
    folder = os.path.dirname(path)
    private = temporary_path(folder)
    try:
        with open(os.open(private, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            yield file
            file.flush()
            _let_everybody_read(file.fileno(), folder, mode)
            os.fsync(file.fileno())
        (os.replace if replace else rename_noreplace)(private, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(private)


def replace_file(path: str, data: bytes) -> None:
    """Write a list; everybody may read it, and whoever may write to the folder may rewrite it."""
    with new_file(path, 0o664, replace=True) as file:
        file.write(data)


@contextlib.contextmanager
def locked(root: str, wait: float = 120.0) -> Iterator[None]:
    """Hold the lock of a folder: a file that only one can make, on network file systems whose locks do not lock too."""
    path, private = os.path.join(root, _LOCK), temporary_path(root)
    mine = f"{os.getpid()} {socket.gethostname()} {os.urandom(6).hex()}".encode()
    end = time.monotonic() + wait
    with open(private, "xb") as file:
        file.write(mine)  # before it is the lock: whose it is can be read from its first moment
    try:
        while True:
            try:
                rename_noreplace(private, path)
                break
            except FileExistsError:
                if time.monotonic() > end:
                    raise TimeoutError(f"{path} is locked by another run") from None
                if not _break_lock(root, path, private):
                    time.sleep(random.uniform(0.005, 0.03))  # noqa: S311
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(private if os.path.lexists(private) else path if read_file(path) == mine else "")


def _break_lock(root: str, path: str, private: str) -> bool:
    """Take away the lock of a run that is no more."""
    try:
        who, made = read_file(path), os.stat(path).st_mtime
        os.utime(private)
        now = os.stat(private).st_mtime  # by the clock of the file system, which may be another machine's
    except OSError:
        return True
    pid, _, rest = who.decode(errors="replace").partition(" ")
    here = rest.partition(" ")[0] == socket.gethostname()
    dead = here and pid.isascii() and pid.isdecimal() and not is_alive(int(pid))
    if not dead and now - made < _STALE_LOCK:
        return False
    aside = temporary_path(root)
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        if read_file(aside) != who:  # somebody else was faster, and this is the lock of a third
            with contextlib.suppress(OSError):
                link(aside, path)
        os.unlink(aside)
    return True
