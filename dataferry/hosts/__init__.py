"""Hosts: the places that serve files over the network.

One module a host, found by the entry-point group ``dataferry.hosts``. Those of dataferry register there as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import BadName, DataferryError
from ..registry.names import close_names, redact_url

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import Host

__all__ = ["host_kind", "host_names", "make_host"]

_GROUP = "dataferry.hosts"


@lru_cache(maxsize=1)
def _points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=_GROUP)}
    # a frozen program, or a package that was copied without its .dist-info, has no entry points of dataferry
    return points if "https" in points else _built_in() | points


def _built_in() -> dict[str, EntryPoint]:
    from importlib import import_module
    from importlib.metadata import EntryPoint
    from pkgutil import iter_modules

    from .base import Host

    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    values = [value for module in modules for value in vars(module).values()]
    kinds = [value for value in values if isinstance(value, type) and issubclass(value, Host)]
    places = {
        scheme: f"{kind.__module__}:{kind.__name__}" for kind in kinds for scheme in vars(kind).get("schemes", ())
    }
    return {scheme: EntryPoint(scheme, place, _GROUP) for scheme, place in places.items()}


def host_names() -> list[str]:
    """The schemes that some installed host handles, sorted."""
    return sorted(_points())


def host_kind(scheme: str) -> type[Host]:
    """The class that handles one of `host_names`."""
    kind: type[Host] = _points()[scheme].load()
    return kind


def _unknown(spec: str) -> BadName:
    scheme, colon, _ = spec.partition(":")
    known = host_names()
    if not colon and scheme.lower() in known:
        return BadName(f"{spec!r} names a kind of host and no place: it reads {scheme.lower()}:...")
    if spec[:1] not in {"/", "~", "."} and "." in scheme.partition("/")[0]:
        return BadName(f"{redact_url(scheme)!r} is no kind of host: a web server begins with https://")
    if not colon and (spec[:1] in {"/", "~", "."} or "/" in spec):
        return BadName(
            f"{spec!r} is no host; a folder that a web server publishes reads folder:/path?url=https://host/path/"
        )
    close = close_names(scheme.lower(), known)
    did_you_mean = f"; did you mean {' or '.join(f'{name}:' for name in close)}?"
    hint = did_you_mean if close else f" (there are: {', '.join(known)})"
    asked = f"{scheme}:..." if colon else repr(spec)
    return BadName(f"no host is installed for {asked}{hint}")


@lru_cache(maxsize=256)
def make_host(spec: str) -> Host:
    """Make the host that a line of ``dataferry.toml`` describes, without any input or output. Raises `BadName`."""
    scheme, colon, _ = spec.partition(":")
    if not colon or scheme.lower() not in _points():
        raise _unknown(spec)
    kind = host_kind(scheme.lower())
    try:
        return kind(spec)
    except DataferryError:
        raise
    except ValueError:  # urlsplit: a port of letters, half an IPv6 address; its text may hold a password
        raise BadName(f"{redact_url(spec)!r} holds no URL that can be read") from None
