"""Predefined folders: which there are, in which order they are asked, and whether one answers at all."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Folder", "expand_folder", "folder_problem", "make_folder", "order_by_site"]

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class Folder(NamedTuple):
    """A local directory that may hold the files already.

    Parameters
    ----------
    path : str
        Its absolute path; as written where it could not be made absolute.
    origin : str
        Who says so: a variable, a file, an argument.
    problem : str
        Why it cannot be used; empty where it can.
    shared : bool
        True for a folder of many packages: the file lies at ``<package>/<name>`` in it.
    """

    path: str
    origin: str
    problem: str = ""
    shared: bool = False


def expand_folder(written: str) -> tuple[str, str]:
    """Expand ``~``, ``$VAR`` and ``${VAR}``.

    Parameters
    ----------
    written : str
        The folder as written.

    Returns
    -------
    (str, str)
        The absolute path and an empty string, or the text as written and the reason why it names no folder.
    """
    missing = [a or b for a, b in _VARIABLE.findall(written) if not os.environ.get(a or b)]
    if missing:
        return written, f"${missing[0]} is not set"
    if "\0" in written:
        return written, "it holds a NUL character"
    path = os.path.expanduser(_VARIABLE.sub(lambda m: os.environ[m[1] or m[2]], written))
    if path.startswith("~"):
        return written, "there is no such user"
    if not os.path.isabs(path):
        return written, "it is relative, and only absolute folders are used"
    return os.path.normpath(path), ""


def make_folder(written: str, origin: str, shared: bool = False) -> Folder:
    """A `Folder` of what somebody wrote; its ``problem`` says why it cannot be used."""
    path, problem = expand_folder(written)
    return Folder(path, origin, problem, shared)


def order_by_site(labelled: Iterable[tuple[str, Folder]], sites: Iterable[str]) -> list[Folder]:
    """Put the folders of this machine room first, those for any second, those of other rooms last.

    Parameters
    ----------
    labelled : iterable of (str, Folder)
        Site label, or ``"any"``, and folder.
    sites : iterable of str
        The labels of this machine.

    Returns
    -------
    list of Folder
        All of them: whether a folder is there decides, not its label.
    """
    here = set(sites)
    rank = {True: 0, False: 2}
    return [
        f
        for _, f in sorted(
            labelled,
            key=lambda item: 1 if item[0] == "any" else rank[item[0].lower() in here],
        )
    ]


_answered: set[str] = set()
_hanging: set[str] = set()


def folder_problem(path: str, timeout: float) -> str:
    """Why a folder cannot be used; empty where it can.

    The folder is asked in a thread, since a dead mount blocks whoever asks. One that answered is trusted for the rest
    of the process, and so is one that did not.

    Parameters
    ----------
    path : str
        The absolute path.
    timeout : float
        Seconds in which it must answer.

    Returns
    -------
    str
        The reason, or an empty string.
    """
    if path in _answered:
        return ""
    if path in _hanging:
        return f"it does not answer within {timeout:g} s"
    answer: list[str] = []

    def ask() -> None:
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISDIR(mode):
                answer.append("it is not a folder")
            elif not os.access(path, os.X_OK):
                answer.append("it may not be entered: permission denied")
            else:
                answer.append("")
        except OSError as error:
            dangling = isinstance(error, FileNotFoundError) and os.path.islink(path)
            answer.append(
                "it is a link to a folder that is not there" if dangling else (error.strerror or str(error)).lower()
            )

    thread = threading.Thread(target=ask, name="dataferry-folder", daemon=True)
    thread.start()
    thread.join(timeout)
    if not answer:
        _hanging.add(path)
        return f"it does not answer within {timeout:g} s"
    if not answer[0]:
        _answered.add(path)
    return answer[0]
