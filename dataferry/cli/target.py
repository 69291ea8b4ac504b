"""Which ``dataferry.toml`` `dataferry add` writes, and under which names files go into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import BadName, RegistryError
from ..registry.names import check_name
from ..registry.packages import REGISTRY_NAME, package_folders

__all__ = ["find_target", "named_files", "say_how_to_ship"]


def find_target(written: str) -> Path:
    """Find the registry that is meant.

    Parameters
    ----------
    written : str
        An installed package; a folder: of a package's sources, its ``data``, or a source tree with one package that
        declares data; or a ``dataferry.toml``.

    Returns
    -------
    Path
        The ``dataferry.toml``, which need not be there yet.

    Raises
    ------
    RegistryError
        If there is no such folder or package, or several could be meant.
    """
    path = Path(written)
    if path.name == REGISTRY_NAME or path.is_file():
        if path.name != REGISTRY_NAME or not path.parent.is_dir():
            raise RegistryError(f"{written}: neither a package, nor a folder, nor a {REGISTRY_NAME}")
        return path
    if path.is_dir():
        return _in_folder(path)
    if os.sep in written or written.startswith("."):
        raise RegistryError(f"{written}: there is no such folder")
    folders = package_folders(written)
    places = [folder / "data" / REGISTRY_NAME for folder in folders]
    if not places:
        raise RegistryError(f"package {written!r} lies inside an archive; give the folder of its sources")
    return next((place for place in places if place.is_file()), places[0])


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
        raise RegistryError(f"{folder} holds several packages; give one of {', '.join(map(str, likely))}")
    raise RegistryError(
        f"{folder} is no package: it has no data folder and no __init__.py (make {folder / 'data'} first)"
    )


def named_files(files: Iterable[str], data: Path, name: str | None, prefix: str) -> dict[str, Path]:
    """The names under which files go into the registry.

    Parameters
    ----------
    files : iterable of str
        Files and folders.
    data : Path
        The package's data folder: what lies in it has its path there as its name.
    name : str or None
        The name of the one file that is given.
    prefix : str
        What is put before the names of files from elsewhere.

    Returns
    -------
    dict of str to Path
        Name -> file, sorted by name.

    Raises
    ------
    BadName
        If a name is not legal, two files would get the same, or there is no such file.
    """
    found: dict[str, Path] = {}
    inside = data.resolve()
    for written in files:
        for path, below in _walk(Path(written)):
            real = path.parent.resolve() / path.name
            if name is not None:
                new = name
            elif real.is_relative_to(inside):
                new = real.relative_to(inside).as_posix()
            else:
                new = f"{prefix.rstrip('/')}/{below}" if prefix else below
            try:
                check_name(new)
            except BadName as error:
                raise BadName(f"{path}: {error}; --as gives it another name") from None
            if found.setdefault(new, path) != path and not os.path.samefile(found[new], path):
                raise BadName(f"{found[new]} and {path} would both be {new!r}; use --as or --prefix for one of them")
    return dict(sorted(found.items()))


def _walk(path: Path) -> Iterator[tuple[Path, str]]:
    """A file and its own name, or all files of a folder and their paths below it."""
    if not path.is_dir():
        if not path.is_file():
            raise BadName(f"{path}: " + ("not a regular file" if path.exists() else "there is no such file"))
        yield path, path.name
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for file in sorted(files):
            if not file.startswith(".") and file != REGISTRY_NAME and not file.endswith((".py", ".pyc")):
                inner = Path(folder, file)
                yield inner, inner.relative_to(path).as_posix()


def say_how_to_ship(path: Path) -> None:
    """Say what makes a new registry travel with its package.

    Parameters
    ----------
    path : Path
        The registry.
    """
    import click

    package = path.parent.parent.resolve().name
    click.echo(
        f"It must be installed with the package. In pyproject.toml, for setuptools:\n"
        f"  [tool.setuptools.package-data]\n"
        f'  {package} = ["data/{path.name}"]       # and the small files that go with it',
        err=True,
    )
