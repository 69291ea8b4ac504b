"""A temporary cache in which the verified files of the user's cache are found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from ..cache import layout
from ..cache.astropy_cache import entry_path, entry_url


def isolate(folder: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the cache of this process and its children, with the files of a package, or of all for ""."""
    cache = folder / "astropy"
    target = str(cache / layout.CACHE_FOLDER)
    os.makedirs(target)
    for home in reversed(layout.cache_folders()):  # what the nearest has stays
        for view, _ in layout.views(home):
            if view.startswith(f"{package}-" if package else ""):
                _adopt(home, view, target)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("ASTROPY_CACHE_DIR", str(cache))
    monkeypatch.setenv("DATAFERRY_CACHE", "")
    return cache


def adopt(paths: Iterable[str], homes: list[str]) -> None:
    """Make files in the cache of another process, with these folders, visible in the cache of this one."""
    target = layout.writable_home()
    others = [home for home in homes if home not in layout.cache_folders()]
    for path in paths if target else ():
        for home in others:
            if target and path.startswith(home + os.sep):
                _adopt(home, os.path.relpath(path, home).replace(os.sep, "/"), target)


def _adopt(home: str, view: str, target: str) -> None:
    path, link = os.path.join(home, view), os.path.join(target, view)
    with contextlib.suppress(OSError):  # what cannot be linked is fetched again
        key = os.path.basename(os.path.dirname(os.readlink(path))) if os.path.islink(path) else view
        stamp = layout.stamps_of(home).read(key)
        if stamp is not None and stamp.holds(os.stat(path)):
            there = _entry(os.path.dirname(target), os.path.realpath(path))
            os.makedirs(os.path.dirname(link), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.symlink(there, link)
            layout.stamps_of(target).keep({key: stamp})


def _entry(cache: str, contents: str) -> str:
    """Give astropy an entry of its own whose contents are a link to the user's file."""
    url = entry_url(contents)
    if url is None or os.path.basename(contents) != "contents":
        return contents
    link = Path(entry_path(cache, layout.url_key(url)))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.with_name("url").write_text(url, encoding="utf-8")
    with contextlib.suppress(FileExistsError):
        link.symlink_to(contents)
    return str(link)
