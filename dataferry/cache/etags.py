"""The validators of files that are not registered: what a host is asked with whether there is a newer version."""

from __future__ import annotations

import contextlib
import os

from ..files import put_atomically
from . import layout

__all__ = ["keep_etag", "known_etag"]


def _file(url: str) -> str | None:
    home = layout.writable_home()
    return None if home is None else os.path.join(home, "etags", layout.url_key(url))


def known_etag(url: str, contents: str | None) -> str | None:
    """The validator of the cached version, if it still is the file for which the host gave it."""
    file = _file(url)
    if contents is None or file is None:
        return None
    with contextlib.suppress(OSError, ValueError), open(file, encoding="latin-1") as lines:
        inode, mtime_ns, etag = lines.read().rstrip("\n").split(" ", 2)
        now = os.stat(contents)
        if (int(inode), int(mtime_ns)) == (now.st_ino, now.st_mtime_ns):
            return etag
    return None


def keep_etag(url: str, contents: str, etag: str | None) -> None:
    """Keep the validator of a new version; without it the next refresh fetches the file again."""
    file = _file(url)
    if file is None:
        return
    with contextlib.suppress(OSError):
        if not etag:
            os.unlink(file)
            return
        now = os.stat(contents)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        put_atomically(file, f"{now.st_ino} {now.st_mtime_ns} {etag}\n".encode("latin-1"))
