"""Where an author's token is: environment, settings, keyring, the provider's own tool, ``.netrc``."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["Token", "find_token"]

#: Under this name `keyring set dataferry HOST` keeps a token.
KEYRING_SERVICE = "dataferry"


@dataclass(frozen=True, slots=True)
class Token:
    """A secret, and where it was found.

    Parameters
    ----------
    secret : str
        The token; it is in no text of this object.
    origin : str
        Where it was found, as it may be printed.
    """

    secret: str = field(repr=False)
    origin: str


def find_token(
    host: str, settings: Settings, *, variables: Sequence[str] = (), tool: Sequence[str] = ()
) -> Token | None:
    """Find the token for a host.

    Parameters
    ----------
    host : str
        The host's name, ``api.github.com``; with a port where it has one.
    settings : Settings
        The user's settings; ``[hosts."<host>"] token`` counts.
    variables : sequence of str
        Environment variables that may hold it, the first one first.
    tool : sequence of str
        A command that prints it, ``("gh", "auth", "token")``.

    Returns
    -------
    Token or None
        None if there is none anywhere, and for a stranger.
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
    import netrc

    for place in (os.environ.get("NETRC"), "~/.netrc"):
        path = os.path.expanduser(place) if place else ""
        if path and os.path.isfile(path):
            with contextlib.suppress(netrc.NetrcParseError, OSError, UnicodeError):
                hosts = netrc.netrc(path).hosts
                if name in hosts and hosts[name][2]:
                    return Token(str(hosts[name][2]), path)
            return None
    return None
