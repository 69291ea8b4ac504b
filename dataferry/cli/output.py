"""What the commands print and how they end: text without control characters, errors, exit codes."""

from __future__ import annotations

import json
import os
import re

import click

from .. import errors
from ..errors import CacheError, DataferryError, printable

#: A file could not be downloaded or published, or is not the registered one.
FAILED = 1
#: The command line asks for something that does not exist: an option, a name.
USAGE = 2
#: Only the network has the file, and it is switched off or away.
OFFLINE = 3
#: The registry or the configuration cannot be used, or there is no such package.
REGISTRY = 4
#: This machine: no cache can be written, the disk is full, an extra is not installed.
MACHINE = 5
#: A host wants a token, or one with more rights.
DENIED = 6
#: A published name has other bytes.
CONFLICT = 7
#: Stopped by Ctrl-C.
INTERRUPTED = 130

_CODES: dict[type[BaseException], int] = {
    errors.Offline: OFFLINE,
    errors.RegistryError: REGISTRY,
    errors.SettingsError: REGISTRY,
    errors.BadName: USAGE,
    errors.UnknownFile: USAGE,
    errors.CacheError: MACHINE,
    errors.MissingExtra: MACHINE,
    errors.AccessDenied: DENIED,
    errors.Conflict: CONFLICT,
}
#: What click.style writes; every other control character comes from a file, a server or a name.
_COLOR = re.compile(r"(\x1b\[(?:[012]|22|3[0-7])m)")


def exit_code(error: DataferryError) -> int:
    """The exit code for an error: of several errors the common code, or 1 where they differ."""
    if isinstance(error, errors.FetchErrors | errors.PublishErrors):
        codes = {exit_code(e) for e in error.exceptions if isinstance(e, DataferryError)}
        return codes.pop() if len(codes) == 1 else FAILED
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)


def style(text: object, **styles: bool | str | None) -> str:
    """Text in a colour, where the terminal shows colours and the user wants them (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return printable(str(text)) if plain else click.style(printable(str(text)), **styles)  # type: ignore[arg-type]


def echo(text: object = "", *, err: bool = False) -> None:
    """Print text, which may hold what a server or a file says."""
    parts = _COLOR.split(str(text))
    _write("".join(part if index % 2 else printable(part) for index, part in enumerate(parts)), err)


def _write(text: str, err: bool = False) -> None:
    try:
        click.echo(text, err=err)
    except BrokenPipeError:  # click ends the command
        raise
    except OSError as error:  # stdout is /dev/full
        raise CacheError(f"the output cannot be written: {error.strerror or error}") from error


def print_path(path: str) -> None:
    """Print a path as it is, for scripts."""
    _write(path)


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().meta.get("dataferry.quiet"))


def note(text: object) -> None:
    """Print to stderr what is no result, unless ``--quiet``."""
    if not is_quiet():
        echo(text, err=True)


def print_error(message: object) -> None:
    """Print an error to stderr, its first line marked."""
    echo(f"{style('error:', fg='red', bold=True)} {printable(str(message))}", err=True)


def print_json(value: object) -> None:
    """Print a value as JSON to stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _write(re.sub(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda match: f"\\u{ord(match[0]):04x}", text))


def size_text(size: int | None) -> str:
    """A number of bytes for people, ``5.0 kB`` in powers of 1000; ``?`` where nobody knows."""
    if size is None:
        return "?"
    if size < 1000:
        return f"{size} B"
    value, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.{1 if value < 99.95 else 0}f} {units[0]}"


def count(number: int, word: str = "file") -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {word}{'s' * (number != 1)}"
