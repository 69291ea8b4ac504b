"""``dataferry cache``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from . import command as shared
from .cache_key import key
from .complete import complete_name, complete_package

if TYPE_CHECKING:
    from .cache_leftovers import Leftover
    from .cache_views import View

__all__ = ["command"]

_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
_PACKAGE = click.argument("package", required=False, shell_complete=complete_package)


@click.group("cache")
def command() -> None:
    """Show and clean what is kept in the cache.

    Files lie in astropy's own cache; dataferry adds a path with the file's name to each. The other files in
    astropy's cache are never touched.
    """


command.add_command(key)


@command.command("list", cls=shared.Command)
@_PACKAGE
@shared.as_json
def list_views(package: str | None, as_json: bool) -> None:
    """List the files that are kept, with their paths."""
    from .cache_views import REGISTERED, kept_views

    views = kept_views(package)
    if as_json:
        shared.print_json({"files": [_as_dict(view) for view in views]})
        return
    if views:
        click.secho(f"{'SIZE':>8}  {'PACKAGE':<12}  NAME", bold=True)
    for view in views:
        note = "" if view.state == REGISTERED else click.style(f"  ({view.state})", fg="yellow")
        click.echo(_row(view) + note)
    click.echo(_total(views), err=True)


@command.command("size", cls=shared.Command)
@shared.as_json
def size(as_json: bool) -> None:
    """Sum up the cache by package, and name its folders."""
    from ..cache import layout as cache_home
    from .cache_views import homes, kept_views

    views, partials, left = kept_views(), _partials(0), _leftovers(0)
    bytes_of: Counter[str] = Counter()
    for view in views:
        bytes_of[view.package] += view.size or 0
    files_of = Counter(view.package for view in views)
    unfinished, left_over = sum(item.have for item in partials), sum(item.size for item in left)
    if as_json:
        packages = [{"package": p, "files": files_of[p], "bytes": bytes_of[p]} for p in sorted(files_of)]
        shared.print_json(
            {
                "folders": homes(),
                "packages": packages,
                "unfinished": {"files": len(partials), "bytes": unfinished},
                "left_over": {"folders": len(left), "bytes": left_over},
            }
        )
        return
    for package in sorted(files_of):
        click.echo(f"{shared.size_text(bytes_of[package]):>8}  {package} ({_files(files_of[package])})")
    if partials:
        click.echo(
            f"{shared.size_text(unfinished):>8}  unfinished downloads ({len(partials)}); they resume when asked for"
        )
    if left:
        click.echo(f"{shared.size_text(left_over):>8}  left by runs that were stopped ({len(left)})")
    click.echo(f"{shared.size_text(sum(bytes_of.values()) + unfinished + left_over):>8}  in all")
    for home in homes() or [f"{cache_home.location()} (nothing of dataferry there yet)"]:
        click.echo(f"          {home}")


@command.command("clear", cls=shared.Command)
@_PACKAGE
@click.argument("pattern", metavar="[GLOB]", default="*", shell_complete=complete_name)
@_YES
@_DRY_RUN
def clear(package: str | None, pattern: str, yes: bool, dry_run: bool) -> None:
    """Remove the files of a package, or of all packages, from the cache.

    Their entries leave astropy's cache as well. Files in folders and in packages stay.
    """
    from fnmatch import fnmatchcase

    from .cache_views import kept_views

    everything = kept_views()
    going = [v for v in everything if package in {None, v.package} and fnmatchcase(v.name, pattern)]
    _remove(going, everything, yes, dry_run)


@command.command("prune", cls=shared.Command)
@click.option("--uninstalled", is_flag=True, help="Also files of packages that are not installed in this environment.")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    metavar="N",
    help="Also what stopped downloads and uploads left that nobody has worked on for N days.",
)
@_YES
@_DRY_RUN
def prune(uninstalled: bool, days: float, yes: bool, dry_run: bool) -> None:
    """Remove what no installed registry names any more.

    A file goes if its package is installed here and its dataferry.toml does not name it. Other environments may share
    this cache: a package that is not installed here keeps its files, and a file that another version still names is
    fetched again when that version asks for it.
    """
    from .cache_views import ABSENT, DROPPED, LEFT_OVER, kept_views

    everything = kept_views()
    states = {DROPPED, LEFT_OVER, *([ABSENT] if uninstalled else [])}
    going = [view for view in everything if view.state in states or view.size is None]
    _remove(going, everything, yes, dry_run, _partials(days), _leftovers(days))
    absent = sorted({view.package for view in everything if view.state == ABSENT} - {view.package for view in going})
    if absent:
        click.echo(f"kept: files of {', '.join(absent)}, not installed here (--uninstalled removes them)", err=True)


def _remove(
    going: list[View],
    everything: list[View],
    yes: bool,
    dry_run: bool,
    partials: Sequence[Any] = (),
    left: Sequence[Leftover] = (),
) -> None:
    import shutil

    from .cache_leftovers import drop
    from .cache_views import remove

    if not (going or partials or left):
        click.echo("nothing to remove")
        return
    for view in going:
        click.echo(_row(view))
    for item in partials:
        click.echo(f"{shared.size_text(item.have):>8}  {'unfinished':<12}  {item.name or item.path.name}")
    for other in left:
        click.echo(f"{shared.size_text(other.size):>8}  {other.what:<12}  {other.path.parent.name}/{other.path.name}")
    parts = [_files(len(going))] + ([f"{len(partials)} unfinished"] if partials else [])
    what = " and ".join(parts + ([f"{len(left)} left by stopped runs"] if left else []))
    if dry_run:
        click.echo(f"{what} would be removed (dry run)")
        return
    if not (yes or click.confirm(f"Remove {what}?")):
        click.echo("nothing was removed")
        return
    gone = set(going)
    freed = remove(going, [view for view in everything if view not in gone])
    for item in partials:
        shutil.rmtree(item.path, ignore_errors=True)
        freed += item.have
    freed += sum(drop(other) for other in left)
    click.echo(f"removed {what}, {shared.size_text(freed)} freed")


def _partials(days: float) -> list[Any]:
    from pathlib import Path

    from ..download.leftovers import stale
    from .cache_views import homes

    return [item for home in homes() for item in stale(Path(home, "incoming"), days)]


def _leftovers(days: float) -> list[Leftover]:
    from .cache_leftovers import leftovers
    from .cache_views import homes

    return [left for home in homes() for left in leftovers(home, days)]


def _as_dict(view: View) -> dict[str, object]:
    return {"package": view.package, "name": view.name, "size": view.size, "path": view.path, "state": view.state}


def _row(view: View) -> str:
    size = "gone" if view.size is None else shared.size_text(view.size)
    return f"{size:>8}  {view.package:<12}  {view.name}"


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"


def _total(views: list[View]) -> str:
    return f"{_files(len(views))}, {shared.size_text(sum(view.size or 0 for view in views))}"
