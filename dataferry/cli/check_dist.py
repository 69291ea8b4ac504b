"""``dataferry check-dist``: how much data a wheel, an sdist or a source tree ships."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import click

from ..errors import BadName
from ..registry.packages import REGISTRY_NAME
from . import options
from .output import FAILED, echo, print_json, size_text, style

__all__ = ["command"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_MOST_LISTED = 10
_SDIST = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
#: Suffixes of what is no data.
_CODE = frozenset(
    {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".pyc", ".typed", ".so", ".pyd", ".dll", ".dylib", ".a", ".lib"}
    | {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".f", ".f90", ".rs", ".wasm"}
)


class _DataFile(NamedTuple):
    """A file that is not code: its unpacked size, and where it lies in the package or the source tree."""

    size: int
    path: str


def _as_bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 10MB")
    return int(float(match[1]) * _UNITS[match[2]])


@click.command("check-dist", cls=options.Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--max-file",
    callback=_as_bytes,
    default="10MB",
    show_default=True,
    metavar="SIZE",
    help="The limit for one data file.",
)
@click.option(
    "--max-total",
    callback=_as_bytes,
    default="100MB",
    show_default=True,
    metavar="SIZE",
    help="The limit for all data files together.",
)
@options.as_json
def command(paths: tuple[Path, ...], max_file: int, max_total: int, as_json: bool) -> None:
    """Check that a wheel or an sdist contains no large data.

    PATH is a wheel, an sdist, or the folder of a source tree. Sizes are those of the unpacked files. Code, libraries
    and metadata do not count. The exit code is 1 if a file or the sum is too large.

    \b
    Examples:
      dataferry check-dist dist/*
      dataferry check-dist . --max-file 1MB
    """  # noqa: D301 - click wants the character itself
    reports = []
    moving: dict[str, _DataFile] = {}
    for path in paths:
        files = _data_files(path)
        total = sum(file.size for file in files)
        large = [file for file in files if file.size > max_file]
        if total - sum(file.size for file in large) > max_total:  # there are too many, whatever their size
            large = files[: max(_MOST_LISTED, len(large))]
        ok = not large and total <= max_total
        moving |= {file.path: file for file in large}
        largest = [file._asdict() for file in files[:_MOST_LISTED]]
        reports.append({"path": str(path), "ok": ok, "bytes": total, "largest": largest})
        if not as_json:
            word = style("ok   ", fg="green") if ok else style("LARGE", fg="red", bold=True)
            limit = f", {size_text(max_total)} allowed" if total > max_total else ""
            echo(f"{word}  {path}: {size_text(total)} of data in {len(files)} files{limit}")
            for file in large:
                limit = f", {size_text(max_file)} allowed" if file.size > max_file else ""
                echo(f"       {size_text(file.size):>8}  {file.path}{limit}")
    failed = not all(report["ok"] for report in reports)
    if as_json:
        print_json({"ok": not failed, "checked": reports})
    elif failed:
        echo("\nMove them to a host, from which users download what they need. In the source tree:", err=True)
        for line in _move_commands(sorted(moving.values(), reverse=True)):
            echo(f"  {line}", err=True)
    if failed:
        click.get_current_context().exit(FAILED)


def _data_files(path: Path) -> list[_DataFile]:
    """The data that something ships, the largest first; of a git repository the files that git knows."""
    try:
        if path.is_dir():
            found = list(_in_folder(path))
        elif path.suffix in {".whl", ".zip"}:
            with zipfile.ZipFile(path) as wheel:
                found = [_DataFile(member.file_size, member.filename) for member in wheel.infolist()]
        elif path.name.endswith(_SDIST):
            with tarfile.open(path) as sdist:
                found = [_DataFile(member.size, member.name) for member in sdist if member.isfile()]
        else:
            found = [_DataFile(path.stat().st_size, path.as_posix())]
    except FileNotFoundError:
        raise BadName(f"{path}: there is no such file") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise BadName(f"{path}: cannot be read as a wheel or an sdist: {error}") from error
    if path.name.endswith(_SDIST):  # its files are below one folder
        found = [_DataFile(size, name.partition("/")[2] or name) for size, name in found]
    found = [file for file in found if not file.path.endswith("/") and _is_data(file.path)]
    return sorted(found, key=lambda file: (-file.size, file.path))


def _is_data(path: str) -> bool:
    parts = PurePosixPath(path)
    metadata = any(part.endswith((".dist-info", ".egg-info")) for part in parts.parts[:-1])
    return not metadata and parts.suffix.lower() not in _CODE


def _in_folder(path: Path) -> Iterator[_DataFile]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=path,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        names = []
        for folder, folders, files in os.walk(path):
            folders[:] = [f for f in folders if not f.startswith(".") and f != "__pycache__"]
            names += [os.path.relpath(os.path.join(folder, file), path) for file in files]
    for name in names:
        try:
            status = os.lstat(path / name)
        except FileNotFoundError:  # removed, but not for git yet
            continue
        if stat.S_ISREG(status.st_mode):
            yield _DataFile(status.st_size, Path(name).as_posix())


def _move_commands(files: list[_DataFile]) -> list[str]:
    """Lines for a shell that take files out of a package and register them."""
    lines: list[str] = []
    folders: dict[str, str] = {}
    for file in files:
        parts = PurePosixPath(file.path).parts
        if parts[-1] == REGISTRY_NAME:
            continue
        at = parts.index("data", 1) if "data" in parts[1:-1] else 0
        package = "/".join(parts[:at]) or "."
        owner = parts[at - 1] if at else "moved"
        name = "/".join(parts[at + 1 :]) if at else parts[-1]
        target = f"{folders.setdefault(package, f'../{owner}-data')}/{name}"
        here, there, given = shlex.quote(file.path), shlex.quote(target), "" if at else f" --as {shlex.quote(name)}"
        lines += [
            f"dataferry add {shlex.quote(package)} {here}{given}",
            f"mkdir -p {shlex.quote(os.path.dirname(target))} && mv {here} {there}",
        ]
    lines += [f"# the files in {folder} go to the host of the package's dataurl" for folder in folders.values()]
    return lines
