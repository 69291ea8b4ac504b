"""astropy's download cache: its settings, and how a verified file gets in and out of it.

The key is the canonical ``dataurl + name``, whichever host answered. This module and the plain wrapper are the only
ones that use `astropy.utils.data`. Entries are written directly, because astropy copies every file and works in the
folder that its own functions list; the first entry of a process is looked up through astropy before it counts.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import Any

from .layout import url_key

__all__ = [
    "STAGED",
    "astropy_timeout",
    "astropy_user_agent",
    "drop_entry",
    "entry_path",
    "entry_url",
    "internet_allowed",
    "put_entry",
    "replace_entry",
]

#: What the private folders in ``download/`` begin with, where an entry is made: astropy lists only ``download/url/``.
STAGED = "dataferry-"
#: Caches in which astropy finds what is written directly, and those in which it does not.
_confirmed: dict[str, bool] = {}


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


def entry_path(cache: str, url: str) -> str:
    """Where astropy keeps the file of a URL, whether or not it is there."""
    if _confirmed.get(cache) is False and (found := _ask_astropy(url)):
        return found
    return f"{cache}/download/url/{url_key(url)}/contents"


def entry_url(contents: str) -> str | None:
    """The URL that an entry is kept for; None where this is no entry."""
    try:
        with open(os.path.join(os.path.dirname(contents), "url"), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def _ask_astropy(url: str) -> str | None:
    from astropy.utils.data import download_file

    with contextlib.suppress(OSError, KeyError, ValueError):
        return str(download_file(url, cache=True, sources=[], show_progress=False))
    return None


def put_entry(cache: str, url: str, file: str, sha256: str | None = None) -> str | None:
    """Move a file into the cache: astropy's path of it, or None where there is an entry already.

    On one file system this is a rename and copies nothing. ``file`` is gone afterwards, unless this gives None or
    raises `OSError`.
    """
    if _confirmed.get(cache) is False:
        return _import(url, file)
    contents = entry_path(cache, url)
    staged = f"{cache}/download/{STAGED}{os.urandom(6).hex()}"
    _mkdir(staged, f"{cache}/download/url")
    moved = done = False
    try:
        _write(f"{staged}/url", url)
        _move(file, f"{staged}/contents", sha256)
        moved = True
        os.rename(staged, os.path.dirname(contents))
        done = True
    except OSError as error:
        if moved:
            _move(f"{staged}/contents", file, sha256)
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST} and os.path.lexists(contents):
            return None
        raise
    finally:
        if not done:
            _rmtree(staged)
    if cache not in _confirmed:
        _confirmed[cache] = _ask_astropy(url) == contents
        if not _confirmed[cache]:  # another layout than that of astropy 5 to 8
            _move(contents, file, sha256)
            _rmtree(os.path.dirname(contents))
            return _import(url, file)
    return contents


def _import(url: str, file: str) -> str | None:
    from astropy.utils.data import import_file_to_cache

    if _ask_astropy(url) is not None:
        return None
    return str(import_file_to_cache(url, file, remove_original=True, replace=False))


def replace_entry(contents: str, file: str, sha256: str | None = None) -> None:
    """Put other bytes into an entry, in one step: who has the old file open keeps it."""
    try:
        os.replace(file, contents)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        staged = f"{os.path.dirname(os.path.dirname(os.path.dirname(contents)))}/{STAGED}{os.urandom(6).hex()}"
        try:
            _move(file, staged, sha256)
            os.replace(staged, contents)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(staged)
    _open_to_readers(contents)


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


def _mkdir(folder: str, parent: str) -> None:
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(parent, exist_ok=True)
        os.mkdir(folder)
    if not os.path.isdir(parent):
        os.makedirs(parent, exist_ok=True)


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _move(file: str, target: str, sha256: str | None) -> None:
    """Rename a file; copy it where the cache is on another file system, with a look at what was copied."""
    try:
        os.rename(file, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        digest = hashlib.sha256()
        with open(file, "rb") as source, open(target, "xb") as copy:
            while block := source.read(1 << 20):
                copy.write(block)
                digest.update(block)
        if sha256 is not None and digest.hexdigest() != sha256:
            os.unlink(target)
            raise OSError(errno.EIO, "the file changed while it was copied", file) from None
        os.unlink(file)
    _open_to_readers(target)


def _open_to_readers(path: str) -> None:
    # the umask and the group's folders decide who may read it; a file system without rights takes no chmod
    with contextlib.suppress(OSError):
        os.chmod(path, os.stat(os.path.dirname(path)).st_mode & 0o666)
