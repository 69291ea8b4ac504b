"""The options that every command takes, and the arguments that name packages and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from .output import echo, is_quiet, style

if TYPE_CHECKING:
    from ..package_data import PackageData


class _LogToStderr(logging.Handler):
    """Prints the log to stderr, where a progress bar may be."""

    def emit(self, record: logging.LogRecord) -> None:
        color = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
        word = style(f"{record.levelname.lower()}:", fg=color, bold=color is not None, dim=color is None)
        echo(f"{word} {record.getMessage()}", err=True)


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Print warnings of the log; the options -v and -q change the level."""
    logger = logging.getLogger("dataferry")
    handler, level, propagate = _LogToStderr(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _set_offline(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    from ..config.settings import OFFLINE_VARIABLE

    if value:
        os.environ[OFFLINE_VARIABLE] = "1"


def _set_verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if value:
        logging.getLogger("dataferry").setLevel(logging.DEBUG if value > 1 else logging.INFO)


def _set_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["dataferry.quiet"] = True
        logging.getLogger("dataferry").setLevel(logging.ERROR)


def print_and_exit(names: list[str], text: str, output: Callable[[click.Context], str]) -> click.Option:
    """An option that prints something: click's own would end in a traceback where stdout is full."""

    def run(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            echo(output(ctx))
            ctx.exit()

    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=run, help=text)


#: The options that stand before or after the command.
_SHARED: list[click.Parameter] = [
    click.Option(names, expose_value=False, callback=callback, help=text, **kind)
    for names, text, callback, kind in (
        (["--offline"], "Do not use the network, as with DATAFERRY_OFFLINE=1.", _set_offline, {"is_flag": True}),
        (["-v", "--verbose"], "Show the log; give it twice for more.", _set_verbose, {"count": True}),
        (["-q", "--quiet"], "Print only results and errors.", _set_quiet, {"is_flag": True}),
    )
]
_HELP = print_and_exit(["-h", "--help"], "Show this message and exit.", click.Context.get_help)


class Command(click.Command):
    """A command that takes the shared options as well."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += _SHARED

    def get_help_option(self, ctx: click.Context) -> click.Option:
        """The option that prints the help."""
        return _HELP


#: Commands of other tools -> those that do the same here.
_OTHER_WORDS = {"fetch": "get", "download": "get", "upload": "publish", "register": "add", "ls": "list", "rm": "remove"}


class Group(Command, click.Group):
    """A group that answers a mistyped command with the close ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the words name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            known = self.list_commands(ctx)
            meant = _OTHER_WORDS.get(args[0])
            close = [meant] if meant in known else difflib.get_close_matches(args[0], known, n=3, cutoff=0.6)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {' or '.join(close)}?", ctx) from None


def complete_package(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The packages that declare data and begin so; none is imported."""
    from ..registry.packages import declared_packages

    return [name for name in declared_packages() if name.startswith(incomplete)]


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


def data_command(
    name: str, *parameters: Callable[[Callable[..., None]], Callable[..., None]], **settings: Any
) -> Callable[[Callable[..., None]], click.Command]:
    """A command on the data of a package: its function gets the data instead of PACKAGE and --registry."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(package: str, registry: str | None, **rest: Any) -> None:
            function(open_data(package, registry), **rest)

        decorated: Callable[..., None] = run
        for parameter in (as_json, from_registry, *reversed(parameters), package):
            decorated = parameter(decorated)
        return click.command(name, Command, **settings)(decorated)

    return decorate


def open_data(package: str, registry: str | None) -> PackageData:
    """The data of a package, also of one that is not installed.

    Bars on a terminal, a line now and then elsewhere, nothing with ``--quiet``.
    """
    from ..package_data import PackageData
    from .targets import find_declared

    name, path = find_declared(package) if registry is None else (package, registry)
    return PackageData(name, registry=path, show_progress=not is_quiet())
