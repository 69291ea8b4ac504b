"""dataferry's folders in the caches: where a verified file is found without asking astropy.

astropy calls every cached file ``contents``. Readers get a link beside the cache that carries the file's own name,
``<cache>/dataferry/<package>-<hash of dataurl>/<name>``; its stamp says that the target was verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .stamps import Stamps

__all__ = [
    "cache_folders",
    "entries",
    "link_entry",
    "location",
    "own_home",
    "stamp_key",
    "stamps_of",
    "view_name",
    "writable_home",
]

#: dataferry's own part of a cache folder.
OWN = "dataferry"
#: What lies there beside the readable paths of files.
_APART = {"download", "etags", "git", "incoming", "publish", "stamps"}


def view_name(package: str, dataurl: str, name: str) -> str:
    """The readable path of a file below dataferry's part of the cache.

    Parameters
    ----------
    package : str
        The package that the file belongs to.
    dataurl : str
        Its primary base URL, which keeps two versions of a data set apart.
    name : str
        The file's name.

    Returns
    -------
    str
        ``<package>-<8 digits>/<name>``.
    """
    return f"{package}-{hashlib.md5(dataurl.encode(), usedforsecurity=False).hexdigest()[:8]}/{name}"


def own_home() -> str | None:
    """Dataferry's own folder in the user's cache home; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, OWN) if os.path.isabs(base) else None


def stamps_of(home: str) -> Stamps:
    """The stamps in one of dataferry's folders."""
    return Stamps(os.path.join(home, "stamps"))


def stamp_key(home: str, path: str) -> str:
    """What names a stamp of a cache: the relative path, which holds wherever the cache is mounted or linked from."""
    return os.path.relpath(path, home)


def cache_folders() -> list[str]:
    """Dataferry's folders in which a verified file may be found, best first, without importing astropy.

    Returns
    -------
    list of str
        ``<astropy's cache>/dataferry`` of every place that astropy's rules may mean (of the one it does mean, where
        astropy is loaded), then `own_home`.
    """
    paths = sys.modules.get("astropy.config.paths")
    if paths is not None:
        place = location()
        places = [] if place is None else [str(place)]
    else:
        env = os.environ
        places = [p for p in [env.get("ASTROPY_CACHE_DIR")] if p and os.path.isabs(p) and os.path.isdir(p)]
        if not places:
            xdg = env.get("XDG_CACHE_HOME")
            places = [os.path.join(xdg, "astropy")] if xdg and os.path.isabs(xdg) else []
            places += [
                os.path.expanduser("~/.cache/astropy"),
                os.path.expanduser("~/.astropy/cache"),
            ]
    own = own_home()
    # XDG_CACHE_HOME may well be ~/.cache
    folders = list(dict.fromkeys(os.path.join(p, OWN) for p in places if os.path.isabs(p)))
    return [*folders, own] if own is not None and own not in folders else folders


def location() -> Path | None:
    """Astropy's cache folder as it is now; None for a user without a home."""
    try:
        from astropy.config import get_cache_dir_path  # without a home not even this import works

        return Path(get_cache_dir_path())
    except (RuntimeError, OSError):
        return None


def writable_home() -> str | None:
    """Dataferry's folder on the file system of astropy's cache, made if need be.

    Returns
    -------
    str or None
        The folder; `own_home` where astropy's cache cannot be written; None where neither can.
    """
    place = location()
    for home in [None if place is None else str(place / OWN), own_home()]:
        if home is None:
            continue
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(home, "incoming"), exist_ok=True)
            if os.access(home, os.W_OK | os.X_OK) and os.access(os.path.join(home, "incoming"), os.W_OK | os.X_OK):
                return home
    return None


def link_entry(home: str, view: str, contents: str) -> str:
    """Give an entry a readable path.

    Parameters
    ----------
    home : str
        dataferry's folder.
    view : str
        The readable path below it.
    contents : str
        astropy's file.

    Returns
    -------
    str
        The readable path; ``contents`` itself where no link can be made.
    """
    path = os.path.join(home, view)
    near = os.path.dirname(home) == os.path.commonpath([os.path.dirname(home), contents])
    target = os.path.relpath(contents, os.path.dirname(path)) if near else contents
    with contextlib.suppress(OSError):
        if os.readlink(path) == target:
            return path
    private = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, private)
        os.replace(private, path)
    except (OSError, NotImplementedError):
        with contextlib.suppress(OSError):
            os.unlink(private)
        return contents
    return path


def entries(home: str) -> Iterator[tuple[str, str]]:
    """The readable paths in one of dataferry's folders.

    Parameters
    ----------
    home : str
        dataferry's folder.

    Yields
    ------
    (str, str)
        The view, ``<package>-<8 digits>/<name>``, and its absolute path.
    """
    for folder, folders, files in os.walk(home):
        folders[:] = sorted(f for f in folders if folder != home or f not in _APART)
        if folder != home:
            for file in sorted(files):
                path = os.path.join(folder, file)
                yield os.path.relpath(path, home).replace(os.sep, "/"), path
