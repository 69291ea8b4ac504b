"""Ask hosts whether they have a newer version of a file that is not registered, and fetch only that."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ..cache import astropy_cache
from ..cache import layout as cache_home
from ..cache import store as keeping
from ..errors import CacheError, DataferryError
from . import remote
from .candidates import Places
from .terms import Terms

__all__ = ["refresh"]


def refresh(places: Places, name: str, terms: Terms) -> str:
    """Bring the newest version of a file that is not registered.

    Parameters
    ----------
    places : Places
        The places of the package.
    name : str
        The file's name.
    terms : Terms
        Who is told, and how long it may take.

    Returns
    -------
    str
        The readable path of the version in astropy's cache: the one that was there, where the host says that it is
        still the newest, or a new one in its place.

    Raises
    ------
    Offline, FileUnavailable
        If no host answers; what is in the cache stays as it is.
    CacheError
        If the new version cannot be kept.
    """
    from ..download.fetch import Wanted, fetch

    url = places.registry.base + name
    sources = tuple(remote.sources(places, name, None))
    contents = astropy_cache.find_entry(url)
    etag = _known_etag(url, contents)

    def store(_: Wanted, file: Path) -> Path:
        # a reader who has the old version open keeps it: the entry is another file from now on
        if astropy_cache.find_entry(url) is not None:
            astropy_cache.clear_entry(url)
        kept = astropy_cache.put_entry(url, file) or astropy_cache.find_entry(url)
        if kept is None:
            raise CacheError(f"the new version of {name!r} could not be kept; 'dataferry doctor' shows the caches")
        return Path(kept)

    [result] = fetch(
        [Wanted(name, url, None, None, sources, etag)],
        find=lambda _: Path(contents) if etag and contents else None,
        store=store,
        workdir=Path(keeping.incoming()),
        settings=remote.engine_settings(),
        stall_timeout=remote.stall_timeout(places),
        progress=terms.told,
        deadline=terms.deadline,
    )
    if isinstance(result, DataferryError):
        raise result
    if not result.unchanged:
        _keep_etag(url, str(result.path), result.etag)
    return keeping.readable(places, name, str(result.path))


def _etag_file(url: str) -> Path | None:
    home = cache_home.writable_home()
    key = hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
    return None if home is None else Path(home, "etags", key)


def _known_etag(url: str, contents: str | None) -> str | None:
    """The validator of the cached version, if it still is the file for which the host gave it."""
    file = _etag_file(url)
    if contents is None or file is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        inode, mtime_ns, etag = file.read_text(encoding="latin-1").rstrip("\n").split(" ", 2)
        stat = os.stat(contents)
        if (int(inode), int(mtime_ns)) == (stat.st_ino, stat.st_mtime_ns):
            return etag
    return None


def _keep_etag(url: str, contents: str, etag: str | None) -> None:
    file = _etag_file(url)
    if file is None:
        return
    with contextlib.suppress(OSError):  # without it the next refresh fetches the file again
        if not etag:
            file.unlink()
            return
        stat = os.stat(contents)
        file.parent.mkdir(exist_ok=True)
        private = file.with_name(f"{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
        private.write_text(f"{stat.st_ino} {stat.st_mtime_ns} {etag}\n", encoding="latin-1")
        os.replace(private, file)
