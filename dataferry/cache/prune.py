"""What dataferry keeps in the caches: what a registry still names, what killed runs left, and how each is removed."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..errors import CacheError, RegistryError
from ..files import is_private
from ..portable import registered_name
from ..registry.packages import declared_packages, find_registry
from ..registry.registry import Registry
from . import layout
from .archive import UNPACKING
from .astropy_cache import STAGED, drop_entry, entry_url
from .stamps import ODD

REGISTERED = "registered"
#: The package is here, and its registry does not name the file any more.
DROPPED = "no longer registered"
UNKNOWN = "never registered"
ABSENT = "its package is not installed here"
#: It belongs to no package.
RETRIEVED = "fetched by its URL"
UNREADABLE = "its registry cannot be read"

_LINK = re.compile(r"link-[0-9a-f]{12}").fullmatch
_ODD = re.compile("[0-9a-f]" + re.escape(ODD) + "[0-9a-f]{8}").fullmatch
_STAGED = re.compile(re.escape(STAGED) + "[0-9a-f]{12}").fullmatch
#: What is younger may be in use.
_IN_USE_SECONDS = 3600.0


class View(NamedTuple):
    """One file that dataferry keeps."""

    #: dataferry's part of the cache.
    home: str
    #: The readable path.
    path: str
    package: str
    name: str
    #: Bytes; None where the cache entry is gone and only its link is left.
    size: int | None
    #: What its package's registry says of it.
    state: str


def homes() -> dict[str, bool]:
    """The folders with downloads, and whether somebody chose them: other files can lie in such a folder."""
    found = {home: layout.chosen_cache() is not None for home in layout.cache_folders()}
    for package in declared_packages():
        registry = _registry(package)
        variable = registry.cache_env if isinstance(registry, Registry) else ""
        if variable and (chosen := layout.chosen_cache(variable)) is not None:
            found.setdefault(chosen.path, True)
    return {home: chosen for home, chosen in found.items() if os.path.isdir(home)}


def kept_views(package: str | None = None) -> list[View]:
    """What dataferry keeps, of one package or of all, sorted by package and name."""
    _registry.cache_clear()
    _digits.cache_clear()
    _entries.cache_clear()
    found = []
    for home, chosen in homes().items():
        for view, entry in layout.views(home):
            folder, _, below = view.partition("/")
            name = registered_name(below)
            split = layout.split_view_folder(folder)
            if split is None or not name or package not in {None, split[0]}:
                continue
            if chosen and not _is_kept(home, view, *split):
                continue
            try:
                size: int | None = entry.stat().st_size
            except OSError:
                size = None
            state = _state(home, view, entry.path, *split, name)
            found.append(View(home, entry.path, split[0], name, size, state))
    found.sort(key=lambda v: (v.package, v.name, v.path))
    return found


def _is_kept(home: str, view: str, package: str, digits: str) -> bool:
    """Whether a file in a chosen folder is a download, and not one of the user's in ``run-20240131``."""
    ours = package == layout.RETRIEVED or digits == _digits(package)
    return ours or layout.stamps_of(home).read(view) is not None


@lru_cache(maxsize=256)
def _registry(package: str) -> Registry | str:
    """What declares the files of a package, or the state of all its files where nothing does."""
    if package == layout.RETRIEVED:
        return RETRIEVED
    try:
        path = find_registry(package)
    except RegistryError:
        return ABSENT
    try:
        registry = Registry(path, package)
        registry.names()  # each line of it can be read
    except RegistryError:
        return UNREADABLE
    return registry


@lru_cache(maxsize=256)
def _digits(package: str) -> str:
    registry = _registry(package)
    return "" if isinstance(registry, str) else layout.view_folder(package, registry.base)[-8:]


def _state(home: str, view: str, path: str, package: str, digits: str, name: str) -> str:
    registry = _registry(package)
    if isinstance(registry, str):
        return registry
    mine = digits == _digits(package) or view == layout.second_view_name(package, registry.base, name)
    if mine and registry.find(name) is not None:
        return REGISTERED
    # what was never verified was asked for under a name that no registry had, so none can have dropped it
    return DROPPED if layout.stamps_of(home).read(_key(view, path)) is not None else UNKNOWN


def _key(view: str, path: str) -> str:
    """What the stamp of a view is kept under: the folder of its entry, or its own name where it is a file itself."""
    contents = _entry(path)
    return view if contents is None else os.path.basename(os.path.dirname(contents))


def _entry(path: str) -> str | None:
    """The entry that a view is a link to; None for a file by itself."""
    with contextlib.suppress(OSError):
        return os.path.join(os.path.dirname(path), os.readlink(path))
    with contextlib.suppress(OSError):
        now = os.stat(path)
        cache = layout.astropy_cache()
        if now.st_nlink > 1 and cache is not None:
            return _entries(cache).get((now.st_dev, now.st_ino))
    return None


@lru_cache(maxsize=1)
def _entries(cache: str) -> dict[tuple[int, int], str]:
    """All entries of astropy's cache by their inodes, where hard links lead to them."""
    found = {}
    for contents in glob.iglob(f"{glob.escape(cache)}/download/url/*/contents"):
        now = os.stat(contents)
        found[now.st_dev, now.st_ino] = contents
    return found


def remove(views: Iterable[View], others: Iterable[View]) -> int:
    """Remove files from the caches: readable path, stamp and entry; gives the bytes that are free now.

    An entry that one of `others`, which stay, needs as well is kept. Raises `CacheError`.
    """
    needed = {_key("", view.path) for view in others}
    freed = 0
    for view in views:
        key = _key(os.path.relpath(view.path, view.home).replace(os.sep, "/"), view.path)
        contents = _entry(view.path)
        try:
            if contents is None:
                freed += view.size or 0
            elif key not in needed:
                freed += _remove_entry(os.path.realpath(contents), os.path.dirname(view.home))
            with contextlib.suppress(FileNotFoundError):  # another command removes as well
                os.unlink(view.path)
            unpacked = os.path.join(view.home, "unpacked", os.path.relpath(view.path, view.home))
            freed += size_of(unpacked)
            shutil.rmtree(unpacked, ignore_errors=True)
        except OSError as error:
            raise CacheError(f"{view.path} cannot be removed: {error.strerror or error}") from error
        if key not in needed:
            layout.stamps_of(view.home).forget([key])
        folder = os.path.dirname(view.path)
        with contextlib.suppress(OSError):  # until one is not empty
            while folder != view.home:
                os.rmdir(folder)
                folder = os.path.dirname(folder)
    return freed


def _remove_entry(contents: str, cache: str) -> int:
    """Take an entry out of astropy's cache, if it is one."""
    roots = [os.path.join(os.path.realpath(root), "") for root in (cache, layout.astropy_cache() or cache)]
    if not contents.startswith(tuple(roots)) or entry_url(contents) is None:
        return 0
    size = 0
    with contextlib.suppress(OSError):  # another command has removed it; or a link that leads to itself
        size = os.path.getsize(contents)
    drop_entry(contents)
    return size


def remains(home: str) -> list[str]:
    """What killed runs left of the cache's own making."""
    found: list[str] = []
    stamps, download = layout.stamps_of(home).root, os.path.join(os.path.dirname(home), "download")
    kinds = ((home, is_private), (stamps, is_private), (stamps, _ODD), (f"{home}/incoming", _LINK), (download, _STAGED))
    for folder, ours in kinds:
        with contextlib.suppress(OSError):
            found += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if ours(name)]
    for folder, folders, _ in os.walk(os.path.join(home, "unpacked")):
        found += [os.path.join(folder, name) for name in folders if name.endswith(UNPACKING)]
    now = time.time()
    return [path for path in found if _age(path, now) > _IN_USE_SECONDS]


def remove_remains(path: str) -> None:
    """Remove one of `remains`."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def _age(path: str, now: float) -> float:
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return 0.0


def stats_below(path: str | os.PathLike[str]) -> list[os.stat_result]:
    """Of a file, or of a folder and everything in it; other commands may remove it meanwhile."""
    found = []
    below = (os.path.join(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for item in (path, *below):
        with contextlib.suppress(OSError):
            found.append(os.lstat(item))
    return found


def size_of(path: str | os.PathLike[str]) -> int:
    """The bytes of a file, or of all files below a folder."""
    return sum(now.st_size for now in stats_below(path) if not stat.S_ISDIR(now.st_mode))
