"""Files added to a branch of a remote repository, without a work tree and without force."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ...errors import PublishError
from .run import Git

__all__ = ["Branch"]

#: A push that lost a race is tried again so many times.
_ROUNDS = 30
_LOST = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to update ref|reference already exists",
    re.IGNORECASE,
)

T = TypeVar("T")


class Branch:
    """One branch of a remote repository, as it was seen last.

    Parameters
    ----------
    git : Git
        Runs in the repository.
    remote : str
        URL or name of the remote.
    name : str
        The branch.
    shallow : bool
        Whether to fetch one commit without its files. Else `remote` is a name, and its tracking branch is kept.

    Attributes
    ----------
    tip : str
        The newest commit; empty where there is no such branch yet.
    """

    def __init__(self, git: Git, remote: str, name: str, *, shallow: bool) -> None:
        self.git, self.remote, self.name, self.shallow = git, remote, name, shallow
        self._ref = "refs/dataferry/tip" if shallow else f"refs/remotes/{remote}/{name}"
        self.tip = ""
        self._files: dict[str, dict[str, str]] = {}

    def fetch(self) -> str:
        """Bring the newest commit of the branch.

        Returns
        -------
        str
            The commit; empty where there is no such branch yet.

        Raises
        ------
        PublishError
            If the remote could not be asked.
        """
        ref = f"refs/heads/{self.name}"
        listed = self.git.run("ls-remote", self.remote, ref, again=True).text
        tip = next((oid for oid, _, at in (line.partition("\t") for line in listed.splitlines()) if at == ref), "")
        if tip and not self._here(tip):
            depth = ["--depth=1", "--filter=blob:none"] if self.shallow else []
            own = f"+{ref}:{self._ref}"
            self.git.run("fetch", "-q", "--no-tags", "--no-write-fetch-head", *depth, self.remote, own, again=True)
            tip = self.git.run("rev-parse", "--verify", f"{self._ref}^{{commit}}").text
        self.tip = tip
        return tip

    def _here(self, commit: str) -> bool:
        # the ref is asked and not the commit: a partial clone would fetch what it does not have
        return self.git.run("rev-parse", "-q", "--verify", self._ref, check=False).text == commit

    def files(self, tree: str = "") -> Mapping[str, str]:
        """Path -> blob of every file of a commit, by default the tip."""
        tree = tree or self.tip
        if tree not in self._files:
            found = {}
            for line in self.git.run("ls-tree", "-r", "-z", "--full-tree", tree).out.split(b"\0") if tree else ():
                head, _, path = line.partition(b"\t")
                kind, _, blob = head.decode().partition(" ")[2].partition(" ")
                if kind == "blob":
                    found[path.decode(errors="surrogateescape")] = blob
            self._files = {tree: found}
        return self._files[tree]

    def read(self, path: str, tree: str = "") -> bytes | None:
        """The bytes of a small file of a commit, by default the tip; None where there is none."""
        blob = self.files(tree).get(path)
        return None if blob is None else self.git.run("cat-file", "blob", blob, again=True).out

    def keep(self, data: bytes) -> str:
        """Put bytes into the repository; returns their blob."""
        return self.git.run("hash-object", "-w", "--stdin", told=data).text

    def commit(self, blobs: Mapping[str, str], message: str, parents: Sequence[str], tree: str) -> str:
        """Make a commit.

        Parameters
        ----------
        blobs : mapping of str to str
            Path -> blob of what is added.
        message : str
            What it says.
        parents : sequence of str
            Its parents.
        tree : str
            The commit or tree to which the files are added; empty for none.

        Returns
        -------
        str
            The commit.

        Raises
        ------
        PublishError
            If git refuses.
        """
        place = self.git.run("rev-parse", "--absolute-git-dir").text
        env = {"GIT_INDEX_FILE": f"{place}/dataferry-index"}
        self.git.run("read-tree", *([tree] if tree else ["--empty"]), env=env)
        lines = [f"100644 {blob}\t{path}\0" for path, blob in blobs.items()]
        self.git.run("update-index", "-z", "--index-info", told="".join(lines).encode(), env=env)
        made = self.git.run("write-tree", "--missing-ok", env=env).text
        who = self.git.identity()
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git.run("commit-tree", made, *words, "-F", "-", told=message.encode(), env=who).text

    def push(self, commit: str, *, dry_run: bool = False, to: str = "") -> bool:
        """Push a commit, never with force.

        Parameters
        ----------
        commit : str
            The commit.
        dry_run : bool
            Whether only to ask.
        to : str
            Another branch.

        Returns
        -------
        bool
            False if somebody else pushed before.

        Raises
        ------
        AccessDenied
            If that is not allowed.
        PublishError
            If the remote refuses it.
        """
        words = ["push", "--porcelain", *(["--dry-run", "--no-verify"] if dry_run else []), self.remote]
        done = self.git.run(*words, f"{commit}:refs/heads/{to or self.name}", check=False, again=True)
        if done.status == 0:
            return True
        lines = [line for line in done.text.splitlines() if line.startswith("!")]
        if lines and all(_LOST.search(line) for line in lines):
            return False
        if lines:
            said = "; ".join([line.rpartition("\t")[2] for line in lines] + ([done.reason] if done.said else []))
            raise PublishError(self.git.place, f"the push was refused: {said}", _after_refusal(said))
        raise self.git.error(done)

    def add(self, changes: Callable[[], Mapping[str, str]], message: str) -> str:
        """Add files to the newest tip and push, again and again while others are faster.

        Parameters
        ----------
        changes : callable
            Gives path -> blob of what the tip lacks; called after each fetch.
        message : str
            What the commit says.

        Returns
        -------
        str
            The tip that has the files.

        Raises
        ------
        PublishError
            If the remote refuses them, or others are always faster.
        """

        def attempt() -> str | None:
            tip = self.fetch()
            blobs = changes()
            if not blobs:
                return tip
            commit = self.commit(blobs, message, [tip] if tip else [], tip)
            return commit if self.push(commit) else None

        return self.while_others_push(attempt)

    def while_others_push(self, attempt: Callable[[], T | None]) -> T:
        """Fetch, commit and push again and again while others are faster.

        Parameters
        ----------
        attempt : callable
            Does it once; None if somebody else pushed before.

        Returns
        -------
        object
            What the first attempt gave that was fast enough.

        Raises
        ------
        PublishError
            If others are always faster.
        """
        for number in range(_ROUNDS):
            if (made := attempt()) is not None:
                return made
            time.sleep(random.uniform(0.05, 0.3) * min(number + 1, 10))  # noqa: S311
        raise PublishError(self.git.place, f"others pushed in between, {_ROUNDS} times", "run this again")


def _after_refusal(said: str) -> str:
    if "protected" in said.lower() or "GH006" in said or "GH013" in said:
        return (
            "the branch is protected: let this user push to it in the repository's rules, or publish to another branch"
        )
    if "GH001" in said or "Large files" in said:
        return "files over 100 MiB do not go into a git repository: publish them to a release or another host"
    return ""
