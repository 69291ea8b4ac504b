"""Links that give an entry of astropy's cache, a file called ``contents``, a path with the file's own name."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from functools import lru_cache

from ..files import write_new
from ..portable import link, symlink
from .astropy_cache import entry_url


@lru_cache(maxsize=16)
def link_maker(home: str) -> Callable[[str, str], None] | None:
    """What makes links in a folder: Windows wants a right for symbolic ones, exFAT and some of FUSE have neither."""
    private = os.path.join(home, "incoming", f"link-{os.urandom(6).hex()}")
    other = os.path.join(home, "incoming", f"link-{os.urandom(6).hex()}")
    for make in (symlink, link):
        try:
            os.makedirs(os.path.dirname(private), exist_ok=True)
            write_new(private, b"")
            make(private, other)
        except OSError:
            continue
        else:
            return make
        finally:
            for path in (other, private):
                with contextlib.suppress(OSError):
                    os.unlink(path)
    return None


def leads_to(path: str, target: str, contents: str) -> bool:
    """Whether a path is a link to an entry, of either kind; raises `OSError` where nothing is."""
    try:
        return os.readlink(path) == target
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.path.samefile(path, contents)


def put_link(home: str, view: str, target: str, contents: str, url: str) -> bool:
    """Link a readable path to the entry of a URL; False where another file has the path, spelt with other capitals."""
    path, make = f"{home}/{view}", link_maker(home) or symlink
    if make is link:
        target = contents
    try:
        make(target, path)
        return True
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            make(target, path)
            return True
    except FileExistsError:
        pass
    with contextlib.suppress(OSError):
        if leads_to(path, target, contents):
            return True
        if make is link and os.stat(path).st_nlink > 1:
            return False
        other = entry_url(os.path.realpath(path))
        if other is not None and other != url and other.casefold() == url.casefold():
            return False
    private = os.path.join(home, "incoming", f"link-{os.urandom(6).hex()}")
    try:
        make(target, private)
        os.replace(private, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(private)
    return True
