"""Keep a verified file: in astropy's cache, else in dataferry's own, else for this process."""

from __future__ import annotations

import contextlib
import os
import warnings
from functools import lru_cache

from ..errors import CacheError
from ..files import Stamp
from ..lookup.candidates import Candidate, Places, Verdict
from ..registry.names import redact_url
from ..registry.registry import Entry
from . import astropy_cache
from . import layout as cache_home
from .stamps import stamp_files

__all__ = ["cached", "incoming", "keep", "readable"]


@lru_cache(maxsize=1)
def _for_this_process() -> str:
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="dataferry-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    warnings.warn(
        "no cache can be written here, so files are kept for this process only; set ASTROPY_CACHE_DIR",
        RuntimeWarning,
        stacklevel=2,
    )
    return folder


def _home() -> str:
    return cache_home.writable_home() or _for_this_process()


def incoming() -> str:
    """The folder for private, unfinished files: on the file system of the cache that will keep them.

    Returns
    -------
    str
        An existing folder.
    """
    folder = os.path.join(_home(), "incoming")
    os.makedirs(folder, exist_ok=True)
    return folder


def cached(places: Places, entry: Entry, url: str) -> tuple[str | None, Verdict]:
    """Look for what the plain astropy idiom cached, verify it and give it a readable path.

    Parameters
    ----------
    places : Places
        The places of the package.
    entry : Entry
        What the file must be.
    url : str
        The canonical URL.

    Returns
    -------
    (str or None, Verdict)
        The readable path, or None, and what was found.
    """
    contents = astropy_cache.find_entry(url)
    if contents is None:
        return None, Verdict(False, "not there", kind="absent")
    verdict = places.judge(Candidate("entry", contents, "astropy's cache"), entry)
    return (readable(places, entry.name, contents, entry.sha256) if verdict.good else None), verdict


def readable(places: Places, name: str, contents: str, sha256: str | None = None) -> str:
    """Give an entry of astropy's cache a path with the file's own name, and stamp it if it was verified.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    contents : str
        astropy's file.
    sha256 : str, optional
        Its hash, where it was verified.

    Returns
    -------
    str
        The readable path; ``contents`` itself where none can be made.
    """
    home = _home()
    path = cache_home.link_entry(home, places.view(name), contents)
    if sha256 is not None:
        _stamp(home, path, sha256)
    return path


def _stamp(home: str, path: str, sha256: str) -> None:
    if not path.startswith(home + os.sep):
        return  # no link could be made, and astropy's own path has no stamp
    with contextlib.suppress(OSError):  # without a stamp the next process hashes it once more
        key = cache_home.stamp_key(home, path)
        stamp_files(cache_home.stamps_of(home), {key: (path, Stamp.of(os.stat(path), sha256))}, settled=True)


def keep(places: Places, entry: Entry, url: str, file: str) -> str:
    """Put a verified file in its place.

    Parameters
    ----------
    places : Places
        The places of the package.
    entry : Entry
        The file's entry; its bytes have been verified.
    url : str
        The canonical URL.
    file : str
        The private file, which is gone afterwards.

    Returns
    -------
    str
        The path for readers.

    Raises
    ------
    CacheError
        If it can be kept nowhere.
    """
    try:
        contents = astropy_cache.put_entry(url, file)
        if contents is None:
            path, _ = cached(places, entry, url)
            if path is not None:  # somebody else was first, with the same bytes
                os.unlink(file)
                return path
            astropy_cache.clear_entry(url)
            contents = astropy_cache.put_entry(url, file)
        if contents is not None:
            return readable(places, entry.name, contents, entry.sha256)
    except CacheError as error:
        reason = str(error)
    else:
        reason = f"astropy's cache holds other bytes for {redact_url(url)} and they cannot be cleared"
    home = _home()
    path = os.path.join(home, places.view(entry.name))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.replace(file, path)
    except OSError as error:
        raise CacheError(
            f"{reason}; {home}: {error.strerror or error}; set ASTROPY_CACHE_DIR to a folder with room"
        ) from error
    _stamp(home, path, entry.sha256)
    return path
