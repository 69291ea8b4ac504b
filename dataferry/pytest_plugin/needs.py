"""The marker ``package_data``: the files it names, and the package it means."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from ..errors import DataferryError
from ..package_data import PackageData
from ..registry.names import close_names
from ..registry.packages import REGISTRY_NAME, package_at

_FORM = "the marker is package_data('name or glob', ..., package='mypkg')"


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
    """The files that the markers of a test name, those of the widest marker first; adds to the packages seen so far."""
    files: dict[Need, None] = {}
    named = ""
    for mark in reversed(list(item.iter_markers())):
        if mark.name != "package_data":
            if _is_misspelt(mark.name, item.config):
                return Needs([], f"{item.nodeid}: the marker is {mark.name!r}: did you mean 'package_data'?")
            continue
        unknown = mark.kwargs.keys() - {"package"}
        if unknown or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
            word = ", ".join(map(repr, sorted(unknown)))
            return Needs([], f"{item.nodeid}: {f'no argument {word}: ' if unknown else ''}{_FORM}")
        named = mark.kwargs.get("package") or named  # of this marker or of a wider one
        package = named or item.config.getini("dataferry_package") or _around(item.path)
        if not package:
            hint = "add package=, or dataferry_package to the configuration of pytest"
            return Needs([], f"{item.nodeid}: package_data({', '.join(map(repr, mark.args))}) names no package: {hint}")
        try:
            data = packages.setdefault(package, PackageData(package))
            for pattern in mark.args:
                if problem := mistake_in(pattern, data):
                    return Needs([], f"{item.nodeid}: {problem}")
                found = data.names(pattern) if _is_glob(pattern) else [pattern]
                files.update(dict.fromkeys(Need(package, name, str(data.registry.path)) for name in found))
        except DataferryError as error:
            return Needs([], f"{item.nodeid}: {error}")
    return Needs(list(files))


def mistake_in(pattern: str, data: PackageData) -> str:
    """Why a name or a glob means no registered file, with close ones; empty if it does."""
    if data.registry.find(pattern) is not None or (_is_glob(pattern) and data.names(pattern)):
        return ""
    known = data.names()
    if _is_glob(pattern):
        last = PurePosixPath(pattern).name
        folders = dict.fromkeys(str(PurePosixPath(name).parent) for name in known)
        globs = [last if folder == "." else f"{folder}/{last}" for folder in folders]
        close = [glob for glob in get_close_matches(pattern, globs) if data.names(glob)]
        problem = f"no file in {data.registry.path} matches {pattern!r}"
    else:
        close = close_names(pattern, known)
        problem = f"{pattern!r} is not registered in {data.registry.path}"
    return f"{problem}: did you mean {' or '.join(map(repr, close))}?" if close else problem


def _is_glob(pattern: str) -> bool:
    return bool(set("*?[") & set(pattern))


def _is_misspelt(marker: str, config: pytest.Config) -> bool:
    declared = (line.partition(":")[0].partition("(")[0].strip() for line in config.getini("markers"))
    return bool(get_close_matches(marker, ["package_data"], cutoff=0.8)) and marker not in declared


def find_package(item: pytest.Item) -> str:
    """The package of the closest marker, of the configuration, or the nearest around the test's file; else empty."""
    marks = item.iter_markers("package_data")
    named = next((m.kwargs["package"] for m in marks if m.kwargs.get("package")), "")
    return named or item.config.getini("dataferry_package") or _around(item.path)


def _around(path: Path) -> str:
    for folder in path.parents:
        registry = folder / "data" / REGISTRY_NAME
        if registry.is_file() and (folder / "__init__.py").is_file():
            return package_at(registry)
    return ""


def skipped_anyway(item: pytest.Item) -> bool:
    """Whether a plain skip marker keeps the test from running, so that nothing need be fetched for it."""
    skips = any(any(arg is True for arg in mark.args) for mark in item.iter_markers("skipif"))
    return skips or item.get_closest_marker("skip") is not None
