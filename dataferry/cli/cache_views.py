"""What dataferry keeps in the caches, and which of it a registry still names."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..cache import astropy_cache
from ..cache import layout as cache_home
from ..errors import CacheError, RegistryError
from ..registry.packages import REGISTRY_NAME, package_folders
from ..registry.registry import Registry

__all__ = ["ABSENT", "DROPPED", "LEFT_OVER", "REGISTERED", "View", "homes", "kept_views", "remove"]

REGISTERED = "registered"
#: The package is here, and its registry does not name the file any more.
DROPPED = "no longer registered"
#: A link that a killed process was about to put in place.
LEFT_OVER = "left over"
UNKNOWN = "never registered"
ABSENT = "its package is not installed here"
UNREADABLE = "its registry cannot be read"

_FOLDER = re.compile(r"(.+)-[0-9a-f]{8}").fullmatch
_PRIVATE = re.compile(r".+\.\d+\.[0-9a-f]{8}").fullmatch


@dataclass(frozen=True)
class View:
    """One file that dataferry keeps.

    Parameters
    ----------
    home : str
        dataferry's part of the cache.
    path : str
        The readable path.
    package : str
        The package.
    name : str
        The file's name.
    size : int or None
        Bytes; None where the cache entry is gone and only its link is left.
    state : str
        What its package's registry says of it.
    """

    home: str
    path: str
    package: str
    name: str
    size: int | None
    state: str


def homes() -> list[str]:
    """Dataferry's parts of the caches that are in use now."""
    cache_home.location()  # with astropy loaded it is known which of the possible places it uses
    return [home for home in cache_home.cache_folders() if os.path.isdir(home)]


def kept_views(package: str | None = None) -> list[View]:
    """What dataferry keeps.

    Parameters
    ----------
    package : str, optional
        Of this package only.

    Returns
    -------
    list of View
        Sorted by package and name.
    """
    found = []
    for home in homes():
        for view, path in cache_home.entries(home):
            folder, _, name = view.partition("/")
            match = _FOLDER(folder)
            if match is None or not name or package not in {None, match[1]}:
                continue
            size = None
            with contextlib.suppress(OSError):
                size = os.stat(path).st_size
            found.append(View(home, path, match[1], name, size, _state(home, view, path, match[1], name)))
    return sorted(found, key=lambda v: (v.package, v.name, v.path))


@lru_cache(maxsize=256)
def _registry(package: str) -> Registry | str:
    try:
        paths = [folder / "data" / REGISTRY_NAME for folder in package_folders(package)]
    except RegistryError:
        return ABSENT
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return ABSENT
    try:
        registry = Registry(path)
        registry.names()
    except RegistryError:
        return UNREADABLE
    return registry


def _state(home: str, view: str, path: str, package: str, name: str) -> str:
    if _PRIVATE(name) and os.path.islink(path):
        return LEFT_OVER
    registry = _registry(package)
    if isinstance(registry, str):
        return registry
    if cache_home.view_name(package, registry.base, name) == view and registry.find(name) is not None:
        return REGISTERED
    # what was never verified was asked for under a name that no registry had, so none can have dropped it
    return DROPPED if cache_home.stamps_of(home).read(cache_home.stamp_key(home, path)) is not None else UNKNOWN


def remove(views: Iterable[View], others: Iterable[View]) -> int:
    """Remove files from the caches: readable path, stamp and cache entry.

    Parameters
    ----------
    views : iterable of View
        What is removed.
    others : iterable of View
        What stays: an entry that one of these shows as well is kept.

    Returns
    -------
    int
        Bytes that are free now.

    Raises
    ------
    CacheError
        If something cannot be removed.
    """
    needed = {os.path.realpath(view.path) for view in others}
    freed = 0
    for view in views:
        contents = os.path.realpath(view.path)
        try:
            if os.path.islink(view.path) and contents not in needed:
                freed += _remove_entry(contents, os.path.dirname(view.home))
            elif not os.path.islink(view.path):
                freed += view.size or 0
            os.unlink(view.path)
        except OSError as error:
            raise CacheError(f"{view.path} cannot be removed: {error.strerror or error}") from error
        cache_home.stamps_of(view.home).forget([cache_home.stamp_key(view.home, view.path)])
        with contextlib.suppress(OSError):  # until one is not empty
            for folder in Path(view.path).parents:
                if folder == Path(view.home):
                    break
                folder.rmdir()
    return freed


def _remove_entry(contents: str, cache: str) -> int:
    """Take an entry out of astropy's cache, if it is one."""
    inside = Path(contents).is_relative_to(os.path.realpath(cache))
    url = astropy_cache.entry_url(contents) if inside else None
    if url is None or not os.path.isfile(contents):
        return 0
    size = os.path.getsize(contents)
    astropy_cache.clear_entry(url)
    if os.path.exists(contents):
        raise CacheError(f"astropy's cache does not let go of {contents}; is it read-only?")
    return size
