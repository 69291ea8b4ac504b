"""Take an author's files to hosts, prove that users get them, and write the registry.

`plan` only reads: it hashes the files, looks what the registry and the hosts have and says what would happen. `publish`
uploads, fetches every file back as a stranger would, and registers what came back. It may be killed anywhere: the next
run goes on, and nothing is uploaded twice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .make_plan import plan
from .outcome import FileOutcome, Outcome
from .plan import HostPlan, Plan, Step
from .run import run

__all__ = ["FileOutcome", "HostPlan", "Outcome", "Plan", "Step", "plan", "publish", "run"]


def publish(
    files: Mapping[str, str | os.PathLike[str]],
    to: str | Sequence[str],
    registry: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    jobs: int | None = None,
    new_version: bool = False,
    wait: float | None = None,
    progress: bool = True,
) -> Outcome:
    """Publish files at one or several hosts and register them.

    Parameters
    ----------
    files : mapping of str to path-like
        Name -> file. The files stay where they are and are not written to.
    to : str or sequence of str
        Hosts, as ``dataferry.toml`` declares them: ``https://host/path/`` or ``scheme:rest``. All get all files.
    registry : path-like
        The ``dataferry.toml``; it is made if it is not there.
    dry_run : bool
        Whether only to say what would happen.
    jobs : int, optional
        How many uploads at the same time at each host; by default what is polite there.
    new_version : bool
        Whether a registered name may get other bytes, at hosts whose locators keep finding the old ones.
    wait : float, optional
        Seconds to wait until strangers get the files; by default what the host is known to need.
    progress : bool
        Whether to show it.

    Returns
    -------
    Outcome
        What was done with each file at each host.

    Raises
    ------
    BadName
        If a name or a host is not legal.
    WrongBytes
        If a file cannot be read or changes while it is read.
    Conflict
        If the registry or a host has other bytes under a name.
    NeedsNetwork
        If the network is not to be used.
    AccessDenied
        If there is no token for a host, or it has too few rights.
    PublishError
        If a file did not arrive, or a stranger does not get it. What arrived and is proven is registered.
    RegistryError, CacheError
        If the registry cannot be used or written.
    PublishErrors
        If there are several of these.
    """
    planned = plan(files, to, registry, new_version=new_version, progress=progress)
    planned.check(every_host=dry_run)
    if dry_run:
        return Outcome(planned)
    outcome = run(planned, jobs=jobs, wait=wait, progress=progress)
    outcome.check()
    return outcome
