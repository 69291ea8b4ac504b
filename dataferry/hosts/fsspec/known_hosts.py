"""Whom to trust over SSH: the hosts that the user's ``known_hosts`` holds, and nobody else."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["known_hosts_policy"]

_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


def known_hosts_policy() -> Any:
    """The policy for paramiko: it takes known host keys and refuses all others.

    Returns
    -------
    paramiko.MissingHostKeyPolicy
        To be given to `paramiko.SSHClient`.

    Raises
    ------
    ImportError
        If paramiko is not installed.
    """
    import paramiko

    class KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # it carries no types
        """Looks a key up before anything secret is said to the host."""

        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            for written in _FILES:
                path = os.path.expanduser(written)
                if os.path.isfile(path) and paramiko.HostKeys(path).check(hostname, key):
                    return
            known = hostname.strip("[]").replace("]:", " -p ")
            raise PermissionError(
                f"the host key of {hostname} is in no known_hosts: log in once with ssh {known}, and look at its key"
            )

    return KnownHosts()
