"""Where a secret is: environment, settings, keyring, the provider's own tool, ``.netrc``."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .. import log

if TYPE_CHECKING:
    import netrc

    from .settings import Settings


#: Under this name `keyring set dataferry HOST` keeps a token.
KEYRING_SERVICE = "dataferry"


class Token(NamedTuple):
    """A secret, and where it was found; no text of this object holds the secret.

    Parameters
    ----------
    secret : str
        The token.
    origin : str
        Where it was found, as it may be printed.
    """

    secret: str
    origin: str

    def __repr__(self) -> str:
        return f"Token(origin={self.origin!r})"


def find_token(
    host: str, settings: Settings, *, variables: Sequence[str] = (), tool: Sequence[str] = ()
) -> Token | None:
    """Find the token for a host, with a port where it has one; None if there is none, and for anonymous settings.

    `variables` are environment variables that may hold it, the first one first; `tool` is a command that prints it.
    """
    if settings.anonymous:
        return None
    for variable in variables:
        if value := os.environ.get(variable, "").strip():
            return Token(value, f"the variable {variable}")
    name = host.partition(":")[0]
    for key in dict.fromkeys((host, name)):
        if value := str(settings.hosts.get(key, {}).get("token") or ""):
            return Token(value, f'[hosts."{key}"] of config.toml')
    return _from_keyring(name) or _from_tool(tool) or _from_netrc(name)


def _from_keyring(name: str) -> Token | None:
    with contextlib.suppress(Exception):  # a keyring that is locked, broken or not there is no reason to stop
        import keyring

        if value := keyring.get_password(KEYRING_SERVICE, name):
            return Token(value, f"the keyring ({KEYRING_SERVICE}, {name})")
    return None


def _from_tool(tool: Sequence[str]) -> Token | None:
    if not tool:
        return None
    try:
        done = subprocess.run(tool, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    value = done.stdout.strip()
    return Token(value, f"`{' '.join(tool)}`") if done.returncode == 0 and value else None


def _from_netrc(name: str) -> Token | None:
    path, hosts = _netrc()
    login = hosts.hosts.get(name) if hosts is not None else None
    return Token(str(login[2]), path) if login is not None and login[2] else None


def netrc_login(host: str) -> tuple[str, str] | None:
    """User and password of ``.netrc`` for a server; ``default`` never counts: it would send them to any server."""
    _, found = _netrc()
    login = found.hosts.get(host) if found is not None else None
    return None if login is None else (login[0] or login[1] or "", login[2] or "")


def may_get_login(scheme: str, host: str) -> bool:
    """Whether a login may be sent: over plain HTTP anybody on the way reads it, and a package names the scheme."""
    return scheme == "https" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its usual names."""
    return host.strip("[]") in {"127.0.0.1", "localhost", "::1"}


def _netrc() -> tuple[str, netrc.netrc | None]:
    """The user's ``.netrc``, parsed again only after it changed."""
    for written in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        path = os.path.expanduser(written) if written else ""
        if path and os.path.isfile(path):
            stat = os.stat(path)
            return path, _parsed(path, stat.st_mtime_ns, stat.st_size)
    return "", None


@lru_cache(maxsize=2)
def _parsed(path: str, mtime_ns: int, size: int) -> netrc.netrc | None:
    import netrc

    try:
        return netrc.netrc(path)
    except netrc.NetrcParseError as error:
        why = f"line {error.lineno}: {error.msg}"
    except (OSError, UnicodeError) as error:
        why = str(error)
    # it must not stop a download that may not need it
    log.warning("%s: %s; no login in this file is used", path, why)
    return None
