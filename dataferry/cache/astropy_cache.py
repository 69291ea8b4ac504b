"""astropy's download cache: what lies in it, and how a verified file is put in.

The key is the canonical ``dataurl + name``, whichever host answered. This room and the plain wrapper are the only ones
that use `astropy.utils.data`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import CacheError
from . import layout as cache_home

__all__ = [
    "astropy_timeout",
    "astropy_user_agent",
    "clear_entry",
    "entry_url",
    "find_entry",
    "internet_allowed",
    "put_entry",
]


def _setting(name: str, default: Any) -> Any:
    try:
        from astropy.utils.data import conf
    except RuntimeError:  # astropy does not start without a home
        return default
    return getattr(conf, name)


def internet_allowed() -> bool:
    """Whether ``astropy.utils.data.conf.allow_internet`` lets anybody use the network."""
    return bool(_setting("allow_internet", True))


def astropy_timeout() -> float | None:
    """``astropy.utils.data.conf.remote_timeout`` in seconds; None where nobody has changed it."""
    seconds = float(_setting("remote_timeout", 0.0))
    if not seconds:
        return None
    from astropy.utils.data import conf

    return None if seconds == float(type(conf).remote_timeout.defaultvalue) else seconds


def astropy_user_agent() -> str:
    """``astropy.utils.data.conf.default_http_user_agent``."""
    return str(_setting("default_http_user_agent", "astropy"))


def find_entry(url: str) -> str | None:
    """Look a URL up in astropy's cache, without network.

    Parameters
    ----------
    url : str
        The canonical URL.

    Returns
    -------
    str or None
        The file, which nobody has verified yet; None where there is no entry.
    """
    import warnings

    location = cache_home.location()
    if location is None or not location.is_dir():
        return None  # astropy would warn of a cache that nobody has used yet
    from astropy.utils.data import CacheMissingWarning, download_file

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheMissingWarning)
            return str(download_file(url, cache=True, sources=[], show_progress=False))
    except (OSError, KeyError, ValueError):
        return None


def entry_url(contents: str) -> str | None:
    """The URL that an entry of astropy's cache is kept for.

    Parameters
    ----------
    contents : str
        astropy's file.

    Returns
    -------
    str or None
        The canonical URL; None where this is no entry.
    """
    try:
        return Path(contents).with_name("url").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def clear_entry(url: str) -> None:
    """Take a URL out of astropy's cache, because its bytes are wrong.

    Parameters
    ----------
    url : str
        The canonical URL.
    """
    import warnings

    from astropy.utils.data import clear_download_cache

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clear_download_cache(url)


def put_entry(url: str, file: str | os.PathLike[str]) -> str | None:
    """Move a verified file into astropy's cache.

    On one file system this is a rename and copies nothing.

    Parameters
    ----------
    url : str
        The canonical URL.
    file : path-like
        The verified file; it is gone afterwards.

    Returns
    -------
    str or None
        astropy's file; None where there is an entry already, which stays as it is, and so does ``file``.

    Raises
    ------
    CacheError
        If the cache cannot be written; ``file`` is still there.
    """
    location = cache_home.location()
    if location is None:
        raise CacheError(
            "astropy finds no cache folder: there is no home; set ASTROPY_CACHE_DIR and ASTROPY_CONFIG_DIR"
        )
    try:
        place = _entry_folder(url)
        if place is not None and os.stat(file).st_dev == os.stat(location).st_dev:
            return _rename_in(url, os.fspath(file), location / place)
        return None if find_entry(url) else _import(url, file)
    except OSError as error:
        raise CacheError(f"astropy's cache {location}: {error.strerror or error}") from error


def _rename_in(url: str, file: str, folder: Path) -> str | None:
    # an entry is made beside the file and becomes visible by one rename, since astropy looks at download/url while it
    # works
    entry = f"{file}.entry"
    shutil.rmtree(entry, ignore_errors=True)
    os.mkdir(entry)
    contents = os.path.join(entry, "contents")
    try:
        Path(entry, "url").write_text(url, encoding="utf-8")
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(file, contents)
        os.chmod(contents, os.stat(entry).st_mode & 0o666)  # the umask and the group's folders decide who may read it
        try:
            os.rename(entry, folder)
        except OSError:
            os.rename(contents, file)
            if not (folder / "contents").is_file():
                raise
            return None
    finally:
        shutil.rmtree(entry, ignore_errors=True)
    return str(folder / "contents")


def _import(url: str, file: str | os.PathLike[str]) -> str:
    from astropy.utils.data import import_file_to_cache

    return str(import_file_to_cache(url, os.fspath(file), remove_original=True, replace=False))


def _entry_folder(url: str) -> Path | None:
    """Where astropy keeps a URL, below its cache folder; None where only astropy can tell."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    normal = url.startswith(("http://", "https://")) and parts.netloc == parts.netloc.lower() and parts.path != ""
    return _flat(url) if normal and _layout_is_flat() else None


def _flat(url: str) -> Path:
    return Path("download", "url", hashlib.md5(url.encode(), usedforsecurity=False).hexdigest())


@lru_cache(maxsize=1)
def _layout_is_flat() -> bool:
    """Learn astropy's layout from what it returns: keep an empty file, see where it lies, and clear it."""
    import tempfile

    url = f"https://dataferry.invalid/{os.getpid()}-{os.urandom(4).hex()}"
    location = cache_home.location()
    if location is None:
        return False
    with tempfile.NamedTemporaryFile() as empty:
        from astropy.utils.data import import_file_to_cache

        kept = Path(import_file_to_cache(url, empty.name, replace=False))
    shutil.rmtree(kept.parent, ignore_errors=True)
    return kept == location / _flat(url) / "contents"
