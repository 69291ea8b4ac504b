"""Whom to trust over SSH: the hosts that the user's ``known_hosts`` holds, and nobody else."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["sftp_to_known_hosts"]

_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


def sftp_to_known_hosts(url: str, **given: Any) -> tuple[Any, str]:
    """Connect by SFTP, as ``fsspec.core.url_to_fs`` does, but to no host that the user does not know.

    Parameters
    ----------
    url : str
        The folder.
    **given : object
        What fsspec's SFTP takes: user, password...

    Returns
    -------
    (fsspec.AbstractFileSystem, str)
        The file system, and the path of the folder in it.

    Raises
    ------
    ImportError
        If paramiko is not installed.
    PermissionError
        If the key of the host is not known; nothing secret was said to it.
    """
    import paramiko
    from fsspec.implementations import sftp

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

    class BeforeFsspecAsked(sftp.SFTPFileSystem):  # type: ignore[misc]
        """Up to 2026.7 fsspec trusts every host."""

        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            self.client.set_missing_host_key_policy(KnownHosts())
            self.client.connect(self.host, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()

    given = {**sftp.SFTPFileSystem._get_kwargs_from_urls(url), **given}
    path = str(sftp.SFTPFileSystem._strip_protocol(url))
    if hasattr(sftp, "HOST_KEY_POLICIES"):
        return sftp.SFTPFileSystem(**given, host_key_policy=KnownHosts()), path
    return BeforeFsspecAsked(**given), path
