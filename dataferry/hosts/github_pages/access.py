"""Who asks a repository, and in which work folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...cache.layout import writable_home
from ..git import Branch, Git, find_git
from ..github import github_token

if TYPE_CHECKING:
    from ...config.credentials import Token
    from ...config.settings import Settings
    from . import GitHubPagesHost

__all__ = ["REMEDY", "WorkFolder", "open_branch", "token_of"]

REMEDY = (
    "publishing there takes a token in GH_TOKEN, from `gh auth login`, in config.toml or the keyring: a fine-grained "
    "one with Contents: read and write for this repository (https://github.com/settings/personal-access-tokens/new), "
    "or a classic one with the scope repo"
)


def token_of(host: GitHubPagesHost, settings: Settings, *, publishing: bool) -> Token | None:
    """The user's token for the server of the repository.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    settings : Settings
        The user's settings.
    publishing : bool
        Whether the user named the server; else somebody else may have, and what is not for it alone stays here.

    Returns
    -------
    Token or None
        None leaves it to git's own credential helpers.
    """
    parts = urlsplit(host.git)
    if parts.scheme not in {"http", "https"}:
        return None
    return github_token(f"{parts.scheme}://{parts.netloc}", settings, publishing=publishing)


class WorkFolder:
    """A bare repository in the cache that one run uses; a later one takes over what a killed run left.

    Parameters
    ----------
    url : str
        The remote.

    Attributes
    ----------
    path : Path
        The repository. It is taken away when this object goes.
    """

    def __init__(self, url: str) -> None:
        home = writable_home() or tempfile.gettempdir()
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        rooms = Path(home, "git")
        rooms.mkdir(parents=True, exist_ok=True)
        for number in range(1000):
            self.path = rooms / f"{digest}-{number}.git"
            lock = open(f"{self.path}.lock", "ab")  # noqa: SIM115 - it is held as long as the folder is used
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name)):
                    break
                lock.close()  # a run that ended just now took this file away
            except (BlockingIOError, FileNotFoundError):
                lock.close()
            except OSError:  # no locks on this file system
                lock.close()
                self.path = Path(tempfile.mkdtemp(prefix=f"{digest}-", suffix=".git", dir=rooms))
                break
        self.lock = lock
        self._end = weakref.finalize(self, _drop, str(self.path), lock)
        # the locks of git that a killed run left are nobody's: the folder is ours alone
        for stale in (*self.path.glob("*.lock"), *self.path.glob("refs/**/*.lock")):
            stale.unlink(missing_ok=True)

    def drop(self) -> None:
        """Take it away."""
        self._end()


def _drop(path: str, lock: object) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(f"{path}.lock")
    with contextlib.suppress(OSError, AttributeError):
        lock.close()  # type: ignore[attr-defined]


def open_branch(host: GitHubPagesHost, settings: Settings, token: Token | None, folder: WorkFolder) -> Branch:
    """Get ready to talk to the repository.

    Parameters
    ----------
    host : GitHubPagesHost
        The host.
    settings : Settings
        The user's settings.
    token : Token or None
        The user's token.
    folder : WorkFolder
        Where to work.

    Returns
    -------
    Branch
        The branch; nothing was fetched yet.

    Raises
    ------
    AccessDenied
        If the repository cannot be read.
    PublishError
        If git is missing, or the server cannot be asked.
    """
    find_git(host.redacted)
    folder.path.mkdir(exist_ok=True)
    git = Git(folder.path, host.redacted, settings=settings, remote=host.git, token=token, remedy=REMEDY)
    if not folder.lock.closed:
        git.hosted.append(folder.lock.fileno())  # a git that outlives its run keeps the folder
    git.run("init", "-q", "--bare", ".")
    git.configure("remote.origin.url", host.git)
    git.configure("remote.origin.promisor", "true")
    git.configure("remote.origin.partialclonefilter", "blob:none")
    # data do not compress against each other, and reading them once is enough
    git.configure("core.bigFileThreshold", "1m")
    git.configure("core.looseCompression", "1")
    return Branch(git, "origin", host.branch or _default_branch(git), shallow=True)


def _default_branch(git: Git) -> str:
    for line in git.run("ls-remote", "--symref", "origin", "HEAD", again=True).text.splitlines():
        ref, tab, name = line.partition("\t")
        if tab and name == "HEAD" and ref.startswith("ref: refs/heads/"):
            return ref.removeprefix("ref: refs/heads/")
    return "main"
