"""``dataferry verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options
from .output import FAILED, echo, note, print_json, style

if TYPE_CHECKING:
    from ..package_data import PackageData

__all__ = ["command"]


@options.data_command("verify", options.pattern)
def command(data: PackageData, pattern: str, as_json: bool) -> None:
    """Hash again all files that are on this machine.

    Reads them in every folder, in the package and in the caches, and downloads nothing. The exit code is 1 if a file is
    not the registered one.
    """
    wanted = data._resolver.expand(pattern)
    found = []
    for name, step in data.verify(wanted):
        found.append((name, step))
        if not as_json:
            word = style("ok   ", fg="green") if step.found else style("WRONG", fg="red", bold=True)
            echo(f"{word}  {step.kind:<8}  {name}" + ("" if step.found else f": {step.note}\n       {step.place}"))
    wrong = sum(1 for _, step in found if not step.found)
    absent = len(wanted) - len({name for name, _ in found})
    if as_json:
        files = [
            {"name": name, "kind": step.kind, "path": step.place, "ok": step.found, "note": step.note}
            for name, step in found
        ]
        print_json({"package": data.package, "wrong": wrong, "not_here": absent, "files": files})
    else:
        note(f"{len(found) - wrong} ok, {wrong} wrong, {absent} not here")
    if wrong:
        click.get_current_context().exit(FAILED)
