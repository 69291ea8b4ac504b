"""The options that every command takes, and the arguments that name packages and files."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from .complete import complete_name, complete_package

if TYPE_CHECKING:
    from ..package_data import PackageData

__all__ = [
    "Command",
    "as_json",
    "expand",
    "from_registry",
    "names",
    "open_data",
    "package",
    "print_json",
    "shared_options",
    "size_text",
]


def _go_offline(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    from ..config.settings import OFFLINE_VARIABLE

    if not value or ctx.resilient_parsing:
        return
    before = os.environ.get(OFFLINE_VARIABLE)
    os.environ[OFFLINE_VARIABLE] = "1"

    def restore() -> None:
        if before is None:
            os.environ.pop(OFFLINE_VARIABLE, None)
        else:
            os.environ[OFFLINE_VARIABLE] = before

    ctx.find_root().call_on_close(restore)


class _Speak(logging.Handler):
    """Prints the log to stderr, where a progress bar may be."""

    def emit(self, record: logging.LogRecord) -> None:
        color = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
        word = click.style(f"{record.levelname.lower()}:", fg=color, bold=color is not None, dim=color is None)
        click.echo(f"{word} {record.getMessage()}", err=True)


def _speak(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if ctx.resilient_parsing:
        return
    logger, root = logging.getLogger("dataferry"), ctx.find_root()
    if not root.meta.get("dataferry.speaks"):
        root.meta["dataferry.speaks"] = True
        handler, level, propagate = _Speak(), logger.level, logger.propagate
        logger.addHandler(handler)
        logger.propagate = False

        def restore() -> None:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

        root.call_on_close(restore)
        logger.setLevel(logging.WARNING)
    if value:
        logger.setLevel(logging.DEBUG if value > 1 else logging.INFO)


def shared_options() -> list[click.Parameter]:
    """The options that stand before or after the command.

    Returns
    -------
    list of click.Parameter
        ``--offline`` and ``--verbose``.
    """
    return [
        click.Option(
            ["--offline"],
            is_flag=True,
            expose_value=False,
            callback=_go_offline,
            help="Use no network, as DATAFERRY_OFFLINE=1 does.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_speak,
            help="Show the log; twice for more of it.",
        ),
    ]


class Command(click.Command):
    """A command that takes the shared options as well."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += shared_options()


package = click.argument("package", shell_complete=complete_package)
names = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_name)
from_registry = click.option(
    "--registry",
    type=click.Path(dir_okay=False),
    metavar="PATH",
    help="Read this dataferry.toml, not the one of the installed package.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def open_data(package: str, registry: str | None) -> PackageData:
    """The data of a package, as a command wants it.

    Parameters
    ----------
    package : str
        The package.
    registry : str or None
        A ``dataferry.toml`` to read.

    Returns
    -------
    PackageData
        Progress is shown where stderr is a terminal.
    """
    from ..package_data import PackageData

    return PackageData(package, registry=registry, show_progress=sys.stderr.isatty())


def print_json(value: object) -> None:
    """Print a value as JSON to stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def size_text(size: int | None) -> str:
    """A number of bytes for people.

    Parameters
    ----------
    size : int or None
        Bytes; None where nobody knows.

    Returns
    -------
    str
        ``"5.0 kB"``, in powers of 1000; ``"?"`` for None.
    """
    if size is None:
        return "?"
    if size < 1000:
        return f"{size} B"
    value, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.{1 if value < 99.95 else 0}f} {units[0]}"


def expand(data: PackageData, names: tuple[str, ...]) -> list[str]:
    """The names that names and globs mean, each once.

    Parameters
    ----------
    data : PackageData
        The data of the package.
    names : tuple of str
        What the user wrote.

    Returns
    -------
    list of str
        Names in the order of the command line; those of a glob in the order of the registry.

    Raises
    ------
    UnknownFile
        If a glob matches nothing.
    """
    from ..errors import UnknownFile

    found: dict[str, None] = {}
    for name in names:
        if any(c in name for c in "*?[") and name not in data.names():
            several = data.names(name)
            if not several:
                raise UnknownFile(name, str(data.registry.path))
            found.update(dict.fromkeys(several))
        else:
            found[name] = None
    return list(found)
