"""How a command ends: the exit codes, and what is said of an error."""

from __future__ import annotations

import click

from ..errors import (
    AccessDenied,
    BadName,
    CacheError,
    Conflict,
    DataferryError,
    FetchErrors,
    MissingExtra,
    Offline,
    PublishErrors,
    RegistryError,
    SettingsError,
    UnknownFile,
)

__all__ = [
    "CONFLICT",
    "DECLARED",
    "DENIED",
    "FAILED",
    "INTERRUPTED",
    "MACHINE",
    "OFFLINE",
    "USAGE",
    "exit_code",
    "say_error",
    "say_stopped",
]

#: A file could not be had or published, or is not the registered one.
FAILED = 1
#: The command line asks for something that does not exist: an option, a name.
USAGE = 2
#: Only the network has the file, and it is switched off or away.
OFFLINE = 3
#: The registry or the configuration cannot be used, or there is no such package.
DECLARED = 4
#: This machine: no cache can be written, the disk is full, an extra is not installed.
MACHINE = 5
#: A host wants a token, or one with more rights.
DENIED = 6
#: A published name has other bytes.
CONFLICT = 7
#: Stopped by Ctrl-C.
INTERRUPTED = 130

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (Offline, OFFLINE),
    (RegistryError, DECLARED),
    (SettingsError, DECLARED),
    (BadName, USAGE),
    (UnknownFile, USAGE),
    (CacheError, MACHINE),
    (MissingExtra, MACHINE),
    (AccessDenied, DENIED),
    (Conflict, CONFLICT),
)


def exit_code(error: DataferryError) -> int:
    """The exit code for an error.

    Parameters
    ----------
    error : DataferryError
        What happened.

    Returns
    -------
    int
        Of several errors the common code, or 1 where they differ.
    """
    if isinstance(error, FetchErrors | PublishErrors):
        codes = {exit_code(e) for e in error.exceptions if isinstance(e, DataferryError)}
        return codes.pop() if len(codes) == 1 else FAILED
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def say_error(message: object) -> None:
    """Print an error to stderr, its first line marked.

    Parameters
    ----------
    message : object
        The error or its text.
    """
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)


def say_stopped() -> None:
    """Say after Ctrl-C how to go on."""
    click.echo("\nstopped; nothing half-made is visible. The same command goes on from here.", err=True)
