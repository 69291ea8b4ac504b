"""What takes the data files of a package into its wheel and sdist: the lines that each build back-end needs."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import NamedTuple

from ..files import read_regular
from .output import note
from .targets import find_root, package_name


class _BackEnd(NamedTuple):
    name: str
    #: Empty where the back-end takes every file of a package.
    lines: str = ""
    file: str = "pyproject.toml"


#: First part of ``build-backend`` -> what it needs for all files below ``data``, also for those that git does not know
#: (setuptools-scm) and for those that .gitignore names (hatchling, poetry, scikit-build-core): each was tried.
_BACK_ENDS = {
    "setuptools": _BackEnd("setuptools", '[tool.setuptools.package-data]\n{key} = ["data/**"]'),
    "hatchling": _BackEnd("hatchling", '[tool.hatch.build]\nartifacts = ["{data}/**"]'),
    "poetry": _BackEnd("poetry", '[tool.poetry]\ninclude = [{{ path = "{data}/**/*", format = ["sdist", "wheel"] }}]'),
    "scikit_build_core": _BackEnd("scikit-build-core", '[tool.scikit-build]\nsdist.include = ["{data}/**"]'),
    "mesonpy": _BackEnd(
        "meson-python (which packs committed files only)",
        "install_subdir('{data}', install_dir: py.get_install_dir() / '{parent}')",
        "meson.build",
    ),
    "flit_core": _BackEnd("flit"),
    "pdm": _BackEnd("pdm"),
    "uv_build": _BackEnd("uv"),
}


def note_how_to_ship(registry: Path) -> None:
    """Print what makes a new registry and the bundled files travel with their package."""
    data = registry.resolve().parent
    package, root = package_name(registry), find_root(data)
    declared: object = ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # the tree may have none of it yet
        project = tomllib.loads(read_regular(Path(root or "", "pyproject.toml")).decode())
        declared = project["build-system"]["build-backend"]
    back_end = _BACK_ENDS.get(str(declared).partition(".")[0], _BACK_ENDS["setuptools"])
    lines = back_end.lines.format(
        key=package if package.isidentifier() else f'"{package}"',
        data=data.relative_to(root).as_posix() if root else f"{package.replace('.', '/')}/data",
        parent=package.replace(".", "/"),
    )
    what = f"In {back_end.file}, for {back_end.name}:" if lines else f"{back_end.name} takes all files of a package."
    note(f"It must be installed with the package. {what}")
    for line in lines.splitlines():
        note(f"  {line}")
    note("Check it before a release: python -m build && dataferry check-dist dist/*")
