"""``dataferry remove``."""

from __future__ import annotations

import click

from . import options
from .output import count, echo, note, print_json, size_text

__all__ = ["command"]


@click.command("remove", cls=options.Command)
@click.argument("target", metavar="PACKAGE_OR_FOLDER", shell_complete=options.complete_package)
@options.names
@options.dry_run("Show what would be removed, and write nothing.")
@options.as_json
def command(target: str, names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove files from a package's dataferry.toml.

    NAME is a name or a quoted glob. The files themselves stay, on this machine and at hosts, because users of released
    versions of the package still need them.
    """
    import fnmatch

    from ..errors import RegistryError, UnknownFile
    from ..registry import Registry
    from ..registry.editor import RegistryEditor
    from .targets import find_target

    path = find_target(target)
    if not path.is_file():
        raise RegistryError(f"{path} is not there, so no file is registered")
    registered = Registry(path).names()
    wanted: dict[str, None] = {}
    for name in names:
        several = [name] if name in registered else fnmatch.filter(registered, name)
        if not several and any(c in name for c in "*?["):
            raise UnknownFile(name, str(path))
        wanted.update(dict.fromkeys(several or [name]))
    editor = RegistryEditor(path)
    entries = editor.remove(wanted)
    written = [] if dry_run else editor.save()
    if as_json:
        files = [{"name": entry.name, "size": entry.size, "sha256": entry.sha256} for entry in entries]
        print_json({"registry": str(path), "written": [str(p) for p in written], "dry_run": dry_run, "removed": files})
        return
    for entry in entries:
        echo(f"- removed   {size_text(entry.size):>8}  {entry.sha256[:12]}  {entry.name}")
    done = "dry run, nothing was written" if dry_run else "changed"
    echo(f"{path}: {len(entries)} removed ({done})")
    one = len(entries) == 1
    kept, them, they_must = ("it", "it", "it must") if one else (count(len(entries)), "them", "they must")
    note(f"hosts keep {kept}; delete {them} there if {they_must} not be public")
