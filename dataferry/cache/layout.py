"""Where the caches are, and what lies in them.

astropy calls every cached file ``download/url/<md5 of the URL>/contents``. Readers get a link beside the cache that
carries the file's own name, ``<cache>/dataferry/<package>-<hash of dataurl>/<name>``. A stamp says that the entry was
verified; it is kept under the md5.
"""

from __future__ import annotations

import contextlib
import os
import sys
from binascii import crc32
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ..config.folders import Folder, cache_folder
from ..config.settings import CACHE_VARIABLE, load_settings
from ..portable import file_name
from .stamps import Stamps

#: dataferry's own part of a cache folder.
CACHE_FOLDER = "dataferry"
#: What stands for the package of files that belong to none.
RETRIEVED = "retrieve"
_HEX_DIGITS = frozenset("0123456789abcdef")


def split_view_folder(folder: str) -> tuple[str, str] | None:
    """Package and digits of a folder there that has the readable paths of files; None for the others."""
    package, _, digits = folder.rpartition("-")
    return (package, digits) if package and len(digits) == 8 and _HEX_DIGITS.issuperset(digits) else None


def view_folder(package: str, dataurl: str) -> str:
    """The folder of a package's readable paths: the digits of its base URL keep two versions of a data set apart."""
    return f"{package}-{_digits(dataurl)}"


def second_view_name(package: str, dataurl: str, name: str) -> str:
    """The readable path of a file where that of another differs from it only in case, and the file system folds it."""
    return f"{package}-{_digits(f'{dataurl} {name}')}/{file_name(name)}"


def _digits(text: str) -> str:
    return f"{crc32(text.encode()):08x}"


def url_key(url: str) -> str:
    """What astropy calls the folder of a URL's entry."""
    begin, _, rest = url.partition("//")
    netloc, slash, _ = rest.partition("/")
    if begin not in {"http:", "https:"} or netloc != netloc.lower() or not slash:
        from urllib.parse import urlsplit, urlunsplit

        parts = urlsplit(url)
        url = urlunsplit(parts._replace(netloc=parts.netloc.lower(), path=parts.path or "/"))
    import hashlib  # which loads OpenSSL

    return hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()


def chosen_cache(variable: str = "") -> Folder | None:
    """The folder that the user chose for downloads, perhaps by a package's own variable; None for astropy's cache."""
    if variable and CACHE_VARIABLE not in os.environ and (value := os.environ.get(variable)):
        return cache_folder(value, variable)
    return load_settings().cache


# -- which cache: astropy's rules, whether or not astropy has been imported


def astropy_cache() -> str | None:
    """Astropy's cache folder as it is now; None for a user without a home."""
    config = sys.modules.get("astropy.config")
    finder = getattr(config, "get_cache_dir_path", None)
    if finder is None:
        return _cache_of_eight() if astropy_version() >= 8 else _cache_of_seven()
    import warnings

    try:
        with warnings.catch_warnings():
            # of an XDG_CACHE_HOME that is not there; `dataferry doctor` reports it once
            warnings.simplefilter("ignore")
            return str(finder())
    except (RuntimeError, OSError):
        return None


def _cache_of_eight() -> str | None:
    for variable, below in (("ASTROPY_CACHE_DIR", ""), ("XDG_CACHE_HOME", "astropy")):
        folder = os.environ.get(variable)
        if folder and os.path.isabs(folder) and os.path.isdir(folder):
            return _without_gaps(os.path.join(folder, below) if below else folder)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None
    new, old = os.path.join(home, ".cache", "astropy"), os.path.join(home, ".astropy", "cache")
    return old if os.path.isdir(old) and not os.path.exists(new) else new


def _without_gaps(path: str) -> str:
    """A path as astropy's own code, which uses pathlib, spells it: ``/home//me/./cache/`` is ``/home/me/cache``."""
    if os.path.normpath(path) == path:
        return path
    from pathlib import Path  # which a first hit does not load

    return str(Path(path))


def _cache_of_seven() -> str | None:
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        below = os.path.join(base, "astropy")
        if os.path.exists(below) and not os.path.islink(below):
            return os.path.abspath(below)
    home = os.path.expanduser("~")
    return os.path.join(home, ".astropy", "cache") if os.path.isabs(home) else None


@lru_cache(maxsize=1)
def astropy_version() -> int:
    """The major version of astropy, without importing it: version 8 moved its cache."""
    from importlib.util import find_spec

    with contextlib.suppress(ImportError, ValueError, OSError, AttributeError):
        spec = find_spec("astropy")
        site = os.path.dirname(os.path.dirname(spec.origin or "")) if spec is not None else ""
        for name in os.listdir(site) if site else ():
            major = name.removeprefix("astropy-").partition(".")[0]
            if major.isdigit() and name.startswith("astropy-") and name.endswith((".dist-info", ".egg-info")):
                return int(major)
    return 8


def own_home() -> str | None:
    """Dataferry's own folder in the user's cache home; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, CACHE_FOLDER) if os.path.isabs(base) else None


def cache_folders(cache: str | None = None) -> list[str]:
    """Dataferry's folders in which a verified file may be, best first: the one in astropy's cache, then its own.

    There is one where the user chose it.
    """
    if cache is None and (chosen := chosen_cache()) is not None:
        return [chosen.path]
    cache, own = cache or astropy_cache(), own_home()
    return list(dict.fromkeys(home for home in (cache and os.path.join(cache, CACHE_FOLDER), own) if home))


def writable_home(homes: Sequence[str] | None = None) -> str | None:
    """Dataferry's folder in astropy's cache, made if need be; its own where that is read-only; None where both are."""
    for home in cache_folders() if homes is None else homes:
        with contextlib.suppress(OSError):
            incoming = os.path.join(home, "incoming")
            os.makedirs(incoming, exist_ok=True)
            if os.access(home, os.W_OK | os.X_OK) and os.access(incoming, os.W_OK | os.X_OK):
                return home
    return None


@lru_cache(maxsize=64)
def stamps_of(home: str) -> Stamps:
    """The stamps in one of dataferry's folders."""
    return Stamps(os.path.join(home, "stamps"))


def views(home: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The readable paths in one of dataferry's folders: ``<package>-<8 digits>/<name>``, and what lies there."""
    pending = [("", home)]
    while pending:
        begin, folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        deeper = []
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if begin or split_view_folder(entry.name):
                    deeper.append((f"{begin}{entry.name}/", entry.path))
            elif begin:
                yield begin + entry.name, entry
        pending += reversed(deeper)
