"""``dataferry list``, ``where`` and ``verify``: the files of a package, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options
from .output import FAILED, count, echo, note, print_json, size_text, style

if TYPE_CHECKING:
    from ..cache.store import Store
    from ..lookup.candidates import Candidates
    from ..package_data import PackageData
    from ..registry.entry import Entry


@options.data_command("list", options.pattern)
def list_files(data: PackageData, pattern: str, as_json: bool) -> None:
    """List the registered files of a package.

    HERE is the place on this machine that has a file of the registered size: a folder, the package or a cache.
    "list" does not hash the files; "dataferry verify" does.
    """
    from ..errors import UnknownFile
    from ..registry.names import close_names

    candidates = data._resolver.candidates()
    store = candidates.store()
    wanted = set(data._resolver.expand(pattern))
    rows = [(entry, *_here(candidates, store, entry)) for entry in data.registry.entries() if entry.name in wanted]
    if not rows and pattern != "*":
        raise UnknownFile(pattern, data.registry.origin, close_names(pattern, data.registry.names()))
    if as_json:
        listed = [
            {"name": entry.name, "size": entry.size, "sha256": entry.sha256, "here": kind or None, "path": path or None}
            for entry, kind, path in rows
        ]
        print_json({"package": data.package, "registry": data.registry.origin, "files": listed})
        return
    if rows:
        echo(style(f"{'SIZE':>8}  {'HERE':<8}  NAME", bold=True))
    for entry, kind, _ in rows:
        echo(f"{size_text(entry.size):>8}  {kind or '-':<8}  {entry.name}")
    total = sum(entry.size or 0 for entry, _, _ in rows)
    here = sum(1 for _, kind, _ in rows if kind)
    note(f"{count(len(rows))}, {size_text(total)}; {here} of them here")


def _here(candidates: Candidates, store: Store, entry: Entry) -> tuple[str, str]:
    """The place of this machine that has a file, and its path; by size alone, since hashing all would take long."""
    from ..lookup.candidates import Candidate

    for candidate in candidates.of(entry.name, entry):
        if candidates.examine(candidate, entry, by_size=True).accepted:
            return candidate.kind, candidate.path
    cached = Candidate("cache", store.cached(entry.name) or "", store.origin)
    return (cached.kind, cached.path) if candidates.examine(cached, entry, by_size=True).accepted else ("", "")


@options.data_command("where", options.names)
def where(data: PackageData, names: tuple[str, ...], as_json: bool) -> None:
    """Explain where files come from.

    Lists every place in the order in which "get" uses them, what is there, and which one "get" would take. Downloads
    nothing.
    """
    found = [data.where(name) for name in data._resolver.expand(names)]
    if as_json:
        print_json({"package": data.package, "files": [each.as_dict() for each in found]})
    else:
        echo("\n\n".join(map(str, found)))


@options.data_command("verify", options.pattern)
def verify(data: PackageData, pattern: str, as_json: bool) -> None:
    """Hash all files on this machine again.

    Reads them in every folder, in the package and in the caches, and downloads nothing. The exit code is 1 if a file is
    not the registered one.
    """
    wanted = data._resolver.expand(pattern)
    found = []
    for name, step in data.verify(wanted):
        found.append({"name": name, "kind": step.kind, "path": step.place, "ok": step.found, "note": step.note})
        if not as_json:
            word = style("ok   ", fg="green") if step.found else style("WRONG", fg="red", bold=True)
            echo(f"{word}  {step.kind:<8}  {name}" + ("" if step.found else f": {step.note}\n       {step.place}"))
    wrong = sum(not each["ok"] for each in found)
    absent = len(wanted) - len({each["name"] for each in found})
    if as_json:
        print_json({"package": data.package, "wrong": wrong, "not_here": absent, "files": found})
    else:
        note(f"{len(found) - wrong} ok, {wrong} wrong, {absent} not here")
    if wrong:
        click.get_current_context().exit(FAILED)
