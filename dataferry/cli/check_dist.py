"""``dataferry check-dist``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import command as shared
from .outcome import FAILED

if TYPE_CHECKING:
    from .dist_sizes import DataFile

__all__ = ["command"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SHOWN = 10


def _as_bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 10MB")
    return int(float(match[1]) * _UNITS[match[2]])


@click.command("check-dist", cls=shared.Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--max-file",
    callback=_as_bytes,
    default="10MB",
    show_default=True,
    metavar="SIZE",
    help="What one data file may have.",
)
@click.option(
    "--max-total",
    callback=_as_bytes,
    default="100MB",
    show_default=True,
    metavar="SIZE",
    help="What all may have together.",
)
@shared.as_json
def command(paths: tuple[Path, ...], max_file: int, max_total: int, as_json: bool) -> None:
    """Check that a wheel or an sdist ships no large data.

    PATH is a wheel, an sdist, or the folder of a source tree. Sizes are those of the unpacked files; code, libraries
    and metadata do not count. Exit code 1 if a file or their sum is too large.

    \b
    Examples:
      dataferry check-dist dist/*
      dataferry check-dist . --max-file 1MB
    """  # noqa: D301 - click wants the character itself
    from .dist_sizes import data_files, move_commands

    reports = []
    moving: dict[str, DataFile] = {}
    for path in paths:
        files = data_files(path)
        total = sum(file.size for file in files)
        large = [file for file in files if file.size > max_file]
        if total - sum(file.size for file in large) > max_total:  # there are too many, whatever their size
            large = files[: max(_SHOWN, len(large))]
        ok = not large and total <= max_total
        moving |= {file.path: file for file in large}
        reports.append({"path": str(path), "ok": ok, "bytes": total, "largest": [f._asdict() for f in files[:_SHOWN]]})
        if not as_json:
            word = click.style("ok   ", fg="green") if ok else click.style("LARGE", fg="red", bold=True)
            limit = f", {shared.size_text(max_total)} allowed" if total > max_total else ""
            click.echo(f"{word}  {path}: {shared.size_text(total)} of data in {len(files)} files{limit}")
            for file in large:
                limit = f", {shared.size_text(max_file)} allowed" if file.size > max_file else ""
                click.echo(f"       {shared.size_text(file.size):>8}  {file.path}{limit}")
    failed = not all(report["ok"] for report in reports)
    if as_json:
        shared.print_json({"ok": not failed, "checked": reports})
    elif failed:
        click.echo("\nKeep them on a host, where each is fetched by those who want it. In the source tree:", err=True)
        for line in move_commands(sorted(moving.values(), reverse=True)):
            click.echo(f"  {line}", err=True)
    if failed:
        click.get_current_context().exit(FAILED)
