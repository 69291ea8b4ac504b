"""The group of commands: what every command shares."""

from __future__ import annotations

import os
import warnings
from typing import Any

import click

from ..errors import DataferryError
from .options import SHARED, Group, log_to_stderr
from .output import INTERRUPTED, echo, exit_code, print_error, style

#: Command -> module, and the command's name there where it has several; in the order in which a newcomer meets them.
_MODULES = {
    "demo": "demo",
    "get": "get",
    "where": "files:where",
    "list": "files:list_files",
    "verify": "files:verify",
    "info": "maps:info",
    "show": "maps:show",
    "add": "add:add",
    "remove": "add:remove",
    "publish": "publish",
    "check": "check",
    "host": "host",
    "cache": "cache",
    "check-dist": "check_dist",
    "doctor": "doctor",
}

EXIT_CODES = """\b
Exit codes:
  0    success
  1    a file is not available, not the registered one, or not published
  2    usage: unknown option, or a name that is not allowed or not registered
  3    only the network has a file, and it is off or not reachable
  4    dataferry.toml or config.toml is invalid, or there is no such package
  5    this machine: no cache to write to, no space, a missing extra
  6    a host needs a token, or one with more rights
  7    a published name has other bytes, in the registry or at a host
  130  stopped by Ctrl-C; the same command continues from there"""


class Commands(Group):
    """The commands, each imported when it is wanted; their errors become messages and exit codes."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, with the log on stderr."""
        with log_to_stderr():
            return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the help."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        from importlib import import_module

        if cmd_name not in _MODULES:
            return None
        module, _, name = _MODULES[cmd_name].partition(":")
        command = getattr(import_module(f".{module}", __package__), name or "command")
        return command if isinstance(command, click.Command) else None

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line, whose ``--help`` or ``--version`` may not be printable."""
        try:
            return super().make_context(*args, **extra)
        except DataferryError as error:
            print_error(error)
            raise click.exceptions.Exit(exit_code(error)) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print its error and leave with the exit code for it."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except DataferryError as error:
            print_error(error)
            ctx.exit(exit_code(error))
        except (KeyboardInterrupt, click.Abort):
            echo("\nstopped; nothing incomplete is visible. The same command goes on from here.", err=True)
            ctx.exit(INTERRUPTED)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line for users: without the line of code that gave it."""
    echo(f"{style('warning:', fg='yellow', bold=True)} {message}", err=True)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        try:
            number = version("dataferry")
        except PackageNotFoundError:  # a clone that is not installed
            number = f"(not installed, in {Path(__file__).resolve().parents[2]})"
        echo(f"dataferry {number}")
        ctx.exit()


@click.group(
    cls=Commands,
    params=[
        *SHARED,
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    ],
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
def dataferry() -> None:
    """Find, download, verify and publish the data files of scientific packages.

    A package declares its files in mypkg/data/dataferry.toml. dataferry looks for a file in predefined
    folders, in the package, in astropy's cache, and then at the package's hosts.

    "dataferry demo" shows how it works, without a network.
    """
