"""``SHA256SUMS`` and the catalog of a folder in which several members publish: no line is ever lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ...files import is_alive, rename_noreplace
from ...registry.checksum_lists import CATALOG, SUMS, Listed, catalog_bytes, read_catalog, read_sums, sums_with
from .private import LOCK, private_path

__all__ = ["list_files", "locked", "replace"]

#: A lock of another machine that is older was left by a run that died there; the lists are written in far less.
_STALE = 30.0
_ROUNDS = 20


def list_files(root: str, files: Mapping[str, Listed], title: str) -> None:
    """Have files in both lists.

    Parameters
    ----------
    root : str
        The published folder.
    files : mapping of str to Listed
        What lies in it now.
    title : str
        What the data are called; empty leaves the title that is there.

    Raises
    ------
    OSError
        If a list cannot be written.
    """
    for _ in range(_ROUNDS):
        with locked(root):
            sums, catalog = _read(root, SUMS), _read(root, CATALOG)
            there, listed, old = read_sums(sums), {}, ""
            with contextlib.suppress(ValueError):
                listed, old = read_catalog(catalog), str(json.loads(catalog).get("title") or "")
            fresh = not catalog or bool(title and title != old)
            if not fresh and all(there.get(n) == f.sha256 and listed.get(n) == f for n, f in files.items()):
                return
            replace(f"{root}/{SUMS}", sums_with(sums, {name: file.sha256 for name, file in files.items()}))
            replace(f"{root}/{CATALOG}", catalog_bytes({**listed, **files}, title or old))
        # once more: on a file system whose locks do not lock, somebody may have written in between
    raise OSError(f"{SUMS} is changed by others all the time")


def _read(root: str, name: str) -> bytes:
    try:
        with open(f"{root}/{name}", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def replace(path: str, data: bytes) -> None:
    """Write a list by one rename; everybody may read it, and whoever may write to the folder may write it anew.

    Parameters
    ----------
    path : str
        The list.
    data : bytes
        What it is to hold.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder = os.path.dirname(path)
    private = private_path(folder)
    try:
        with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), -1, os.stat(folder).st_gid)
            os.fchmod(file.fileno(), 0o664)
            os.fsync(file.fileno())
        os.replace(private, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(private)


@contextmanager
def locked(root: str, wait: float = 120.0) -> Iterator[None]:
    """Hold the lock of a folder.

    It is a file that only one can make, since that holds on network file systems whose locks do not.

    Parameters
    ----------
    root : str
        The published folder.
    wait : float
        Seconds to wait for it.

    Raises
    ------
    OSError
        If it cannot be had.
    """
    path = os.path.join(root, LOCK)
    mine = f"{os.getpid()} {socket.gethostname()} {os.urandom(6).hex()}".encode()
    end = time.monotonic() + wait
    private = private_path(root)
    with open(private, "xb") as file:
        file.write(mine)  # before it is the lock: whose it is can be read from its first moment
    try:
        while True:
            try:
                rename_noreplace(private, path)
                break
            except FileExistsError:
                if time.monotonic() > end:
                    raise TimeoutError(f"{path} is held by another run") from None
                if not _take_away(root, path):
                    time.sleep(random.uniform(0.005, 0.03))  # noqa: S311
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(private if os.path.lexists(private) else path if _content(path) == mine else "")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(300)


def _take_away(root: str, path: str) -> bool:
    """Take away the lock of a run that is no more."""
    try:
        who, made = _content(path), os.stat(path)
    except OSError:
        return True
    pid, _, rest = who.decode(errors="replace").partition(" ")
    here = rest.partition(" ")[0] == socket.gethostname()
    dead = here and pid.isascii() and pid.isdecimal() and not is_alive(int(pid))
    if not dead and (abs(time.time() - made.st_mtime) < _STALE / 2 or _now(root) - made.st_mtime < _STALE):
        return False
    aside = private_path(root)
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        if _content(aside) != who:  # somebody else was faster, and this is the lock of a third
            with contextlib.suppress(OSError):
                os.link(aside, path)
        os.unlink(aside)
    return True


def _now(root: str) -> float:
    """The time by the clock of the file system, which may be another machine's."""
    private = private_path(root)
    try:
        with open(private, "xb"):
            return os.stat(private).st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            os.unlink(private)
