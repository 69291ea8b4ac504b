"""Small files that a killed run had written and not yet moved to their place."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from .leftovers import process_is_gone

__all__ = ["strays", "sweep"]

_NAME = re.compile(r"(?:url-)?[0-9a-f]{64}\.(?:([^.]+)\.)?(\d+)\.[0-9a-f]+").fullmatch
#: Between its writing and its move a small file never waits so many seconds.
_LONGEST = 86400.0


def strays(workdir: Path) -> list[Path]:
    """The small files that nobody will move any more.

    Parameters
    ----------
    workdir : Path
        Where files lie meanwhile.

    Returns
    -------
    list of Path
        Those of processes of this machine that are gone, and those that are older than a day.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(workdir) as entries:
        for entry in entries:
            name = _NAME(entry.name)
            if name is None:
                continue
            with contextlib.suppress(OSError):  # its owner has just moved it
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _LONGEST
                if entry.is_file(follow_symlinks=False) and (old or process_is_gone(name[1] or "", name[2])):
                    found.append(Path(entry.path))
    return found


def sweep(workdir: Path) -> None:
    """Remove them.

    Parameters
    ----------
    workdir : Path
        Where files lie meanwhile.
    """
    for path in strays(workdir):
        with contextlib.suppress(OSError):
            path.unlink()
