"""Files that become visible under another name: what they are called, and what dead runs left of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import time
from functools import lru_cache

from ...files import is_alive

__all__ = ["LOCK", "PRIVATE", "private_name", "private_path", "tidy"]

#: How the names of private files begin.
PRIVATE = ".dataferry-"
#: The file that members lock who write the lists.
LOCK = ".dataferry-lock"
#: Private copies that a run left, and nobody continued in this time, are taken away.
_ABANDONED = 30 * 86400
_OF_A_PROCESS = re.compile(re.escape(PRIVATE) + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}").fullmatch


def private_name() -> str:
    """A name that nobody else uses, and that tells runs on this machine when its process is no more."""
    return f"{PRIVATE}{_machine()}-{os.getpid()}-{os.urandom(4).hex()}"


def private_path(folder: str) -> str:
    """A private name in a folder."""
    return os.path.join(folder, private_name())


@lru_cache(maxsize=1)
def _machine() -> str:
    """Name this machine; containers that share its name have processes of their own, and so a word of their own."""
    processes = ""
    with contextlib.suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode()).hexdigest()[:8]


def tidy(folder: str) -> int:
    """Take away what dead runs of this user left in a folder: at once where nobody can continue it, else after a while.

    Parameters
    ----------
    folder : str
        The folder.

    Returns
    -------
    int
        The bytes of what may be continued.
    """
    kept = 0
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if not item.name.startswith(PRIVATE) or item.name == LOCK:
                continue
            with contextlib.suppress(OSError):
                seen = item.stat(follow_symlinks=False)
                if seen.st_uid != os.getuid():
                    continue
                if _is_of_the_dead(item.name) or time.time() - seen.st_mtime > _ABANDONED:
                    (os.rmdir if item.is_dir(follow_symlinks=False) else os.unlink)(item.path)
                elif seen.st_nlink == 1 and not _OF_A_PROCESS(item.name):
                    kept += seen.st_blocks * 512
    return kept


def _is_of_the_dead(name: str) -> bool:
    found = _OF_A_PROCESS(name)
    return found is not None and found[1] == _machine() and not is_alive(int(found[2]))
