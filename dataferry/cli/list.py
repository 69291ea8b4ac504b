"""``dataferry list``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from . import options
from .output import count, echo, note, print_json, size_text, style

if TYPE_CHECKING:
    from ..lookup.candidates import Places
    from ..registry.registry import Entry

__all__ = ["command"]


@click.command("list", cls=options.Command)
@options.package
@options.pattern
@options.from_registry
@options.as_json
def command(package: str, pattern: str, registry: str | None, as_json: bool) -> None:
    """List the registered files of a package.

    HERE is the place on this machine that has a file of the registered size: a folder, the package or a cache.
    "list" does not hash the files; "dataferry verify" does.
    """
    from ..config.settings import load_settings
    from ..errors import UnknownFile
    from ..lookup.candidates import Places
    from ..registry.names import close_names

    data = options.open_data(package, registry)
    places = Places(package, data.registry, load_settings(), [], {})
    wanted = set(options.expand(data, (pattern,)))
    rows = [(entry, *_here(places, entry)) for entry in data.registry.entries() if entry.name in wanted]
    if not rows and pattern != "*":
        raise UnknownFile(pattern, str(data.registry.path), close_names(pattern, data.registry.names()))
    if as_json:
        listed = [
            {"name": entry.name, "size": entry.size, "sha256": entry.sha256, "here": kind or None, "path": path or None}
            for entry, kind, path in rows
        ]
        print_json({"package": package, "registry": str(data.registry.path), "files": listed})
        return
    if rows:
        echo(style(f"{'SIZE':>8}  {'HERE':<8}  NAME", bold=True))
    for entry, kind, _ in rows:
        echo(f"{size_text(entry.size):>8}  {kind or '-':<8}  {entry.name}")
    total = sum(entry.size or 0 for entry, _, _ in rows)
    here = sum(1 for _, kind, _ in rows if kind)
    note(f"{count(len(rows))}, {size_text(total)}; {here} of them here")


def _here(places: Places, entry: Entry) -> tuple[str, str]:
    """The place of this machine that has a file, and its path; by size alone, since hashing all would take long."""
    from ..cache import astropy_cache
    from ..config.folders import folder_problem

    for candidate in places.candidates(entry.name, entry):
        if candidate.problem or (candidate.root and folder_problem(candidate.root, places.settings.folder_timeout)):
            continue
        if _fits(candidate.path, entry, any_size=candidate.kind == "override"):
            return candidate.kind, candidate.path
    contents = astropy_cache.find_entry(places.registry.dataurl + entry.name) if places.registry.dataurl else None
    return ("cache", contents) if contents and _fits(contents, entry) else ("", "")


def _fits(path: str, entry: Entry, *, any_size: bool = False) -> bool:
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return False
    return any_size or entry.size is None or size == entry.size
