"""Take an author's files to hosts, prove that users get them, and write the registry.

`plan` only reads: it hashes the files, looks what the registry and the hosts have, and says what would happen.
`publish` uploads, fetches every file back anonymously, and registers what came back. It may be killed anywhere: the
next run goes on, and nothing is uploaded twice. `check` asks later whether users still get every file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .check import Finding, State, check
from .outcome import Action, FilePlan, HostPlan, Outcome, Plan
from .plan import plan
from .run import run

__all__ = ["Action", "FilePlan", "Finding", "HostPlan", "Outcome", "Plan", "State", "check", "plan", "publish", "run"]


def publish(
    files: Mapping[str, str | os.PathLike[str]],
    to: str | Sequence[str],
    registry: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    jobs: int | None = None,
    new_version: bool = False,
    repair: bool = False,
    wait: float | None = None,
    progress: bool = True,
) -> Outcome:
    """Publish files at one or several hosts and register them.

    Parameters
    ----------
    files : mapping of str to path-like
        Name -> local file. dataferry does not move or change the files.
    to : str or sequence of str
        Hosts, as ``dataferry.toml`` declares them: ``https://host/path/`` or ``scheme:rest``. All get all files.
    registry : path-like
        The ``dataferry.toml``; it is created if it does not exist.
    dry_run : bool
        Whether to stop after the plan.
    jobs : int, optional
        The number of parallel uploads at each host; by default the host decides.
    new_version : bool
        Whether a registered name may get other bytes, at hosts that also keep the old ones.
    repair : bool
        Whether to replace a host's copy that differs from the registered file.
    wait : float, optional
        How many seconds to wait until users can download the files; by default the host decides.
    progress : bool
        Whether to show the progress and the reason of waits.

    Returns
    -------
    Outcome
        What was done with each file at each host.

    Raises
    ------
    BadName
        If a name or a host is not valid.
    WrongBytes
        If a file cannot be read, is not a regular file, or changes while it is read.
    Conflict
        If the registry or a host has other bytes under a name.
    NeedsNetwork
        If dataferry is offline.
    AccessDenied
        If there is no token for a host, or it has too few permissions.
    PublishError
        If a file did not arrive, or users cannot download it. Files that are proven are registered.
    RegistryError, CacheError
        If the registry is invalid or cannot be written.
    PublishErrors
        If there are several of these.
    """
    planned = plan(files, to, registry, new_version=new_version, repair=repair, progress=progress)
    planned.check(every_host=dry_run)
    if dry_run:
        return Outcome(planned)
    outcome = run(planned, jobs=jobs, wait=wait, progress=progress)
    outcome.check()
    return outcome
