"""Which ``dataferry.toml`` `add`, `remove` and `publish` change, and under which names files go into it."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..errors import BadName, RegistryError
from ..registry.catalog import CATALOG, SUMS
from ..registry.names import check_name
from ..registry.packages import REGISTRY_NAME, declarations_of, find_registry, package_at
from .output import note

#: In an error; a folder such as /etc has hundreds of links.
_MOST_LISTED = 10
#: What lies beside data in a folder and is none; one that is named is taken. `publish` changes its lists each time.
_NO_DATA = re.compile(
    r"(README|LICEN[CS]E|COPYING|AUTHORS|CHANGES|CHANGELOG|MANIFEST)\b.*|.*\.py[cix]?"
    f"|{re.escape(REGISTRY_NAME)}|{re.escape(CATALOG)}|{SUMS}",
    re.IGNORECASE,
).fullmatch


def naming_options(function: click.decorators.FC) -> click.decorators.FC:
    """The options that say under which names files are registered."""
    prefix = "A prefix for the names of files outside the data folder."
    function = click.option("--prefix", default="", metavar="FOLDER", help=prefix)(function)
    return click.option("--as", "name", metavar="NAME", help="The name to use, if one file is given.")(function)


def find_target(target: str) -> Path:
    """The ``dataferry.toml`` that is meant, which need not be there yet; RegistryError if none or several are.

    A target is a package in the source tree here, or an installed one; a folder (of a package's sources, its ``data``,
    or a source tree with one package that declares data); or a ``dataferry.toml``.
    """
    path = Path(target)
    if path.name == REGISTRY_NAME or path.is_file():
        if path.name != REGISTRY_NAME or not path.parent.is_dir():
            raise RegistryError(f"{target}: neither a package, nor a folder, nor a {REGISTRY_NAME}")
        return path
    if folder := _folder_here(target):
        return _in_folder(folder)
    if _is_path(target):
        raise RegistryError(f"{target}: there is no such folder")
    registries = [Path(path) for path in declarations_of(target)]
    if not registries:
        raise RegistryError(f"package {target!r} is inside an archive; give the folder of its sources")
    return next((registry for registry in registries if registry.is_file()), registries[0])


def find_declared(target: str) -> tuple[str, Path | None]:
    """A package's name, and its ``dataferry.toml`` if that is one of a source tree.

    An installed package comes first: the current directory hides it only where a path is given.
    """
    if _is_path(target):
        try:
            path = find_target(target)
        except RegistryError as error:
            raise RegistryError(f"{target!r} names no package: {error}") from None
        if not path.is_file():
            raise RegistryError(f"{target!r}: {path} is not there; 'dataferry add {target} FILES' writes it")
    else:
        try:
            find_registry(target)
        except RegistryError as error:
            folder = _folder_here(target)
            if folder is None:
                raise
            with contextlib.suppress(RegistryError):  # a folder of that name that is no package
                path = _in_folder(folder)
                if path.is_file():
                    note(f"using {path}, since no installed package {target!r} declares data")
                    return package_name(path), path
            raise RegistryError(f"{error}; {folder} declares no data either") from None
        return target, None
    note(f"using {path}")
    return package_name(path), path


def _is_path(target: str) -> bool:
    return os.sep in target or target.startswith(".") or target == REGISTRY_NAME


def _folder_here(target: str) -> Path | None:
    """A folder, or the folder of a package in the source tree here: flat or below ``src``."""
    parts = target.split(".")
    choices = [Path(target), *([] if _is_path(target) else [Path(*parts), Path("src", *parts)])]
    return next((folder for folder in choices if folder.is_dir()), None)


def package_name(registry: Path) -> str:
    """The dotted name of the package that a ``dataferry.toml`` belongs to."""
    folder = registry.resolve().parent.parent
    root = find_root(folder)
    parts = folder.relative_to(root).parts if root else ()
    if parts[:1] == ("src",):
        parts = parts[1:]
    if not parts or not all(part.isidentifier() for part in parts):  # not in a source tree: an installed package
        return package_at(registry.resolve())
    return ".".join(parts)


def find_root(folder: Path) -> Path | None:
    """The root of a package's source tree."""
    return next((f for f in folder.parents if (f / "pyproject.toml").is_file() or (f / "setup.py").is_file()), None)


def _in_folder(folder: Path) -> Path:
    if (folder / REGISTRY_NAME).is_file() or folder.resolve().name == "data":
        return folder / REGISTRY_NAME
    if (folder / "data").is_dir() or (folder / "__init__.py").is_file():
        return folder / "data" / REGISTRY_NAME
    inside = [*folder.glob("*/__init__.py"), *folder.glob("src/*/__init__.py")]
    packages = [init.parent for init in inside if init.parent.name not in {"tests", "docs"}]
    declared = [package for package in packages if (package / "data" / REGISTRY_NAME).is_file()]
    likely = declared or [package for package in packages if (package / "data").is_dir()]
    if len(likely) == 1:
        return likely[0] / "data" / REGISTRY_NAME
    if likely:
        raise RegistryError(f"{folder} has several packages; give one of {', '.join(map(str, likely))}")
    raise RegistryError(
        f"{folder} is no package: it has no data folder and no __init__.py (make {folder / 'data'} first)"
    )


def named_files(
    files: Sequence[str], registry: Path, name: str | None, prefix: str, listed: Path | None
) -> dict[str, Path]:
    """Name -> file, sorted by name, of files and folders of files; BadName with everything that is wrong.

    What lies in the package's data folder is named by its path there, other files by their own name behind the prefix.
    The text registry, `listed`, is no data.
    """
    if name is not None and (len(files) != 1 or os.path.isdir(files[0]) or prefix):
        raise click.UsageError("--as needs exactly one file, and no --prefix.")
    found: dict[str, Path] = {}
    problems: list[str] = []
    inside = registry.parent.resolve()
    for file in files:
        if (top := Path(file).resolve()) != inside and inside.is_relative_to(top):
            problems.append(f"{file}: the package itself is in this folder; name its data, {registry.parent}, or files")
            continue
        for path, below, wrong in _walk(Path(file)):
            real = path.parent.resolve() / path.name
            if listed is not None and real == listed.resolve():
                continue
            new = posixpath.join(prefix, below) if name is None else name
            if name is None and real.is_relative_to(inside):
                new = real.relative_to(inside).as_posix()
            problem = wrong
            try:
                check_name(new)
            except BadName as error:
                problem = wrong or f"{error}; --as gives it another name"
            if problem:
                problems.append(f"{path}: {problem}")
            elif found.setdefault(new, path) != path and not os.path.samefile(found[new], path):
                problems.append(
                    f"{found[new]} and {path} would both be {new!r}; use --as or --prefix to rename one of them"
                )
    if problems:
        head = [f"{len(problems)} files cannot be taken:"] if len(problems) > 1 else []
        rest = [f"... and {len(problems) - _MOST_LISTED} more"] if len(problems) > _MOST_LISTED else []
        raise BadName("\n  ".join([*head, *problems[:_MOST_LISTED], *rest]))
    return dict(sorted(found.items()))


def _walk(path: Path) -> Iterator[tuple[Path, str, str]]:
    """A file, its path below what was given, and what is wrong with it; of a folder all files.

    A link that was named is meant; one that is found in a folder may lead to anything, /etc/passwd or a whole disk.
    """
    if not path.is_dir():
        problem = "" if path.is_file() else "not a regular file" if path.exists() else "there is no such file"
        yield path, path.name, problem
        return
    top = path.resolve()
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for file in sorted([*files, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]):
            if file.startswith(".") or _NO_DATA(file):
                continue
            inner = Path(folder, file)
            yield inner, inner.relative_to(path).as_posix(), _problem_in_folder(inner, top)


def _problem_in_folder(path: Path, top: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"a link to {os.readlink(path)}: {error.strerror}" if path.is_symlink() else str(error.strerror)
    if path.is_symlink():
        if stat.S_ISDIR(mode):
            return f"a link to the folder {os.readlink(path)}: give that folder itself"
        if not path.resolve().is_relative_to(top):
            return f"a link to {os.readlink(path)}, outside of {top}: give the file itself, with --as NAME"
    return "" if stat.S_ISREG(mode) else "not a regular file"
