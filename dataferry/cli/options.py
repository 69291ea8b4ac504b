"""The options that every command takes, and the arguments that name packages and files."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .output import echo, style

if TYPE_CHECKING:
    from ..package_data import PackageData

__all__ = [
    "Command",
    "Group",
    "as_json",
    "complete_name",
    "complete_package",
    "dry_run",
    "expand",
    "from_registry",
    "is_quiet",
    "names",
    "open_data",
    "package",
    "pattern",
    "shared_options",
]


def _set_offline(ctx: click.Context, param: click.Parameter, value: bool) -> None:
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


class _LogToStderr(logging.Handler):
    """Prints the log to stderr, where a progress bar may be."""

    def emit(self, record: logging.LogRecord) -> None:
        color = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
        word = style(f"{record.levelname.lower()}:", fg=color, bold=color is not None, dim=color is None)
        echo(f"{word} {record.getMessage()}", err=True)


def _logger(ctx: click.Context) -> logging.Logger:
    """The logger, which writes to stderr while the command runs."""
    logger, root = logging.getLogger("dataferry"), ctx.find_root()
    if not root.meta.get("dataferry.logs"):
        root.meta["dataferry.logs"] = True
        handler, level, propagate = _LogToStderr(), logger.level, logger.propagate
        logger.addHandler(handler)
        logger.propagate = False

        def restore() -> None:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

        root.call_on_close(restore)
        logger.setLevel(logging.WARNING)
    return logger


def _set_verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if not ctx.resilient_parsing:
        logger = _logger(ctx)
        if value:
            logger.setLevel(logging.DEBUG if value > 1 else logging.INFO)


def _set_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.find_root().meta["dataferry.quiet"] = True
        _logger(ctx).setLevel(logging.ERROR)


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    return bool(click.get_current_context().find_root().meta.get("dataferry.quiet"))


def shared_options() -> list[click.Parameter]:
    """The options that stand before or after the command."""
    return [
        click.Option(
            ["--offline"],
            is_flag=True,
            expose_value=False,
            callback=_set_offline,
            help="Do not use the network, as with DATAFERRY_OFFLINE=1.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_set_verbose,
            help="Show the log; give it twice for more.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_set_quiet,
            help="Print only results and errors.",
        ),
    ]


class Command(click.Command):
    """A command that takes the shared options as well."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += shared_options()


class Group(click.Group):
    """A group that answers a mistyped command with the close ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the words name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.5)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {' or '.join(close)}?", ctx) from None


def complete_package(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The packages that declare data and begin so; none is imported."""
    from pathlib import Path

    from ..registry.packages import REGISTRY_NAME

    found = {path.parts[-3] for place in sys.path for path in Path(place or ".").glob(f"*/data/{REGISTRY_NAME}")}
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # setuptools' finder of packages in source trees
            mapping = getattr(module, "MAPPING", {})
            found |= {top for top, folder in mapping.items() if os.path.isfile(f"{folder}/data/{REGISTRY_NAME}")}
    return sorted(name for name in found if name.isidentifier() and name.startswith(incomplete))


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The registered files of the package that begin so."""
    from ..errors import DataferryError
    from ..registry import Registry
    from ..registry.packages import find_registry

    try:
        path = ctx.params.get("registry") or find_registry(ctx.params.get("package") or "")
        return [name for name in Registry(path).names() if name.startswith(incomplete)]
    except DataferryError:
        return []


package = click.argument("package", shell_complete=complete_package)
names = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_name)
pattern = click.argument("pattern", metavar="[GLOB]", default="*", shell_complete=complete_name)
from_registry = click.option(
    "--registry",
    type=click.Path(dir_okay=False),
    metavar="PATH",
    help="Use this dataferry.toml instead of the installed package's.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def dry_run(text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """The option ``--dry-run`` with what it does not do."""
    return click.option("-n", "--dry-run", is_flag=True, help=text)


def open_data(package: str, registry: str | None) -> PackageData:
    """The data of a package: bars on a terminal, a line now and then elsewhere, nothing with ``--quiet``."""
    from ..package_data import PackageData

    return PackageData(package, registry=registry, show_progress=not is_quiet())


def expand(data: PackageData, names: tuple[str, ...]) -> list[str]:
    """The names that names and globs mean, each once; UnknownFile if a glob matches nothing.

    Names come in the order of the command line, those of a glob in the order of the registry.
    """
    from ..errors import UnknownFile

    found: dict[str, None] = {}
    for name in names:
        if any(c in name for c in "*?[") and name not in data.names():
            several = data.names(name)
            if not several and name != "*":
                raise UnknownFile(name, str(data.registry.path))
            found.update(dict.fromkeys(several))
        else:
            found[name] = None
    return list(found)
