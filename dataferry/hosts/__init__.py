"""Hosts: the places that serve files over the network.

One class a file, found by the entry-point group ``dataferry.hosts``; those that come with dataferry register there as
anybody's do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import BadName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import Host

__all__ = ["host_kind", "host_names", "make_host"]

_GROUP = "dataferry.hosts"


@lru_cache(maxsize=1)
def _points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=_GROUP)}


def host_names() -> list[str]:
    """The schemes that some installed host handles.

    Returns
    -------
    list of str
        Sorted.
    """
    return sorted(_points())


def host_kind(scheme: str) -> type[Host]:
    """The class that handles a scheme.

    Parameters
    ----------
    scheme : str
        One of `host_names`.

    Returns
    -------
    type
        A `Host`.

    Raises
    ------
    BadName
        If no installed host handles the scheme.
    """
    if scheme not in _points():
        raise _unknown(f"{scheme}:")
    kind: type[Host] = _points()[scheme].load()
    return kind


def _unknown(spec: str) -> BadName:
    from ..registry.names import close_names

    scheme, colon, _ = spec.partition(":")
    known = host_names()
    if not colon and scheme.lower() in known:
        return BadName(f"{spec!r} names a kind of host and no place: it reads {scheme.lower()}:...")
    if not colon and (spec[:1] in {"/", "~", "."} or "/" in spec):
        return BadName(
            f"{spec!r} is no host; a folder that a web server publishes reads folder:/path?url=https://host/path/"
        )
    close = close_names(scheme.lower(), known)
    meant = f"; did you mean {' or '.join(f'{name}:' for name in close)}?" if close else ""
    redacted = f"{scheme}:..." if colon else repr(spec)
    return BadName(f"no host is installed for {redacted}{meant} (there are: {', '.join(known)})")


@lru_cache(maxsize=256)
def make_host(spec: str) -> Host:
    """Make the host that a line of ``dataferry.toml`` describes.

    Parameters
    ----------
    spec : str
        ``https://host/path/`` or ``scheme:rest``.

    Returns
    -------
    Host
        The host, without any input or output done.

    Raises
    ------
    BadName
        If no installed host handles the scheme, or it refuses the rest.
    """
    scheme, colon, _ = spec.partition(":")
    point = _points().get(scheme.lower()) if colon else None
    if point is None:
        raise _unknown(spec)
    host: Host = point.load()(spec)
    return host
