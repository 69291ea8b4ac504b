"""``dataferry info`` and ``dataferry show``: what is in a file, in words and as a picture."""

from __future__ import annotations

import os
import re

import click

from . import options
from .output import echo

_FILE = click.argument("what", metavar="PATH | PACKAGE NAME", nargs=-1, required=True)


def _path(what: tuple[str, ...], registry: str | None) -> str:
    """One word is a file's path; two are a package and a name."""
    if len(what) == 2:
        return options.open_data(what[0], registry).get(what[1])
    if len(what) != 1:
        raise click.UsageError("Give the path of a file, or a package and a name.")
    if not os.path.isfile(what[0]):
        raise click.UsageError(f"There is no file {what[0]!r}. For a registered file, give its package and its name.")
    return what[0]


@click.command("info", cls=options.Command)
@_FILE
@options.from_registry
def info(what: tuple[str, ...], registry: str | None) -> None:
    """Describe a file: HDUs, units, ordering, coverage.

    Also prints how to load it in Python. Reads the headers, and only the data that the coverage needs.
    """
    from ..maps import info as describe

    echo(describe(_path(what, registry)))


@click.command("show", cls=options.Command)
@_FILE
@click.option(
    "-o", "--output", metavar="PATH", help="The picture to write. By default a window, or a PNG in this folder."
)
@click.option("--field", metavar="N", help="Only this column, by number or name.")
@click.option("--hdu", metavar="N", help="Number or EXTNAME of the HDU.")
@options.from_registry
def show(what: tuple[str, ...], output: str | None, field: str | None, hdu: str | None, registry: str | None) -> None:
    """Draw a map or an image.

    Draws all fields of a map in Mollweide's projection, with their units, and images with an asinh stretch. Prints a
    summary of a table.
    """
    from ..maps import show as draw

    path = _path(what, registry)
    echo(draw(path, output, field=_number(field), hdu=_number(hdu)))


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,18}", text) else text
