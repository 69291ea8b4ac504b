"""``dataferry check-dist``: which data a wheel, an sdist or a source tree ships, too much of it or too little."""

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
from typing import Any, NamedTuple

import click

from ..cache.archive import BROKEN
from ..errors import BadName
from ..registry.packages import REGISTRY_NAME
from . import options
from .output import FAILED, count, echo, print_json, size_text, style

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_MOST_LISTED = 10
_SDIST = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
#: Suffixes of what is no data.
_CODE = frozenset(
    {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".pyc", ".typed", ".so", ".pyd", ".dll", ".dylib", ".a", ".lib"}
    | {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".f", ".f90", ".rs", ".wasm"}
)


class _File(NamedTuple):
    """The unpacked size of a file, and where it lies in the package or the source tree."""

    size: int
    path: str

    @property
    def is_data(self) -> bool:
        parts = PurePosixPath(self.path)
        metadata = any(part.endswith((".dist-info", ".egg-info")) for part in parts.parts[:-1])
        return not metadata and parts.suffix.lower() not in _CODE


def _as_bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 10MB")
    return int(float(match[1]) * _UNITS[match[2]])


_SIZE: dict[str, Any] = {"callback": _as_bytes, "show_default": True, "metavar": "SIZE"}


@click.command("check-dist", cls=options.Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--max-file", default="10MB", help="The limit for one data file.", **_SIZE)
@click.option("--max-total", default="100MB", help="The limit for all data files together.", **_SIZE)
@options.as_json
def command(paths: tuple[Path, ...], max_file: int, max_total: int, as_json: bool) -> None:
    """Check which data a wheel or an sdist contains.

    Small data should be in it, and large data should not. PATH is a wheel, an sdist, or the folder of a source
    tree. Sizes are those of the unpacked files. Code, libraries, metadata and the folder "dist" do not count. In
    the source tree, the command also checks that archives contain the package's dataferry.toml and the registered
    files of its data folder. The exit code is 1 if data is too large or missing.

    \b
    Examples:
      dataferry check-dist dist/*
      dataferry check-dist . --max-file 1MB
    """  # noqa: D301 - click wants the character itself
    from .packaging import note_how_to_ship

    reports = [_check(path, max_file, max_total) for path in paths]
    is_ok = all(report.is_ok for report in reports)
    if as_json:
        print_json({"ok": is_ok, "checked": [report.as_json() for report in reports]})
    else:
        for report in reports:
            _print_report(report, max_file, max_total)
        large = {file.path: file for report in reports for file in report.large}
        if large:
            echo("\nMove them to a host, from which users download what they need. In the source tree:", err=True)
            for line in _move_commands(sorted(large.values(), reverse=True)):
                echo(f"  {line}", err=True)
        for registry in dict.fromkeys(registry for report in reports for registry, _ in report.missing):
            echo(f"\n{registry}", err=True)
            note_how_to_ship(registry)
    if not is_ok:
        click.get_current_context().exit(FAILED)


class _Report(NamedTuple):
    """What one wheel, sdist or source tree ships."""

    path: Path
    #: Largest first.
    data: list[_File]
    #: The files to move to a host.
    large: list[_File]
    #: Registry, and where the archive should have a file.
    missing: list[tuple[Path, str]]
    is_too_much: bool

    @property
    def total(self) -> int:
        return sum(file.size for file in self.data)

    @property
    def is_ok(self) -> bool:
        return not (self.large or self.is_too_much or self.missing)

    def as_json(self) -> dict[str, Any]:
        largest = [file._asdict() for file in self.data[:_MOST_LISTED]]
        missing = [name for _, name in self.missing]
        return {"path": str(self.path), "ok": self.is_ok, "bytes": self.total, "largest": largest, "missing": missing}


def _check(path: Path, max_file: int, max_total: int) -> _Report:
    files = _files(path)
    data = sorted((file for file in files if file.is_data), key=lambda file: (-file.size, file.path))
    large = [file for file in data if file.size > max_file]
    small = sum(file.size for file in data[len(large) :])
    is_too_much = small + sum(file.size for file in large) > max_total
    if small > max_total:  # there are too many, whatever their size
        large = data[: max(_MOST_LISTED, len(large))]
    missing = [] if path.is_dir() else list(_missing(path, {file.path for file in files}, max_file))
    return _Report(path, data, large, missing, is_too_much)


def _print_report(report: _Report, max_file: int, max_total: int) -> None:
    word = "ok   " if report.is_ok else "LARGE" if report.large or report.is_too_much else "LACKS"
    mark = style(word, fg="green" if report.is_ok else "red", bold=None if report.is_ok else True)
    limit = f", {size_text(max_total)} allowed" if report.is_too_much else ""
    echo(f"{mark}  {report.path}: {size_text(report.total)} of data in {len(report.data)} files{limit}")
    for file in report.large:
        limit = f", {size_text(max_file)} allowed" if file.size > max_file else ""
        echo(f"       {size_text(file.size):>8}  {file.path}{limit}")
    for _, name in report.missing[:_MOST_LISTED]:
        echo(f"        missing  {name}")
    if len(report.missing) > _MOST_LISTED:
        echo(f"        missing  {count(len(report.missing) - _MOST_LISTED, 'further file')}")


def _files(path: Path) -> list[_File]:
    """The files that something ships; of a git repository those that git knows."""
    try:
        if path.is_dir():
            return list(_in_folder(path))
        if path.suffix in {".whl", ".zip"}:
            with zipfile.ZipFile(path) as wheel:
                found = [_File(member.file_size, member.filename) for member in wheel.infolist() if not member.is_dir()]
        elif path.name.endswith(_SDIST):
            with tarfile.open(path) as sdist:
                found = [_File(member.size, member.name) for member in sdist if member.isfile()]
        else:
            return [_File(path.stat().st_size, path.as_posix())]
    except FileNotFoundError:
        raise BadName(f"{path}: there is no such file") from None
    except BROKEN as error:
        raise BadName(f"{path}: cannot be read as a wheel or an sdist: {error}") from error
    if path.name.endswith(_SDIST):  # its files are below one folder
        return [_File(size, name.partition("/")[2] or name) for size, name in found]
    return found


def _in_folder(path: Path) -> Iterator[_File]:
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
        if stat.S_ISREG(status.st_mode) and Path(name).parts[0] != "dist":  # wheels and sdists have paths of their own
            yield _File(status.st_size, Path(name).as_posix())


def _missing(path: Path, shipped: set[str], max_file: int) -> Iterator[tuple[Path, str]]:
    """The registry, and where an archive should have a file: what the source tree here has for packages in it."""
    from ..registry import Registry
    from .targets import find_root, package_name

    here = Path.cwd()
    for pattern in ("*", "*/*", "*/*/*"):
        for registry in sorted(here.glob(f"{pattern}/data/{REGISTRY_NAME}")):
            if find_root(registry) != here:  # an example with a pyproject.toml of its own
                continue
            package = registry.parent.parent
            inside = package.relative_to(here).as_posix()
            if path.suffix == ".whl":
                inside = package_name(registry).replace(".", "/")
            if not any(name.startswith(f"{inside}/") for name in shipped):  # another package's
                continue
            known = Registry(registry)
            wanted = [registry, *([known.list_path] if known.list_path else [])]
            wanted += [registry.parent / name for name in known.names()]
            for file in wanted:
                name = f"{inside}/{os.path.relpath(file, package)}"
                if name not in shipped and file.is_file() and file.stat().st_size <= max_file:
                    yield registry.relative_to(here), name


def _move_commands(files: list[_File]) -> list[str]:
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
