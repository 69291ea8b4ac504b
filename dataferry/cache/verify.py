"""Whether a path has the file that was asked for: its kind, size and sha256, or a stamp of an earlier look."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import Reason
from ..files import hash_file
from ..registry.entry import Entry
from .stamps import Stamps, stamp_files


class Verdict(NamedTuple):
    """Whether a path has the file that was asked for, and why."""

    accepted: bool
    #: What was checked, or why it is not the file.
    note: str
    #: Whether something else is there.
    wrong: bool = False
    #: Why it is not the file, in a word for programs; empty for one that is.
    reason: str = ""


ABSENT = Verdict(False, "not there", reason=Reason.ABSENT)


def examine(
    path: str,
    entry: Entry | None,
    stamps: Sequence[Stamps],
    key: str,
    *,
    settled: bool = False,
    hash_up_to: int | None = None,
    rehash: bool = False,
) -> Verdict:
    """Look whether a path is the registered file; any regular file is where none is registered.

    The first of ``stamps`` that can be written gets a stamp of ``key`` if the file had to be hashed. ``settled`` says
    that only dataferry writes the file, ``hash_up_to`` that the size alone proves a larger file, ``rehash`` that a
    stamp proves nothing.
    """
    try:
        now = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if not settled and os.path.islink(path):
            return Verdict(False, "a link to a file that is not there", True, Reason.ABSENT)
        return ABSENT
    except OSError as error:
        return _unreadable(error)
    except ValueError as error:  # a NUL in the path
        return Verdict(False, str(error), reason=Reason.ERROR)
    if not stat.S_ISREG(now.st_mode):
        note = "a folder, not a file" if stat.S_ISDIR(now.st_mode) else "not a regular file"
        return Verdict(False, note, True, Reason.ERROR)
    if not os.access(path, os.R_OK):
        return Verdict(False, "permission denied", True, Reason.DENIED)
    if entry is None:
        return Verdict(True, "not registered, so not verified")
    if entry.size is not None and now.st_size != entry.size:
        note = f"{now.st_size} bytes instead of {entry.size}{_line_ends(path, now.st_size, entry)}"
        return Verdict(False, note, True, Reason.SIZE)
    if hash_up_to is not None and now.st_size > hash_up_to and not rehash:
        return Verdict(True, 'size is right; over 1 GiB in a folder is hashed only with verify = "always"')
    if not rehash and any(store.holds(key, now, entry.sha256) for store in stamps):
        return Verdict(True, "verified earlier")
    try:
        stamp = hash_file(path)
    except OSError as error:
        return _unreadable(error)
    if stamp.sha256 != entry.sha256:
        for store in stamps:
            store.forget([key])
        note = f"sha256 is {stamp.sha256[:12]}... instead of {entry.sha256[:12]}..."
        return Verdict(False, note + _line_ends(path, now.st_size, entry), True, Reason.SHA256)
    any(stamp_files(store, {key: (path, stamp)}, settled=settled) for store in stamps)
    return Verdict(True, "verified now")


def _unreadable(error: OSError) -> Verdict:
    return Verdict(False, error.strerror.lower() if error.strerror else str(error), True, Reason.ERROR)


#: Larger files are not looked at for other line ends.
_LONGEST_TEXT = 1 << 24


def _line_ends(path: str, size: int, entry: Entry) -> str:
    """What git's autocrlf and FTP in text mode do to a file."""
    if size > _LONGEST_TEXT:
        return ""
    import hashlib

    with contextlib.suppress(OSError), open(path, "rb") as file:
        data = file.read()
        unix = data.replace(b"\r\n", b"\n")
        for text, what in ((unix, "has line ends of Windows (CRLF)"), (unix.replace(b"\n", b"\r\n"), "lost its CR")):
            if hashlib.sha256(text).hexdigest() == entry.sha256:
                return f": it {what}, as git's autocrlf or a transfer in text mode leave it"
    return ""
