"""Which options of a declaration may stand beside a user's login: those that cannot lead it to another server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["leading_elsewhere"]

_ANY = frozenset({"anon", "block_size", "timeout", "version_aware"})
_AZURE = _ANY | {"account_name", "max_concurrency"}
_GOOGLE = _ANY | {"project", "requester_pays"}
_FOLDERS = _ANY | {"port", "username"}
#: Of protocols that are known all others may lead elsewhere.
_HARMLESS = {
    "abfs": _AZURE,
    "abfss": _AZURE,
    "az": _AZURE,
    "ftp": _FOLDERS | {"encoding", "tls"},
    "gcs": _GOOGLE,
    "gs": _GOOGLE,
    "hf": _ANY | {"revision"},
    "sftp": _FOLDERS | {"banner_timeout", "compress"},
    "smb": _FOLDERS | {"encrypt", "share_access"},
    "ssh": _FOLDERS | {"banner_timeout", "compress"},
}
#: Of the others those with such a word in their name.
_LEADS = re.compile("host|url|uri|endpoint|server|proxy|domain|address|path|session|client|kwargs|config|profile")
#: The name of an account becomes the begin of its server's name.
_ACCOUNT = re.compile(r"[A-Za-z0-9-]+")


def leading_elsewhere(protocol: str, options: Mapping[str, Any]) -> str:
    """The first option that could lead a login to a server that the author of a package chose.

    Parameters
    ----------
    protocol : str
        ``abfs``.
    options : mapping of str to object
        The query of the declaration.

    Returns
    -------
    str
        Its name; empty if there is none.
    """
    harmless = _HARMLESS.get(protocol)
    for name, value in options.items():
        known = name in harmless if harmless is not None else not _LEADS.search(name.lower())
        if not known or (name == "account_name" and not _ACCOUNT.fullmatch(str(value))):
            return name
    return ""
