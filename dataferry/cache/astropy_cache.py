"""astropy's download cache: its settings, and how a verified file gets in and out of it.

The key is the canonical ``dataurl + name``, whichever host answered. This module and the plain wrapper are the only
ones that use `astropy.utils.data`. Entries are written directly, because astropy copies every file and works in the
folder that its own functions list. With a version of astropy that is not known, or is imported anyway, the first entry
of a process is looked up through astropy before it counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from ..files import put_content, read_regular, write_new
from .layout import astropy_version

#: What the private folders in ``download/`` begin with, where an entry is made: astropy lists only ``download/url/``.
STAGED = "dataferry-"
#: The major versions of astropy that are known to find what is written directly.
KNOWN_VERSIONS = frozenset({7, 8})
#: Caches in which astropy found what was written directly.
_confirmed: set[str] = set()


def _setting(name: str, default: Any) -> Any:
    if "astropy.utils.data" not in sys.modules and not _has_config_file():
        return default  # nobody can have changed it, and the import costs more than a download
    try:
        from astropy.utils.data import conf
    except RuntimeError:  # astropy does not start without a home
        return default
    return getattr(conf, name)


def _has_config_file() -> bool:
    """Whether any version of astropy could find a configuration file here."""
    folders = [os.environ.get("ASTROPY_CONFIG_DIR"), os.path.expanduser("~/.astropy/config")]
    folders += [os.path.join(home, "astropy") for home in (os.environ.get("XDG_CONFIG_HOME"), "~/.config") if home]
    return any(folder and os.path.exists(os.path.expanduser(f"{folder}/astropy.cfg")) for folder in folders)


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


def entry_path(cache: str, key: str) -> str:
    """Where astropy keeps the file of a URL's key, whether or not it is there."""
    return f"{cache}/download/url/{key}/contents"


def entry_url(contents: str) -> str | None:
    """The URL that an entry is kept for; None where this is no entry."""
    try:
        return read_regular(os.path.join(os.path.dirname(contents), "url")).decode()
    except (OSError, UnicodeDecodeError):
        return None


def put_entry(cache: str, key: str, url: str, content: str | bytes) -> str | None:
    """Make an entry, visible by one rename: astropy's path of it, or None where there is an entry already.

    ``content`` is the bytes, or a file on the cache's file system, which is gone afterwards unless this gives None or
    raises `OSError`.
    """
    contents = entry_path(cache, key)
    staged = f"{cache}/download/{STAGED}{os.urandom(6).hex()}"
    inside = f"{staged}/contents"
    try:
        os.mkdir(staged)
    except FileNotFoundError:
        os.makedirs(f"{cache}/download/url", exist_ok=True)
        os.mkdir(staged)
    try:
        write_new(f"{staged}/url", url.encode())
        if isinstance(content, bytes):
            write_new(inside, content)
        else:
            _open_to_readers(content, staged)
            os.rename(content, inside)
        try:
            _rename(staged, contents.removesuffix("/contents"))
        except OSError:
            if not isinstance(content, bytes):
                os.rename(inside, content)
            if os.path.lexists(contents):
                _rmtree(staged)
                return None
            raise
    except BaseException:
        _rmtree(staged)
        raise
    if cache not in _confirmed and ("astropy.utils.data" in sys.modules or astropy_version() not in KNOWN_VERSIONS):
        if not _is_found_by_astropy(url, contents):
            if not isinstance(content, bytes):
                os.rename(contents, content)
            _rmtree(os.path.dirname(contents))
            raise OSError("this version of astropy keeps its files in another way than dataferry knows")
        _confirmed.add(cache)
    return contents


def _rename(staged: str, folder: str) -> None:
    try:
        os.rename(staged, folder)
    except FileNotFoundError:  # astropy's clear_download_cache() takes download/url away
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        os.rename(staged, folder)


def _is_found_by_astropy(url: str, contents: str) -> bool:
    from astropy.utils.data import download_file

    try:
        return os.path.samefile(download_file(url, cache=True, sources=[], show_progress=False), contents)
    except (OSError, KeyError, ValueError):
        return False


def replace_entry(contents: str, content: str | bytes) -> None:
    """Put other bytes into an entry, in one step: who has the old file open keeps it."""
    if isinstance(content, str):
        _open_to_readers(content, os.path.dirname(contents))
    put_content(content, contents)


def drop_entry(contents: str) -> None:
    """Take an entry out of the cache, so that astropy never sees a half of it; raises `OSError` if it stays."""
    folder = os.path.dirname(contents)
    staged = f"{os.path.dirname(os.path.dirname(folder))}/{STAGED}{os.urandom(6).hex()}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, staged)
        _rmtree(staged)


def _rmtree(folder: str) -> None:
    import shutil  # it loads every kind of compression, which a hit in the cache does not need

    shutil.rmtree(folder, ignore_errors=True)


def _open_to_readers(path: str, folder: str) -> None:
    # the umask and the group's folders decide who may read it; a file system without rights takes no chmod
    with contextlib.suppress(OSError):
        os.chmod(path, os.stat(folder).st_mode & 0o666)
