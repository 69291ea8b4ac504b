"""How much data a wheel, an sdist or a source tree ships."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import BadName
from ..registry.packages import REGISTRY_NAME

__all__ = ["DataFile", "data_files", "move_commands"]

#: Suffixes of what is no data.
_CODE = frozenset(
    {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".pyc", ".typed", ".so", ".pyd", ".dll", ".dylib", ".a", ".lib"}
    | {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".f", ".f90", ".rs", ".wasm"}
)


class DataFile(NamedTuple):
    """A file that is not code.

    Parameters
    ----------
    size : int
        Bytes, unpacked.
    path : str
        Where it lies in the package or the source tree.
    """

    size: int
    path: str


def data_files(path: Path) -> list[DataFile]:
    """The data that something ships, the largest first.

    Parameters
    ----------
    path : Path
        A wheel, an sdist, a source tree (of a git repository the files that git knows), or a single file.

    Returns
    -------
    list of DataFile
        Code, libraries and metadata are left out.

    Raises
    ------
    BadName
        If there is no such file, or it is not what its suffix says.
    """
    try:
        if path.is_dir():
            found = list(_in_folder(path))
        elif path.suffix in {".whl", ".zip"}:
            found = list(_in_zip(path))
        elif path.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")):
            found = list(_in_tar(path))
        else:
            found = [DataFile(path.stat().st_size, path.as_posix())]
    except FileNotFoundError:
        raise BadName(f"{path}: there is no such file") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise BadName(f"{path}: cannot be read as a wheel or an sdist: {error}") from error
    return sorted((file for file in found if _is_data(file.path)), key=lambda file: (-file.size, file.path))


def _is_data(path: str) -> bool:
    parts = PurePosixPath(path)
    metadata = any(part.endswith((".dist-info", ".egg-info")) for part in parts.parts[:-1])
    return not metadata and parts.suffix.lower() not in _CODE


def _in_zip(path: Path) -> Iterator[DataFile]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield DataFile(member.file_size, _inside(member.filename, path.suffix == ".zip"))


def _in_tar(path: Path) -> Iterator[DataFile]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield DataFile(member.size, _inside(member.name, True))


def _inside(name: str, sdist: bool) -> str:
    return name.partition("/")[2] or name if sdist else name


def _in_folder(path: Path) -> Iterator[DataFile]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=path,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        names = [
            os.path.relpath(os.path.join(folder, file), path)
            for folder, folders, files in os.walk(path)
            if not _prune(folders)
            for file in files
        ]
    for name in names:
        try:
            status = os.lstat(path / name)
        except FileNotFoundError:  # removed, but not for git yet
            continue
        if stat.S_ISREG(status.st_mode):
            yield DataFile(status.st_size, Path(name).as_posix())


def _prune(folders: list[str]) -> bool:
    folders[:] = [folder for folder in folders if not folder.startswith(".") and folder != "__pycache__"]
    return False


def move_commands(files: list[DataFile]) -> list[str]:
    """The commands that take files out of a package and register them.

    Parameters
    ----------
    files : list of DataFile
        The files, with their paths in the source tree.

    Returns
    -------
    list of str
        Lines for a shell; what cannot be said as a command is a comment.
    """
    import shlex

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
