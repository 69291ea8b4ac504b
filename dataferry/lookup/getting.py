"""Get one file or many: those that are on this machine, and then the others together from the hosts."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import DataferryError, Failure, FetchErrors
from .lookup import Lookup
from .terms import Terms

__all__ = ["get", "get_many"]


def get(lookup: Lookup, name: str, terms: Terms, *, refresh: bool) -> str:
    """The path of a file; see `PackageData.get`."""
    if refresh and lookup.entry(name) is None:
        return lookup.refresh(name, terms)
    path = lookup.known(name)
    if path is None:
        path, tried = lookup.look(name)
        if path is None:
            result = lookup.bring({name: tried}, terms)[name]
            if isinstance(result, DataferryError):
                raise result
            path = result
    return path


def get_many(lookup: Lookup, names: str | Iterable[str], terms: Terms) -> list[str]:
    """The paths of files; see `PackageData.fetch`."""
    wanted = lookup.expand(names)
    paths: dict[str, str] = {}
    missing: dict[str, list[Failure]] = {}
    for name in wanted:
        path, tried = lookup.look(name)
        if path is None:
            missing[name] = tried
        else:
            paths[name] = path
    brought = lookup.bring(missing, terms) if missing else {}
    errors = [result for result in brought.values() if isinstance(result, DataferryError)]
    paths |= {name: result for name, result in brought.items() if isinstance(result, str)}
    if errors:
        group = FetchErrors(f"{len(errors)} of {len(wanted)} files could not be had", errors)
        group.paths = {name: paths[name] for name in wanted if name in paths}
        raise group
    return [paths[name] for name in wanted]
