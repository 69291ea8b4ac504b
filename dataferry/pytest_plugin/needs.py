"""What a test needs: its markers, and the package that they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ..errors import DataferryError
from ..package_data import PackageData
from ..registry.packages import REGISTRY_NAME

__all__ = ["Need", "Needs", "find_package", "gather", "skipped_anyway"]


class Need(NamedTuple):
    """One file of one package."""

    package: str
    name: str
    registry: str = ""


class Needs(NamedTuple):
    """What one test needs, or what is wrong with its markers."""

    files: list[Need]
    problem: str = ""


def gather(item: pytest.Item, packages: dict[str, PackageData]) -> Needs:
    """The files that the markers of a test name.

    Parameters
    ----------
    item : pytest.Item
        The test.
    packages : dict of str to PackageData
        The packages seen so far; more are added.

    Returns
    -------
    Needs
        Each file once, those of the widest marker first.
    """
    files: dict[Need, None] = {}
    said = ""
    for mark in reversed(list(item.iter_markers("package_data"))):
        unknown = mark.kwargs.keys() - {"package"}
        if unknown or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
            return Needs([], f"{item.nodeid}: the marker is package_data('name or glob', ..., package='mypkg')")
        said = mark.kwargs.get("package") or said  # of this marker or of a wider one
        package = said or item.config.getini("dataferry_package") or _around(item.path)
        if not package:
            return Needs(
                [],
                f"{item.nodeid}: package_data{mark.args} names no package: add package=, or dataferry_package to the "
                "configuration of pytest",
            )
        try:
            data = packages.setdefault(package, PackageData(package))
            registry = str(data.registry.path)
            for pattern in mark.args:
                found = data.names(pattern) if any(c in pattern for c in "*?[") else [pattern]
                if not found:
                    return Needs([], f"{item.nodeid}: no file in {registry} matches {pattern!r}")
                files.update(dict.fromkeys(Need(package, name, registry) for name in found))
        except DataferryError as error:
            return Needs([], str(error))
    return Needs(list(files))


def find_package(item: pytest.Item) -> str:
    """The package whose data a test means.

    Parameters
    ----------
    item : pytest.Item
        The test.

    Returns
    -------
    str
        That of the closest marker, of the configuration, or the nearest one around the test's file that declares data;
        empty if there is none.
    """
    marks = item.iter_markers("package_data")
    said = next((m.kwargs["package"] for m in marks if m.kwargs.get("package")), "")
    return said or item.config.getini("dataferry_package") or _around(item.path)


def _around(path: Path) -> str:
    for folder in path.parents:
        if (folder / "data" / REGISTRY_NAME).is_file() and (folder / "__init__.py").is_file():
            return ".".join(reversed(list(_parts(folder))))
    return ""


def _parts(folder: Path) -> Iterator[str]:
    while (folder / "__init__.py").is_file():
        yield folder.name
        folder = folder.parent


def skipped_anyway(item: pytest.Item) -> bool:
    """Whether a plain skip marker keeps the test from running, so that nothing need be fetched for it."""
    if item.get_closest_marker("skip") is not None:
        return True
    return any(any(arg is True for arg in mark.args) for mark in item.iter_markers("skipif"))
