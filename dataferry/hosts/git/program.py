"""Where git is, and what a command of it left."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from ...errors import PublishError

__all__ = ["Done", "find_git"]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left.

    Parameters
    ----------
    status : int
        Its exit status.
    out : bytes
        What it printed.
    said : str
        What it said on standard error, without any secret.
    """

    status: int
    out: bytes
    said: str

    @property
    def text(self) -> str:
        """What it printed, as text without the last line's end."""
        return self.out.decode(errors="replace").rstrip("\n")

    @property
    def reason(self) -> str:
        """The lines in which git says why it stopped."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("hint:", "Total ", "To ", "warning: filtering"))]
        telling = [line for line in lines if re.match(r"(fatal|error|remote|batch response|ssh):", line)]
        return "; ".join(dict.fromkeys(telling or lines))[:800] or f"git ended with status {self.status}"


def find_git(place: str, *, lfs: bool = False) -> str:
    """Find the programs.

    Parameters
    ----------
    place : str
        For the error: what needs git.
    lfs : bool
        Whether git-lfs is needed too.

    Returns
    -------
    str
        The path of git.

    Raises
    ------
    PublishError
        If a program is missing.
    """
    git = shutil.which("git")
    if git is None:
        raise PublishError(
            place, "this needs git, which is not installed", "install it: apt install git, or conda install git"
        )
    if lfs and shutil.which("git-lfs") is None:
        remedy = "install it: apt install git-lfs, or conda install git-lfs"
        raise PublishError(place, "this needs git-lfs, which is not installed", remedy)
    return git
