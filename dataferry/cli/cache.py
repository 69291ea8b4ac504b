"""``dataferry cache``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from . import options
from .output import count, echo, note, print_json, print_path, size_text, style

if TYPE_CHECKING:
    from ..cache.prune import View
    from .leftovers import Leftover


#: Goes into every key; another number leaves all caches of CI services behind.
_KEY_VERSION = 1
_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
_DRY_RUN = options.dry_run("Show what would be removed, and remove nothing.")
_PACKAGE = click.argument("package", required=False, shell_complete=options.complete_package)


@click.group("cache", cls=options.Group)
def command() -> None:
    """Show and clean the cache.

    The files are in astropy's cache. dataferry adds a path with the file's own name to each. It never changes other
    files in astropy's cache. If DATAFERRY_CACHE, config.toml or a package's own variable names a folder, the commands
    work on the files that dataferry keeps there.
    """


@command.command("dir", cls=options.Command)
@_PACKAGE
def directory(package: str | None) -> None:
    """Print the folder of the cache, for CI services.

    With PACKAGE, the folder of that package's downloads, which a variable of its own may name.
    """
    from ..cache import layout
    from ..errors import CacheError

    chosen = layout.chosen_cache(options.open_data(package, None).registry.cache_env if package else "")
    home = layout.writable_home([chosen.path] if chosen else None)
    if home is None:
        raise CacheError("no cache can be written; set ASTROPY_CACHE_DIR to an existing folder with space")
    location = None if chosen else layout.astropy_cache()
    print_path(location if location is not None and home.startswith(location) else home)


@command.command("list", cls=options.Command)
@_PACKAGE
@options.as_json
def list_views(package: str | None, as_json: bool) -> None:
    """List the cached files with their paths."""
    from ..cache.prune import REGISTERED, kept_views

    views = kept_views(package)
    if as_json:
        keys = ("package", "name", "size", "path", "state")
        print_json({"files": [{key: getattr(view, key) for key in keys} for view in views]})
        return
    if views:
        echo(style(f"{'SIZE':>8}  {'PACKAGE':<12}  NAME", bold=True))
    for view in views:
        echo(_row(view) + ("" if view.state == REGISTERED else style(f"  ({view.state})", fg="yellow")))
    note(f"{count(len(views))}, {size_text(sum(view.size or 0 for view in views))}")


@command.command("size", cls=options.Command)
@options.as_json
def size(as_json: bool) -> None:
    """Show the size of the cache for each package, and its folders."""
    from ..cache import layout
    from ..cache.prune import homes, kept_views
    from .leftovers import UNFINISHED, leftovers

    views = kept_views()
    files, sizes = Counter(view.package for view in views), Counter[str]()
    for view in views:
        sizes[view.package] += view.size or 0
    left = leftovers(0)
    unfinished = [item.size for item in left if item.what == UNFINISHED]
    other = [item.size for item in left if item.what != UNFINISHED]
    if as_json:
        packages = [{"package": package, "files": files[package], "bytes": sizes[package]} for package in sorted(files)]
        print_json(
            {
                "folders": list(homes()),
                "packages": packages,
                "unfinished": {"files": len(unfinished), "bytes": sum(unfinished)},
                "left_over": {"folders": len(other), "bytes": sum(other)},
            }
        )
        return
    rows = [(sizes[package], f"{package} ({count(files[package])})") for package in sorted(files)]
    if unfinished:
        rows.append((sum(unfinished), f"unfinished downloads ({len(unfinished)}); the next get continues them"))
    if other:
        rows.append((sum(other), f"left by runs that were stopped ({len(other)})"))
    rows.append((sum(size for size, _ in rows), "in all"))
    for total, text in rows:
        echo(f"{size_text(total):>8}  {text}")
    for home in homes() or [f"{layout.cache_folders()[0]} (nothing there yet)"]:
        echo(f"          {home}")


@command.command("clear", cls=options.Command)
@_PACKAGE
@options.pattern
@_YES
@_DRY_RUN
def clear(package: str | None, pattern: str, yes: bool, dry_run: bool) -> None:
    """Remove the files of a package, or of all packages, from the cache.

    This also removes their entries from astropy's cache. Files in folders and in packages stay.
    """
    from fnmatch import fnmatchcase

    from ..cache.prune import kept_views

    views = kept_views()
    going = [v for v in views if package in {None, v.package} and fnmatchcase(v.name, pattern)]
    _remove(going, views, [], yes, dry_run)


@command.command("prune", cls=options.Command)
@click.option(
    "--uninstalled",
    is_flag=True,
    help="Also remove files of packages that are not installed in this environment, and of URLs.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    metavar="N",
    help="Remove unfinished downloads and uploads that are older than this.",
)
@_YES
@_DRY_RUN
def prune(uninstalled: bool, days: float, yes: bool, dry_run: bool) -> None:
    """Remove files that no installed package needs any more.

    Removes a file if its package is installed here and the package's dataferry.toml does not name it. Other
    environments may share the cache, so files of packages that are not installed here stay. If another version of a
    package still needs a removed file, that version downloads it again.
    """
    from ..cache.prune import ABSENT, DROPPED, RETRIEVED, kept_views
    from .leftovers import leftovers

    views = kept_views()
    states = {DROPPED, *([ABSENT, RETRIEVED] if uninstalled else [])}
    going = [view for view in views if view.state in states or view.size is None]
    _remove(going, views, leftovers(days), yes, dry_run)
    absent = sorted({view.package for view in views if view.state == ABSENT} - {view.package for view in going})
    if absent:
        note(f"kept: files of {', '.join(absent)}, not installed here (--uninstalled removes them)")


def _remove(going: list[View], views: list[View], left: list[Leftover], yes: bool, dry_run: bool) -> None:
    from ..cache.prune import remove
    from .leftovers import UNFINISHED, remove_leftover

    if not going and not left:
        echo("nothing to remove")
        return
    for view in going:
        echo(_row(view))
    for item in left:
        echo(f"{size_text(item.size):>8}  {item.what:<12}  {item.label}")
    unfinished = sum(item.what == UNFINISHED for item in left)
    parts = [count(len(going))] + ([f"{unfinished} unfinished"] if unfinished else [])
    parts += [f"{len(left) - unfinished} left by stopped runs"] if len(left) > unfinished else []
    what = " and ".join(parts)
    if dry_run:
        echo(f"{what} would be removed (dry run)")
    elif yes or click.confirm(f"Remove {what}?"):
        gone = set(going)
        freed = remove(going, [view for view in views if view not in gone]) + sum(map(remove_leftover, left))
        echo(f"removed {what}, {size_text(freed)} freed")
    else:
        echo("nothing was removed")


def _row(view: View) -> str:
    size = "gone" if view.size is None else size_text(view.size)
    return f"{size:>8}  {view.package:<12}  {view.name}"


# -- keys for CI services ----------------------------------------------------------------------------------------------


@command.command("key", cls=options.Command)
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...", shell_complete=options.complete_package)
@click.option(
    "--pytest", "arguments", metavar="ARGS", help="Only the files that the tests of this pytest command line need."
)
@options.from_registry
@options.as_json
def key(packages: tuple[str, ...], arguments: str | None, registry: str | None, as_json: bool) -> None:
    """Print a key for the cache of a CI service.

    The key depends only on the hashes of the registered files: it changes when a file is added or changed. All keys
    begin with "dataferry-1-", for services that restore the nearest key.

    \b
    Examples:
      dataferry cache key mypkg
      dataferry cache key --pytest "-m 'not slow' tests"
    """  # noqa: D301 - click wants the character itself
    import hashlib

    if not packages and arguments is None:
        raise click.UsageError("give a package, or --pytest")
    wanted = dict.fromkeys(packages) if arguments is None else _needed(arguments, packages)
    digest, files, size = hashlib.sha256(), 0, 0
    for package in sorted(wanted):
        data = options.open_data(package, registry)
        names = wanted[package]
        # astropy's cache is keyed by URL, so the same bytes from another dataurl are another entry
        digest.update(f"{package}\n{data.registry.base}\n".encode())
        entries = data.registry.entries() if names is None else map(data.registry.find, names)
        for entry in sorted(entry for entry in entries if entry is not None):
            digest.update(f"{entry.sha256} {entry.name}\n".encode())
            files, size = files + 1, size + (entry.size or 0)
    text = f"dataferry-{_KEY_VERSION}-{digest.hexdigest()[:24]}"
    if as_json:
        print_json({"key": text, "packages": sorted(wanted), "files": files, "bytes": size})
    else:
        echo(text)


def _needed(arguments: str, packages: tuple[str, ...]) -> dict[str, list[str] | None]:
    """The files that selected tests need: pytest collects them in a process of its own, and runs none."""
    import json
    import shlex
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="dataferry-") as folder:
        needs = Path(folder, "needs.json")
        command = [sys.executable, "-m", "pytest", "-qq", f"--dataferry-needs={needs}", *shlex.split(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode not in {0, 5} or not needs.exists():
            output = (done.stdout[-2000:] + done.stderr[-2000:]).strip()
            raise click.UsageError(f"pytest could not collect the tests:\n{output}")
        files = json.loads(needs.read_text(encoding="utf-8"))["files"]
    wanted: dict[str, list[str] | None] = {}
    for package in sorted({file["package"] for file in files}):
        if not packages or package in packages:
            wanted[package] = [file["name"] for file in files if file["package"] == package]
    return wanted
