"""Predefined folders: which there are, in which order they are asked, and whether one answers at all."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..errors import SettingsError
from ..portable import after_fork

_VARIABLE = r"\$(?:(\w+)|\{(\w+)\})"


def folder_list(folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Folders of an argument, which may be a single one: the letters of its name are none."""
    return [os.fspath(folder) for folder in ([folders] if isinstance(folders, str | os.PathLike) else folders)]


class Folder(NamedTuple):
    """A local directory that may have the files already."""

    #: Its absolute path; as written where it could not be made absolute.
    path: str
    #: What names it: a variable, a file, an argument.
    origin: str
    #: Why it cannot be used; empty where it can.
    problem: str = ""
    #: True for a folder of many packages: the file lies at ``<package>/<name>`` in it.
    shared: bool = False
    #: The computing centre that it is labelled with; a label orders folders and excludes none.
    site: str = "any"


def expand_folder(written: str) -> tuple[str, str]:
    """Expand ``~``, ``$VAR`` and ``${VAR}``: the absolute path, or the text as written and why it names no folder."""
    missing = [a or b for a, b in re.findall(_VARIABLE, written) if not os.environ.get(a or b)]
    if missing:
        return written, f"${missing[0]} is not set"
    if "\0" in written:
        return written, "it contains a NUL character"
    path = os.path.expanduser(re.sub(_VARIABLE, lambda m: os.environ[m[1] or m[2]], written))
    if path.startswith("~"):
        return written, "there is no such user"
    if not os.path.isabs(path):
        return written, "it is relative, and only absolute folders are used"
    return os.path.normpath(path), ""


def make_folder(written: str, origin: str, shared: bool = False, site: str = "any") -> Folder:
    """A `Folder` of what somebody wrote; its ``problem`` says why it cannot be used."""
    path, problem = expand_folder(written)
    return Folder(path, origin, problem, shared, site)


def cache_folder(written: str, origin: str) -> Folder | None:
    """The folder in which downloads are kept; None for an empty text, which leaves it to astropy."""
    folder = make_folder(written, origin) if written else None
    if folder is not None and folder.problem:
        raise SettingsError(f"{origin}: the cache {written!r} cannot be used: {folder.problem}")
    return folder


def order_by_site(folders: Iterable[Folder], here: Collection[str]) -> list[Folder]:
    """Put the folders of these sites first, those for any second, those of other sites last."""

    def rank(folder: Folder) -> int:
        return 1 if folder.site == "any" else 0 if folder.site.lower() in here else 2

    return sorted(folders, key=rank)


# -- does it answer? --------------------------------------------------------------------------------

#: After so many seconds without an answer another thread looks again: the mount may be a new one.
_ASK_AGAIN = 60.0


_usable: set[str] = set()
#: Folders that did not answer in time: when each was asked, and a list for what it answers after all.
_silent: dict[str, tuple[float, list[str]]] = {}
# a forked child has none of its parent's threads
after_fork(_silent.clear)


def folder_problem(path: str, timeout: float) -> str:
    """Why a folder cannot be used; empty where it can.

    A folder that answered is trusted for the rest of the process. Later calls skip one that did not, until it answers
    after all: an automount may need longer the first time.
    """
    if path in _usable:
        return ""
    if path not in _silent and _on_dead_mount(path):
        return "its file system does not answer"
    asked, answers = _silent.get(path, (float("-inf"), []))
    if not answers and time.monotonic() - asked > _ASK_AGAIN:
        import threading

        asked, answers = time.monotonic(), []
        # a thread of its own: a dead mount blocks whoever looks
        thread = threading.Thread(target=_look, args=(path, answers), name="dataferry-folder", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads for this user: asked without one
            _look(path, answers)
        else:
            thread.join(timeout)
    if not answers:
        _silent[path] = asked, answers
        return f"it does not answer within {timeout:g} s"
    _silent.pop(path, None)
    if not answers[0]:
        _usable.add(path)
    return answers[0]


def _look(path: str, answers: list[str]) -> None:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISDIR(mode):
            answers.append("it is not a folder")
        else:
            answers.append("" if os.access(path, os.X_OK) else "it may not be entered: permission denied")
    except OSError as error:
        dangling = isinstance(error, FileNotFoundError) and os.path.islink(path)
        reason = (error.strerror or str(error)).lower()
        answers.append("it is a link to a folder that is not there" if dangling else reason)


def _on_dead_mount(path: str) -> bool:
    """Whether the folder is on a file system that has just not answered: one costs one timeout, however often named."""
    waiting = [other for other, (_, answers) in list(_silent.items()) if not answers]
    mounts = _mounts() if waiting else []
    here = _mount_of(path, mounts)
    return here is not None and any(_mount_of(other, mounts) == here for other in waiting)


def _mounts() -> list[str]:
    """Where file systems are mounted, but for those that mount others on demand. This asks none of them."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split(" ") for line in file]
    except OSError:  # macOS
        return []
    return [
        re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), f[4]) for f in lines if f[f.index("-") + 1] != "autofs"
    ]


def _mount_of(path: str, mounts: list[str]) -> str | None:
    return max((m for m in mounts if m != "/" and (path == m or path.startswith(m + "/"))), key=len, default=None)
