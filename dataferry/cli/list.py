"""``dataferry list``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import options
from .output import count, echo, note, print_json, size_text, style

if TYPE_CHECKING:
    from ..cache.store import Store
    from ..lookup.candidates import Candidates
    from ..package_data import PackageData
    from ..registry.registry import Entry

__all__ = ["command"]


@options.data_command("list", options.pattern)
def command(data: PackageData, pattern: str, as_json: bool) -> None:
    """List the registered files of a package.

    HERE is the place on this machine that has a file of the registered size: a folder, the package or a cache.
    "list" does not hash the files; "dataferry verify" does.
    """
    from ..errors import UnknownFile
    from ..registry.names import close_names

    places = data._resolver.candidates()
    store = places.store()
    wanted = set(data._resolver.expand(pattern))
    rows = [(entry, *_here(places, store, entry)) for entry in data.registry.entries() if entry.name in wanted]
    if not rows and pattern != "*":
        raise UnknownFile(pattern, str(data.registry.path), close_names(pattern, data.registry.names()))
    if as_json:
        listed = [
            {"name": entry.name, "size": entry.size, "sha256": entry.sha256, "here": kind or None, "path": path or None}
            for entry, kind, path in rows
        ]
        print_json({"package": data.package, "registry": str(data.registry.path), "files": listed})
        return
    if rows:
        echo(style(f"{'SIZE':>8}  {'HERE':<8}  NAME", bold=True))
    for entry, kind, _ in rows:
        echo(f"{size_text(entry.size):>8}  {kind or '-':<8}  {entry.name}")
    total = sum(entry.size or 0 for entry, _, _ in rows)
    here = sum(1 for _, kind, _ in rows if kind)
    note(f"{count(len(rows))}, {size_text(total)}; {here} of them here")


def _here(places: Candidates, store: Store, entry: Entry) -> tuple[str, str]:
    """The place of this machine that has a file, and its path; by size alone, since hashing all would take long."""
    from ..config.folders import folder_problem

    for candidate in places.of(entry.name, entry):
        if candidate.problem or (candidate.root and folder_problem(candidate.root, places.settings.folder_timeout)):
            continue
        if _fits(candidate.path, entry, any_size=candidate.kind == "override"):
            return candidate.kind, candidate.path
    path = store.entry(entry.name)
    return ("cache", path) if path and _fits(path, entry) else ("", "")


def _fits(path: str, entry: Entry, *, any_size: bool = False) -> bool:
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return False
    return any_size or entry.size is None or size == entry.size
