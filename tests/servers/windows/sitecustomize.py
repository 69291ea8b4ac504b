"""The standard library as Windows has it, for the modules of dataferry alone: the tests themselves keep all of it.

A Python that finds this file on its path has for dataferry no ``fcntl``, ``pwd`` or ``resource``, an ``os`` without the
functions of POSIX, descriptors that are text unless they are opened as binary, and files that cannot be renamed or
removed as long as this process has them open.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import os
import pathlib
import struct
import sys
import types

_MISSING_MODULES = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"}
_MISSING = [
    *["chown", "chroot", "copy_file_range", "fchmod", "fchown", "fdatasync", "fork", "forkpty", "getegid", "geteuid"],
    *[
        "getgid",
        "getgroups",
        "getpgid",
        "getpgrp",
        "getpriority",
        "getsid",
        "getuid",
        "kill",
        "killpg",
        "lchown",
    ],
    *["lockf", "mkfifo", "mknod", "nice", "openpty", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate"],
    *["posix_spawn", "pread", "preadv", "pwrite", "pwritev", "register_at_fork", "sched_getaffinity", "sched_yield"],
    *["sendfile", "set_blocking", "setsid", "splice", "statvfs", "sync", "tcgetpgrp", "ttyname", "uname"],
    *["wait", "wait3", "wait4", "waitid"],
]
_FLAGS = ["O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_SYNC"]
_BINARY = 1 << 29


def _copy(module: types.ModuleType) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update(module.__dict__)
    return copy


windows = _copy(os)
for name in (*_MISSING, *_FLAGS):
    windows.__dict__.pop(name, None)
windows.O_BINARY = _BINARY
_text: set[int] = set()


def _check_length(path):
    if len(os.path.abspath(path)) > 259:  # the limit unless long paths are enabled, and the error that Windows gives
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified", os.fspath(path))


def _open(path, flags, mode=0o777, **rest):
    _check_length(path)
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "a folder cannot be opened", path)
    fd = os.open(path, flags & ~_BINARY | os.O_CLOEXEC, mode, **rest)
    (_text.discard if flags & _BINARY else _text.add)(fd)
    return fd


def _close(fd):
    _text.discard(fd)
    os.close(fd)


def _write(fd, data):
    if fd in _text and b"\n" in bytes(data):
        raise AssertionError("the line ends of a descriptor that is not opened as binary are changed")
    return os.write(fd, data)


def _read(fd, count):
    data = os.read(fd, count)
    if fd in _text and b"\n" in data:
        raise AssertionError("the line ends of a descriptor that is not opened as binary are changed")
    return data


def _refuse_open(path):
    full = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    for fd in os.listdir("/proc/self/fd"):
        try:
            there = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if there == full or there.startswith(full + "/"):
            raise PermissionError(errno.EACCES, "it is open in this process", os.fspath(path))


def _rename(source, target):
    _check_length(target)
    _refuse_open(source)
    if os.path.isdir(source):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "there is such a file", os.fspath(target))
        os.rename(source, target)
    else:  # Windows looks for the name and gives it in one step
        os.link(source, target)
        os.unlink(source)


def _replace(source, target):
    _check_length(target)
    _refuse_open(source)
    _refuse_open(target)
    os.replace(source, target)


def _unlink(path, **rest):
    if not rest:
        _refuse_open(path)
    os.unlink(path, **rest)


def _link(source, target, **rest):
    _check_length(target)
    os.link(source, target, **rest)


def _symlink(source, target, target_is_directory=False):
    raise OSError(errno.EPERM, "A required privilege is not held by the client", os.fspath(source))


windows.link, windows.symlink = _link, _symlink
windows.open, windows.close, windows.write, windows.read = _open, _close, _write, _read
windows.rename, windows.replace, windows.unlink, windows.remove = _rename, _replace, _unlink, _unlink

msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_UNLCK, msvcrt.LK_LOCK, msvcrt.LK_NBLCK = 0, 1, 2


def _locking(fd, mode, count):
    kind = fcntl.F_UNLCK if mode == msvcrt.LK_UNLCK else fcntl.F_WRLCK
    request = struct.pack("hhqqi", kind, os.SEEK_CUR, 0, count, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if mode == msvcrt.LK_LOCK else fcntl.F_OFD_SETLK, request)


msvcrt.locking = _locking

windows_ctypes = _copy(ctypes)


def _cdll(name, *args, **options):
    if name is None:
        raise TypeError("LoadLibrary() argument 1 must be str, not None")
    return ctypes.CDLL(name, *args, **options)


windows_ctypes.CDLL = _cdll

_INSTEAD = {"os": windows, "ctypes": windows_ctypes, "msvcrt": msvcrt}
_import = builtins.__import__


def _is_ours(scope) -> bool:
    name = (scope or {}).get("__name__", "")
    return name.partition(".")[0] == "dataferry" and not name.startswith("dataferry.testing")


def _import_as_on_windows(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002
    if level == 0 and _is_ours(globals):
        if name in _MISSING_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in _INSTEAD:
            return _INSTEAD[name]
    return _import(name, globals, locals, fromlist, level)


builtins.__import__ = _import_as_on_windows


def _method(name, as_on_windows):
    real = getattr(pathlib.Path, name)

    def method(self, *args, **options):
        if _is_ours(sys._getframe(1).f_globals):
            return as_on_windows(self, *args, **options)
        return real(self, *args, **options)

    setattr(pathlib.Path, name, method)


def _path_unlink(path, missing_ok=False):
    try:
        _unlink(path)
    except FileNotFoundError:
        if not missing_ok:
            raise


def _path_rename(path, target):
    _rename(path, target)
    return path.with_segments(target) if hasattr(path, "with_segments") else type(path)(target)


def _path_replace(path, target):
    _replace(path, target)
    return path.with_segments(target) if hasattr(path, "with_segments") else type(path)(target)


_method("unlink", _path_unlink)
_method("rename", _path_rename)
_method("replace", _path_replace)
