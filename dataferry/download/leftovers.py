"""What interrupted downloads left: whose it is, how much it is, and the end of what is too old."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files import is_alive
from .ranges import Ranges

__all__ = [
    "StalePartial",
    "in_use",
    "orphans",
    "owner",
    "process_is_gone",
    "progress_of",
    "prune",
    "read_journal",
    "stale",
    "token",
]

_ALIVE = 120.0  # seconds without a sign of life after which another machine's partial may be taken
_marks = iter(range(1 << 62))

Facts = dict[str, Any]


def token() -> str:
    """What tells this process, and this use of a partial, from all others.

    Returns
    -------
    str
        Machine, process and a number.
    """
    return f"{owner()}.{next(_marks)}"


def owner() -> str:
    """What tells this process from all others.

    Returns
    -------
    str
        Machine and process.
    """
    return f"{_machine()}.{os.getpid()}"


@lru_cache(maxsize=1)
def _machine() -> str:
    return "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())[:40]


def read_journal(directory: Path) -> tuple[Ranges, Facts]:
    """What a partial's journal says.

    Parameters
    ----------
    directory : Path
        The partial.

    Returns
    -------
    Ranges, dict
        The bytes that are proven, and what else was noted.

    Raises
    ------
    OSError, ValueError
        If there is none, or it cannot be understood.
    """
    facts: Facts = {}
    ranges = Ranges()
    there = (directory / "bytes").stat().st_size
    for line in (directory / "ranges").read_bytes().split(b"\n")[:-1]:  # torn, the last line has no newline
        if line.startswith(b"#"):
            facts |= json.loads(line[1:])
            continue
        start, stop = map(int, line.split(b" "))
        if 0 <= start <= stop <= there:
            ranges.add(start, stop)
    return ranges, facts


def orphans(workdir: Path, identity: str) -> list[Path]:
    """Partials of a file whose process is gone.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    identity : str
        See `identity_of`.

    Returns
    -------
    list of Path
        Directories.
    """
    return [path for path in in_use(workdir, identity) if not _in_use(path)]


def in_use(workdir: Path, identity: str) -> list[Path]:
    """Partials of a file that a process has taken, alive or not.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    identity : str
        See `identity_of`.

    Returns
    -------
    list of Path
        Directories.
    """
    try:
        with os.scandir(workdir) as entries:
            return [Path(e.path) for e in entries if e.name.startswith(identity + ".") and e.is_dir()]
    except OSError:
        return []


def progress_of(path: Path) -> int:
    """Bytes that a partial holds, whoever brings it.

    Parameters
    ----------
    path : Path
        Its directory.

    Returns
    -------
    int
        As far as its journal says.
    """
    with contextlib.suppress(OSError, ValueError):
        return read_journal(path)[0].total()
    return 0


def _in_use(path: Path) -> bool:
    host, pid, _ = path.name.split(".", 1)[1].rsplit(".", 2)
    try:
        # Between its making and its first line a partial has no journal.
        sign = path / "ranges" if (path / "ranges").exists() else path
        age = time.time() - sign.stat().st_mtime
    except OSError:
        return True  # gone meanwhile
    return age < _ALIVE and not process_is_gone(host, pid)


def process_is_gone(host: str, pid: str) -> bool:
    """Whether a process has ended for sure.

    Parameters
    ----------
    host, pid : str
        As in its `token`.

    Returns
    -------
    bool
        False for a process of another machine, of which nothing is known.
    """
    return host == _machine() and pid.isdecimal() and not is_alive(int(pid))


@dataclass(frozen=True, slots=True)
class StalePartial:
    """What an interrupted download left.

    Parameters
    ----------
    path : Path
        Its directory.
    name : str
        The file.
    have : int
        Bytes that are proven.
    size : int or None
        Bytes of the whole file, if known.
    age : float
        Seconds since it last grew.
    """

    path: Path
    name: str
    have: int
    size: int | None
    age: float


def stale(workdir: Path, older_than_days: float = 0) -> list[StalePartial]:
    """The partials that nobody is working on.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    older_than_days : float
        Leave out younger ones.

    Returns
    -------
    list of StalePartial
        Oldest first.
    """
    found = []
    for path in sorted(workdir.iterdir()) if workdir.is_dir() else []:
        if not path.is_dir() or not (path / "ranges").exists() or ("." in path.name and _in_use(path)):
            continue
        try:
            ranges, facts = read_journal(path)
        except (OSError, ValueError):
            ranges, facts = Ranges(), {}
        age = time.time() - (path / "ranges").stat().st_mtime
        if age >= older_than_days * 86400:
            found.append(StalePartial(path, str(facts.get("name", "")), ranges.total(), facts.get("size"), age))
    return sorted(found, key=lambda item: -item.age)


def prune(workdir: Path, older_than_days: float) -> list[StalePartial]:
    """Remove the partials that nobody has worked on for so many days.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    older_than_days : float
        Days.

    Returns
    -------
    list of StalePartial
        What was removed.
    """
    gone = stale(workdir, older_than_days)
    for item in gone:
        shutil.rmtree(item.path, ignore_errors=True)
    return gone
