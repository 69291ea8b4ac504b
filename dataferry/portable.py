"""What Windows, macOS and some file systems lack, with something in its place.

Windows has no ``fcntl``, ``os.pread``, ``os.getuid`` or ``os.statvfs``, translates the line ends of a descriptor that
is not opened as binary, and ends a process that ``os.kill(pid, 0)`` only means to look at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

#: Flags of `os.open` for each file: its bytes as they are, and nothing that a child process inherits.
OPEN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
#: The same for a file that ought to be regular: a FIFO of that name must not let the reader hang.
REGULAR = OPEN | getattr(os, "O_NONBLOCK", 0)
#: Windows, which has no numbers of users either, renames and removes no file that is open.
MOVES_OPEN_FILES = hasattr(os, "getuid")
#: Windows lets nobody read the bytes that are locked, so the byte is one that no file has.
_LOCKED_BYTE = 0x7FFFFFFE
_LONGEST_PATH = 260
_MANY_DESCRIPTORS = 1 << 12
if not hasattr(os, "pread"):
    import threading

    _seeking = threading.Lock()
#: What Windows lets no name of a file have; its devices are files of every folder, whatever their suffix.
_ILLEGAL = r'[\x00-\x1f<>:"|?*\\%]|[. ](?=/|$)'
_DEVICE = r"(?i)(^|/)(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?=[./]|$)"


def file_name(name: str) -> str:
    """The relative path for a name of a registry: the name itself, quoted on Windows where it cannot be one there."""
    return name if MOVES_OPEN_FILES else quoted_for_windows(name)


def quoted_for_windows(name: str) -> str:
    """A name whose characters, ends and devices Windows cannot have are quoted as in a URL."""
    quoted = re.sub(_ILLEGAL, lambda found: f"%{ord(found[0]):02X}", name)
    return re.sub(_DEVICE, lambda found: f"{found[1]}%{ord(found[2][0]):02X}{found[2][1:]}", quoted)


def registered_name(path: str) -> str:
    """The name of a registry for a relative path that `file_name` gave."""
    from urllib.parse import unquote

    return path if MOVES_OPEN_FILES else unquote(path)


def too_long(path: str) -> str:
    """Why Windows does not make a file, if its path is the reason: 260 characters are too many for most programs."""
    if MOVES_OPEN_FILES or len(path) < _LONGEST_PATH:
        return ""
    return (
        f"a path of {len(path)} characters, and Windows takes {_LONGEST_PATH - 1} unless long paths are enabled there"
    )


def lock_file(fd: int, *, wait: bool = False) -> None:
    """Lock an open file against other processes that do the same; raises `OSError` if it is locked or cannot be."""
    fcntl: Any
    msvcrt: Any
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    with contextlib.suppress(ImportError):
        import msvcrt

        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        return
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def read_at(fd: int, count: int, at: int) -> bytes:
    """Read from a position, in any thread."""
    if hasattr(os, "pread"):
        return os.pread(fd, count, at)
    with _seeking:
        os.lseek(fd, at, os.SEEK_SET)
        return os.read(fd, count)


def read_into(fd: int, into: memoryview, at: int) -> int:
    """Read from a position into a buffer, in any thread."""
    if hasattr(os, "preadv"):
        return os.preadv(fd, (into,), at)
    data = read_at(fd, len(into), at)
    into[: len(data)] = data
    return len(data)


def write_at(fd: int, data: bytes | memoryview, at: int) -> int:
    """Write to a position, in any thread."""
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, at)
    with _seeking:
        os.lseek(fd, at, os.SEEK_SET)
        return os.write(fd, data)


def after_fork(function: Callable[[], object]) -> None:
    """Have a function called in forked children, where processes fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def symlink(target: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Make a symbolic link; raises `OSError` where there are none."""
    try:
        os.symlink(target, path)
    except (AttributeError, NotImplementedError):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), os.fspath(path)) from None


def link(path: str, other: str) -> None:
    """Give a file a second name; raises `OSError` where it can have none."""
    try:
        if os.link in os.supports_follow_symlinks:
            os.link(path, other, follow_symlinks=False)
        else:
            os.link(path, other)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), other) from None


def give_group(path: int | str, group: int) -> None:
    """Give a file to a group, where there are groups; who is not in it cannot."""
    with contextlib.suppress(AttributeError, OSError):
        os.chown(path, -1, group)


def get_user_id() -> int:
    """The number of the user, which `os.stat` gives for the user's files; 0 on Windows, where each file has that."""
    return os.getuid() if hasattr(os, "getuid") else 0


@lru_cache(maxsize=16)
def libc_function(name: str) -> Callable[..., int] | None:
    """A function of the C library; it sets ``ctypes.get_errno()``. None where there is none."""
    import ctypes

    try:
        return getattr(ctypes.CDLL(None, use_errno=True), name, None)
    except (OSError, TypeError):  # Windows has no library of the process itself
        return None


def fallocate(fd: int, mode: int, start: int, count: int) -> int:
    """Reserve or free space as Linux does: 0, or the number of an error.

    `os.posix_fallocate` writes zeros where the file system reserves nothing, and changes the size of the file.
    """
    import ctypes

    function = libc_function("fallocate64") or libc_function("fallocate")
    if function is None or not sys.platform.startswith("linux"):
        return errno.ENOSYS
    failed = function(fd, mode, ctypes.c_longlong(start), ctypes.c_longlong(count))
    return ctypes.get_errno() if failed else 0


def begin_writing_back(fd: int, start: int, count: int) -> None:
    """Have Linux write a part of a file to the disk meanwhile, so that a later flush has little left to do."""
    import ctypes

    function = libc_function("sync_file_range")
    if function is not None:
        function(fd, ctypes.c_longlong(start), ctypes.c_longlong(count), 2)  # SYNC_FILE_RANGE_WRITE


def free_descriptors() -> int:
    """How many more files and connections this process may have open: a shell of macOS gives 256 to each process."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        few = 0 <= limit < _MANY_DESCRIPTORS  # -1 is no limit
        return limit - len(os.listdir("/dev/fd")) if few else _MANY_DESCRIPTORS
    except (ImportError, OSError):  # Windows, or no /dev
        return _MANY_DESCRIPTORS


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs, whosever it is: False only if it has ended for sure."""
    if not hasattr(os, "getuid"):
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's, or no number of a process
    return True


def _is_alive_on_windows(pid: int) -> bool:
    import ctypes

    query, no_such_process, still_active = 0x1000, 87, 259
    load: Any = getattr(ctypes, "WinDLL", None)
    if load is None:
        return True
    kernel = load("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    kernel.GetExitCodeProcess.argtypes = ctypes.c_void_p, ctypes.c_void_p
    kernel.CloseHandle.argtypes = (ctypes.c_void_p,)
    handle: int | None = kernel.OpenProcess(query, False, pid)
    if not handle:
        return bool(getattr(ctypes, "get_last_error")() != no_such_process)  # noqa: B009 - only Windows has it
    code = ctypes.c_uint32()
    found = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not found or code.value == still_active
