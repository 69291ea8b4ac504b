"""After a push: the folder's branch, its index, and the files that other members pushed from elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil

from ...errors import PublishError
from ...files import hash_file, make_folders, rename_noreplace
from ...registry.checksum_lists import CATALOG, SUMS, Listed
from ...registry.names import is_name
from ..git import Branch
from .contents import is_ours
from .copying import MODE
from .pointers import read_pointer
from .private import PRIVATE, private_name, private_path

__all__ = ["catch_up", "second_name"]


def second_name(path: str, name: str) -> None:
    """Give a file another name; a copy where a file can have one only.

    Parameters
    ----------
    path : str
        The file, which nobody writes to.
    name : str
        The other name; whoever was faster is right.

    Raises
    ------
    OSError
        If that fails.
    """
    private = private_path(os.path.dirname(name))
    try:
        try:
            os.link(path, private)
        except OSError:
            shutil.copyfile(path, private)
            os.chmod(private, MODE)
        with contextlib.suppress(FileExistsError):
            rename_noreplace(private, name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(private)


def catch_up(branch: Branch, root: str, before: str, now: str) -> dict[str, Listed]:
    """Let the folder's branch be what was pushed, with all its files.

    Nothing that lies in the folder is changed or taken away; a file that came is visible at once and whole.

    Parameters
    ----------
    branch : Branch
        The branch.
    root : str
        The folder.
    before, now : str
        The folder's commit, empty for none, and the one that was pushed.

    Returns
    -------
    dict of str to Listed
        The files that came.

    Raises
    ------
    PublishError
        If git or git-lfs does not give one.
    """
    git = branch.git
    if before == now:
        return {}
    came = {}
    for name in branch.files(now):
        path = os.path.join(root, *name.split("/"))
        if is_name(name) and not is_ours(name) and not os.path.lexists(path):
            came[name] = _bring(branch, root, name, now)
    empty = git.run("hash-object", "-w", "-t", "tree", "--stdin", told=b"").text
    old = before or "0" * len(now)
    if git.run("update-ref", f"refs/heads/{branch.name}", now, old, check=False).status == 0:
        # a two-way merge of the index alone: what somebody had staged stays staged
        git.run("read-tree", "-i", "-m", before or empty, now, check=False)
    exclude = git.run("rev-parse", "--git-path", "info/exclude").text
    _exclude(os.path.join(root, exclude))
    return came


def _bring(branch: Branch, root: str, name: str, commit: str) -> Listed:
    data = branch.read(name, commit) or b""
    listed = read_pointer(data)
    path = os.path.join(root, *name.split("/"))
    folder = os.path.dirname(path)
    make_folders(root, folder, private_name())
    private = private_path(folder)
    try:
        with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if listed is None:
                file.write(data)
            else:
                branch.git.run("lfs", "smudge", told=data, into=file, again=True)
        found = Listed(os.stat(private).st_size, hash_file(private).sha256)
        if found != (listed or Listed(len(data), hashlib.sha256(data).hexdigest())):
            raise PublishError(f"{branch.git.place}/{name}", "git-lfs gave other bytes than the repository names")
        with contextlib.suppress(PermissionError):
            os.chown(private, -1, os.stat(folder).st_gid)
        os.chmod(private, MODE)
        with contextlib.suppress(FileExistsError):
            rename_noreplace(private, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(private)
    return found


def _exclude(path: str) -> None:
    """Keep the lists, which each folder makes for itself, out of git's sight."""
    said = ""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        said = file.read()
    lines = [f"/{CATALOG}", f"/{SUMS}", f"{PRIVATE}*"]
    new = [line for line in lines if line not in said.splitlines()]
    if new:
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in new))
