"""The group of commands: what every command shares."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from ..errors import DataferryError
from .options import Group, log_to_stderr, print_and_exit
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
        """Run the command line: the log, warnings and errors are lines on stderr."""
        with log_to_stderr(), warnings.catch_warnings():
            warnings.showwarning = _print_warning
            try:
                return super().main(*args, **extra)
            except DataferryError as error:
                print_error(error)
                sys.exit(exit_code(error))

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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command that Ctrl-C may stop."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            echo("\nstopped; nothing incomplete is visible. The same command goes on from here.", err=True)
            ctx.exit(INTERRUPTED)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line for users: without the line of code that gave it."""
    echo(f"{style('warning:', fg='yellow', bold=True)} {message}", err=True)


def _version(ctx: click.Context) -> str:
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        return f"dataferry {version('dataferry')}"
    except PackageNotFoundError:  # a clone that is not installed
        return f"dataferry (not installed, in {Path(__file__).resolve().parents[2]})"


@click.group(
    cls=Commands,
    params=[print_and_exit(["--version"], "Show the version and exit.", _version)],
    epilog=EXIT_CODES,
    context_settings={"max_content_width": 100},
)
def dataferry() -> None:
    """Find, download, verify and publish the data files of scientific packages.

    A package declares its files in mypkg/data/dataferry.toml. dataferry looks for a file in predefined
    folders, in the package, in astropy's cache, and then at the package's hosts.

    "dataferry demo" shows how it works, without a network.
    """
