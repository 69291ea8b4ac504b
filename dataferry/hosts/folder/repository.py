"""The published folder as the work tree of a git repository with git-lfs: track, commit, push, never with force."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...config.credentials import Token, find_token
from ...errors import Conflict, PublishError
from ...files import make_folders
from ...registry.checksum_lists import Listed
from ..git import Branch, Git
from .attributes import ATTRIBUTES, track
from .catching_up import catch_up, second_name
from .pointers import pointer, read_pointer
from .private import private_name

if TYPE_CHECKING:
    from ...config.settings import Settings

__all__ = ["Repository", "has_lfs"]

#: Objects in one call of git-lfs; a command line may not be much longer.
_BATCH = 200
_REMEDY = (
    'git must be allowed to push: a token in GIT_TOKEN or in [hosts."HOST"] of config.toml, user and password in '
    ".netrc, git's own credential helper, or an ssh key"
)


def has_lfs(root: str) -> bool:
    """Whether a folder is the work tree of a repository that uses git-lfs."""
    if not os.path.lexists(os.path.join(root, ".git")):
        return False
    try:
        with open(os.path.join(root, ATTRIBUTES), encoding="utf-8", errors="replace") as file:
            return "filter=lfs" in file.read()
    except OSError:
        return False


class Repository:
    """The repository around a published folder.

    Parameters
    ----------
    root : str
        The folder.
    remote : str
        The name of the remote.
    place : str
        The host, for errors.
    settings : Settings
        The user's settings.

    Raises
    ------
    PublishError
        If git or git-lfs is missing, or the folder is no work tree with that remote on a branch.
    """

    def __init__(self, root: str, remote: str, place: str, settings: Settings) -> None:
        self.root, self.place, self.remote = root, place, remote
        git = Git(root, place, lfs=True)
        top = git.run("rev-parse", "--show-toplevel", check=False)
        if "dubious ownership" in top.said:
            raise PublishError(place, top.reason, f"git config --global --add safe.directory {root}")
        if top.status or os.path.realpath(top.text) != os.path.realpath(root):
            remedy = f"in {root}: git init; git remote add {remote} URL; git lfs install --local"
            raise PublishError(place, "it is not the top of a git work tree", remedy)
        url = git.run("remote", "get-url", "--push", remote, check=False)
        if url.status:
            raise PublishError(place, f"the repository has no remote {remote!r}", f"git remote add {remote} URL")
        branch = git.run("symbolic-ref", "-q", "--short", "HEAD", check=False)
        if branch.status:
            raise PublishError(place, "the repository is on no branch", "git switch main")
        user, token = _credentials(url.text, settings)
        self.git = Git(
            root, place, settings=settings, remote=url.text, token=token, user=user, remedy=_REMEDY, lfs=True
        )
        self.branch = Branch(self.git, remote, branch.text, shallow=False)
        self._dir = self.git.run("rev-parse", "--absolute-git-dir").text

    def check(self) -> str:
        """Ask the remote whether this user may push, without changing anything.

        Returns
        -------
        str
            What is pushed where.

        Raises
        ------
        AccessDenied
            If git may not push.
        PublishError
            If the remote cannot be asked.
        """
        tip = self.branch.fetch() or self._head() or self.branch.commit({}, "check", [], "")
        self.branch.push(tip, dry_run=True, to="dataferry-check")
        return f"git-lfs to {self.remote}, branch {self.branch.name}"

    def _head(self) -> str:
        return self.git.run("rev-parse", "-q", "--verify", f"refs/heads/{self.branch.name}", check=False).text

    def publish(self, files: Mapping[str, Listed]) -> dict[str, Listed]:
        """Commit files that lie in the folder, as git-lfs objects, and push them.

        Parameters
        ----------
        files : mapping of str to Listed
            The files.

        Returns
        -------
        dict of str to Listed
            Files of other members that came from the remote.

        Raises
        ------
        Conflict
            If the repository has other bytes under a name.
        PublishError
            If the remote refuses it.
        """
        with self._locked():
            return self.branch.while_others_push(lambda: self._publish(files))

    def _publish(self, files: Mapping[str, Listed]) -> dict[str, Listed] | None:
        tip, head = self.branch.fetch(), self._head()
        lacking = {name: file for name, file in files.items() if not self._has(tip, name, file)}
        commit = tip
        if lacking:
            parents, base = self._merged(head, tip)
            attributes = track(self.git, self.root, self.branch.read(ATTRIBUTES, base) or b"", lacking)
            blobs = {n: self.branch.keep(pointer(f)) for n, f in lacking.items() if not self._has(base, n, f)}
            if attributes != self.branch.read(ATTRIBUTES, base):
                blobs[ATTRIBUTES] = self.branch.keep(attributes)
            self._push_objects(lacking, head if head in parents and head != tip else "")
            noun = next(iter(lacking)) if len(lacking) == 1 else f"{len(lacking)} data files"
            commit = self.branch.commit(blobs, f"Add {noun}", parents, base)
            if not self.branch.push(commit):
                return None
        return catch_up(self.branch, self.root, head, commit)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(os.path.join(self._dir, "dataferry.lock"), "ab") as file:
            with contextlib.suppress(OSError):
                os.chmod(file.name, 0o664)
            with contextlib.suppress(OSError):  # without locks a lost race is found at the push
                fcntl.flock(file, fcntl.LOCK_EX)
            self.git.hosted.append(file.fileno())  # a git that outlives its run keeps the lock
            try:
                yield
            finally:
                self.git.hosted.clear()

    def _has(self, tree: str, name: str, file: Listed) -> bool:
        there = self.branch.read(name, tree) if tree else None
        if there is None:
            return False
        if there == pointer(file) or read_pointer(there) == file:
            return True
        said = "the repository has other bytes under that name, and a published file keeps its bytes"
        raise Conflict(f"{self.place}/{name}", said, "choose a new name")

    def _merged(self, head: str, tip: str) -> tuple[list[str], str]:
        """The parents of the next commit, and the commit or tree to which it adds."""

        def contains(newer: str, older: str) -> bool:
            return self.git.run("merge-base", "--is-ancestor", older, newer, check=False).status == 0

        if not tip or not head:
            there = tip or head
            return [there] if there else [], there
        if contains(tip, head):
            return [tip], tip
        if contains(head, tip):
            return [head], head
        done = self.git.run("merge-tree", "--write-tree", head, tip, check=False)
        if done.status:
            said = "the folder's own commits and those of the remote do not go together"
            raise PublishError(self.place, said, f"merge them by hand in {self.root}, and run this again")
        return [head, tip], done.text.splitlines()[0]

    def _push_objects(self, files: Mapping[str, Listed], unpushed: str) -> None:
        media = self._media()
        for name, file in files.items():
            path = os.path.join(media, file.sha256[:2], file.sha256[2:4], file.sha256)
            if file.size and not os.path.exists(path):
                make_folders(media, os.path.dirname(path), private_name())
                second_name(os.path.join(self.root, *name.split("/")), path)
        if unpushed:  # commits that were made in the folder by hand
            self.git.run("lfs", "push", self.remote, unpushed, again=True)
        oids = _oids(files.values())
        for start in range(0, len(oids), _BATCH):
            self.git.run("lfs", "push", "--object-id", self.remote, *oids[start : start + _BATCH], again=True)

    def _media(self) -> str:
        for line in self.git.run("lfs", "env").text.splitlines():
            if line.startswith("LocalMediaDir="):
                path = line.partition("=")[2]
                os.makedirs(path, exist_ok=True)
                return path
        raise PublishError(self.place, "git-lfs does not say where it keeps its objects")


def _oids(files: Collection[Listed]) -> list[str]:
    return list(dict.fromkeys(file.sha256 for file in files if file.size))


def _credentials(url: str, settings: Settings) -> tuple[str, Token | None]:
    from ...download.access import host_option

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.username is not None:
        return "", None
    user, password = (host_option(settings, parts, option) for option in ("user", "password"))
    if user and password:
        return str(user), Token(str(password), "config.toml")
    return "x-access-token", find_token(parts.netloc, settings, variables=["GIT_TOKEN"])
