"""What runs that were killed left in the caches: unfinished downloads, clones, notes of uploads, private files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..cache.prune import homes, remains, remove_remains, size_of, stats_below
from ..download.file_lock import FileLock
from ..download.partial_file import stale_partials

UNFINISHED, _CLONE, _NOTES, _WORK = "unfinished", "clone", "upload notes", "work folder"
#: The names are dataferry's own: in a folder that the user chose, other files can lie beside them.
_FOLDERS = (
    ("git/.dataferry-*.git", _CLONE),
    (f"publish/{'[0-9a-f]' * 16}", _NOTES),
    *((f"incoming/{what}-{'?' * 8}", _WORK) for what in ("check", "adopt", "back")),
)
#: Nothing says whether a work folder or a clone is in use, but it is in use for no longer than this without a change.
_WORK_SECONDS = 86400.0


class Leftover(NamedTuple):
    """A folder or a file that nobody uses any more."""

    path: Path
    what: str
    size: int
    label: str


def leftovers(days: float) -> list[Leftover]:
    """What has not changed for some days and is used by no run; private files of dead processes however young."""
    found = []
    for home in map(Path, homes()):
        partials = stale_partials(home / "incoming", days)
        found += [Leftover(p.path, UNFINISHED, p.have, p.name or p.path.name) for p in partials]
        found += [_leftover(Path(path), "private file") for path in remains(str(home))]
        for pattern, what in _FOLDERS:
            for path in sorted(home.glob(pattern)):
                age = time.time() - max((now.st_mtime for now in stats_below(path)), default=0.0)
                if age >= max(days * 86400, _WORK_SECONDS if what in (_WORK, _CLONE) else 0.0):
                    with _unused(path, what) as unused:
                        found += [_leftover(path, what)] if unused else []
    return found


def _leftover(path: Path, what: str) -> Leftover:
    return Leftover(path, what, size_of(path), f"{path.parent.name}/{path.name}")


def remove_leftover(left: Leftover) -> int:
    """Remove it, unless a run has begun to use it; the bytes that are free now."""
    with _unused(left.path, left.what) as unused:
        if unused:
            remove_remains(str(left.path))
    return 0 if left.path.exists() else left.size


@contextlib.contextmanager
def _unused(path: Path, what: str) -> Iterator[bool]:
    """Whether no run uses a folder; meanwhile none can begin to."""
    if what == _NOTES:
        lock = FileLock(path.parent, path.name)
        try:
            yield lock.acquire()
        finally:
            lock.release()
    else:
        yield True
