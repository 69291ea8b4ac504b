"""The marker ``package_data``: the files it names, and the package it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from ..errors import BadName, UnknownFile
from ..package_data import PackageData
from ..registry.names import close_names
from ..registry.packages import REGISTRY_NAME, package_at

_FORM = "the marker is package_data('name or glob', ..., package='mypkg')"


class Need(NamedTuple):
    """One file of one package."""

    package: str
    name: str
    registry: str = ""


def gather(item: pytest.Item, data_of: Callable[[str], PackageData]) -> Iterator[Need]:
    """The files that the markers of a test name, those of the widest first. Raises `DataferryError` for a mistake."""
    named = ""
    for mark in reversed(list(item.iter_markers())):
        if _is_misspelt(mark.name, item.config):
            raise BadName(f"the marker is {mark.name!r}: did you mean 'package_data'?")
        if mark.name != "package_data":
            continue
        unknown = mark.kwargs.keys() - {"package"}
        if unknown or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
            word = ", ".join(map(repr, sorted(unknown)))
            raise BadName(f"{f'no argument {word}: ' if unknown else ''}{_FORM}")
        named = mark.kwargs.get("package") or named  # of this marker or of a wider one
        package = named or item.config.getini("dataferry_package") or _around(item.path)
        if not package:
            hint = "add package=, or dataferry_package to the configuration of pytest"
            raise BadName(f"package_data({', '.join(map(repr, mark.args))}) names no package: {hint}")
        data = data_of(package)
        for pattern in mark.args:
            for name in registered_names(pattern, data):
                yield Need(package, name, data.registry.origin)


def registered_names(pattern: str, data: PackageData) -> list[str]:
    """The files that a name or a glob means; raises `UnknownFile` or `BadName`, with close ones, if it means none."""
    if data.registry.find(pattern) is not None:
        return [pattern]
    known, origin = data.names(), data.registry.origin
    if not set("*?[") & set(pattern):
        raise UnknownFile(pattern, origin, close_names(pattern, known))
    if found := data.names(pattern):
        return found
    last = PurePosixPath(pattern).name
    globs = dict.fromkeys(str(PurePosixPath(name).with_name(last)) for name in known)
    close = [glob for glob in get_close_matches(pattern, globs) if data.names(glob)]
    hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise BadName(f"no file in {origin} matches {pattern!r}{hint}")


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
