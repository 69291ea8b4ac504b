"""``dataferry add`` and ``dataferry remove``: entries of a package's dataferry.toml."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .output import count, echo, is_quiet, note, print_json, size_text, style
from .packaging import note_how_to_ship
from .targets import find_target, named_files, naming_options

if TYPE_CHECKING:
    from ..registry.checksum_lists import Row
    from ..registry.editor import Change
    from ..registry.entry import Entry


_SIGNS = {"added": "+", "updated": "~", "replaced": "!", "unchanged": "="}
_EXAMPLES = """\b
Examples:
  dataferry add mypkg mypkg/data/maps/dust_*.fits
  dataferry add mypkg /scratch/dust_v2.fits --as maps/dust_v2.fits
  dataferry add mypkg --dataurl https://portal.example.org/mypkg-data/
  dataferry add mypkg --from figshare:14763051 --only 'dust_*'
  ssh portal 'cd mypkg-data && sha256sum dust_*.fits' | dataferry add mypkg --from -"""


@click.command("add", cls=options.Command, epilog=_EXAMPLES)
@click.argument("target", metavar="PACKAGE_OR_FOLDER", shell_complete=options.complete_package)
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILES]...")
@naming_options
@click.option(
    "--from",
    "lists",
    multiple=True,
    type=click.Path(allow_dash=True),
    metavar="LIST_OR_HOST",
    help="Read names and hashes from a SHA256SUMS file, a pooch registry, stdin (-) or a host.",
)
@click.option("--only", multiple=True, metavar="GLOB", help="With --from HOST: only files that match.")
@click.option("--dataurl", metavar="URL", help="Declare the package's primary host.")
@click.option(
    "--replace", is_flag=True, help="Allow other bytes under a registered name. Never use this for published files."
)
@options.dry_run("Show what would be written, and write nothing.")
@options.as_json
def add(
    target: str,
    files: tuple[str, ...],
    name: str | None,
    prefix: str,
    lists: tuple[str, ...],
    only: tuple[str, ...],
    dataurl: str | None,
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Register files in a package's dataferry.toml.

    Writes the size and sha256 of each file. The name of a file below the package's data folder is its path there. Other
    files keep their own name, and files in a folder their path below it. Does not move or copy the files.
    dataferry.toml keeps its comments and its order.

    --from HOST registers the files that a host has, and declares the host as a mirror. If the host reports no sha256,
    dataferry downloads the files once to compute it. The same holds for a list with md5, sha1 or sha512: it must have a
    URL for each file, or there must be a dataurl.
    """
    from ..publish.plan import name_clashes
    from ..publish.register import declared_line, entries_of
    from ..registry.editor import RegistryEditor

    if not (files or lists or dataurl):
        raise click.UsageError("Nothing to add: give files, --from LIST or --dataurl URL.")
    path = find_target(target)
    editor = RegistryEditor(path)
    created, known = editor.created, editor.registry
    done = ["dataurl set"] if dataurl and editor.set_dataurl(dataurl) else []
    hosts = [origin for origin in lists if _is_host(origin)]
    lines = [declared_line(host) for host in hosts]  # refused before anything is asked, where one holds a login
    rows = [row for origin in lists if origin not in hosts for row in _read_rows(origin)]
    entries = entries_of(rows, dataurl or known.dataurl, timeout=known.timeout, show_progress=not is_quiet())
    entries += [entry for host in hosts for entry in _hosted(host, only, known.timeout)]
    done += ["mirror declared" for line in lines if editor.add_mirror(line)]
    entries += _hashed(named_files(files, path, name, prefix, known.list_path))
    for clash in name_clashes([entry.name for entry in entries], known.names()):
        note(f"{style('warning:', fg='yellow')} {clash}")
    changes = editor.put(entries, replace=replace)
    written = [] if dry_run else editor.save()
    if as_json:
        put = [{**_as_json(entry), "action": action} for action, entry in changes]
        print_json({"registry": str(path), "written": list(map(str, written)), "dry_run": dry_run, "files": put})
        return
    _print_changes(path, changes, done, dry_run, created)
    if created and not dry_run:
        note_how_to_ship(path)


def _is_host(origin: str) -> bool:
    from ..hosts import host_names

    return origin.partition(":")[0].lower() in host_names() and not os.path.exists(origin)


def _hosted(host: str, only: tuple[str, ...], timeout: float | None) -> list[Entry]:
    from ..publish.register import entries_at

    entries, skipped = entries_at(host, only, timeout=timeout, show_progress=not is_quiet())
    for reason in skipped:
        note(f"{style('skipped:', fg='yellow')} {reason}")
    return entries


def _read_rows(origin: str) -> list[Row]:
    from ..errors import RegistryError
    from ..files import read_regular
    from ..registry.checksum_lists import read_rows

    if origin == "-":
        return read_rows(sys.stdin.read(), "stdin")
    try:
        return read_rows(read_regular(origin).decode(), origin)
    except OSError as error:
        hint = "; pipe the list in, with --from -" if Path(origin).is_fifo() else ""
        raise RegistryError(f"{origin}: {error.strerror or error}{hint}") from error
    except UnicodeDecodeError as error:
        raise RegistryError(f"{origin}: byte {error.start} is not UTF-8: is it a list of checksums?") from None


def _hashed(files: dict[str, Path]) -> list[Entry]:
    from ..files import hash_files
    from ..registry.entry import Entry

    found, failed = hash_files(files)
    for error in failed.values():
        raise error
    return [Entry(name, digests.sha256, digests.size) for name, digests in found.items()]


@click.command("remove", cls=options.Command)
@click.argument("target", metavar="PACKAGE_OR_FOLDER", shell_complete=options.complete_package)
@options.names
@options.dry_run("Show what would be removed, and write nothing.")
@options.as_json
def remove(target: str, names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove files from a package's dataferry.toml.

    NAME is a name or a quoted glob. The files themselves stay, on this machine and at hosts, because users of released
    versions of the package still need them.
    """
    import fnmatch

    from ..errors import RegistryError
    from ..registry.editor import RegistryEditor

    path = find_target(target)
    if not path.is_file():
        raise RegistryError(f"{path} does not exist, so no file is registered")
    editor = RegistryEditor(path)
    registered = editor.registry.names()
    wanted: dict[str, None] = {}
    for name in names:
        matching = [] if name in registered else fnmatch.filter(registered, name)
        wanted |= dict.fromkeys(matching or [name])
    entries = editor.remove(wanted)
    written = [] if dry_run else editor.save()
    if as_json:
        removed = [_as_json(entry) for entry in entries]
        print_json({"registry": str(path), "written": list(map(str, written)), "dry_run": dry_run, "removed": removed})
        return
    for entry in entries:
        echo(f"- removed   {size_text(entry.size):>8}  {entry.sha256[:12]}  {entry.name}")
    _print_changes(path, [], [f"{len(entries)} removed"], dry_run)
    note(f"hosts keep {count(len(entries))}; delete there what must not be public")


def _as_json(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "size": entry.size, "sha256": entry.sha256}


def _print_changes(
    path: Path, changes: Sequence[Change], more: list[str], dry_run: bool, created: bool = False
) -> None:
    for action, entry in changes:
        echo(f"{_SIGNS[action]} {action:<9}  {size_text(entry.size):>8}  {entry.sha256[:12]}  {entry.name}")
    actions = Counter(change.action for change in changes)
    done = [f"{actions[action]} {action}" for action in _SIGNS if actions[action] and action != "unchanged"] + more
    how = "dry run, nothing was written" if dry_run else "new file" if created else "changed"
    echo(f"{path}: {', '.join(done) or 'nothing to change'}{f' ({how})' if done or dry_run else ''}")
