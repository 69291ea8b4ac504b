"""``docs/architecture.rst`` is true, and the tests that other pages name exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dataferry.errors import Reason

#: Folders that the tree has as one line.
WHOLE = {"maps", "cli", "pytest_plugin", "testing"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "architecture.rst").read_text(encoding="utf-8")


def test_the_tree_has_every_module(repository: Path, page: str) -> None:
    tree = page[page.index("    dataferry/\n") : page.index("How ``get`` works")]
    named: set[str] = set()
    folder = ""
    for line in tree.splitlines()[1:]:
        if match := re.match(r" {8}(\w+)/ ", line):
            folder = match[1] + "/"
        elif match := re.match(r" {8}([\w./-]+) ", line):
            named.add(match[1])
        elif match := re.match(r" {12}((?:\w+\.py *)+)", line):
            named |= {folder + name for name in match[1].split()}
    package = repository / "dataferry"
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py")} | {"data/sites.toml"}
    inner = {name for name in modules if "/" in name and (name.split("/")[0] in WHOLE or name.endswith("__init__.py"))}
    assert named == modules - inner


def test_its_paths_and_names_exist(repository: Path, page: str) -> None:
    table = page[page.index("Where to change what\n") : page.index("How to debug\n")]
    paths = re.findall(r"``([\w/]+\.(?:py|toml))``", table)
    assert len(paths) > 25
    assert [path for path in paths if path != "config.toml" and not (repository / "dataferry" / path).is_file()] == []
    source = "\n".join(path.read_text(encoding="utf-8") for path in (repository / "dataferry").rglob("*.py"))
    names = [
        name.rpartition(".")[2]
        for name in re.findall(r"``([A-Z]?[\w]+(?:\.\w+)?)``", table)
        if "_" in name or "." in name
    ]
    assert [name for name in names if name != "py" and f" {name}" not in source] == []


def test_its_layers_are_those_that_are_checked(repository: Path) -> None:
    table = (repository / "docs" / "layers.inc").read_text(encoding="utf-8")
    named = [re.findall(r"``(\w+)``", row) for row in table.splitlines() if row[:1].isdigit()]
    config = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [contract] = [each for each in config["contracts"] if each["type"] == "layers"]
    assert named == [re.findall(r"\w+", layer) for layer in contract["layers"]]


def test_its_reasons_are_the_enum(page: str) -> None:
    section = page[page.index("Reasons of a failure\n") : page.index("Which library does what\n")]
    assert set(re.findall(r"^``([\w-]+)``  ", section, re.MULTILINE)) == {reason.value for reason in Reason}


@pytest.mark.parametrize("name", ["security", "reliability"])
def test_the_tests_that_pages_name_exist(repository: Path, name: str) -> None:
    text = (repository / "docs" / f"{name}.rst").read_text(encoding="utf-8")
    named = re.findall(r"``(tests/\w+/)?(test_\w+\.py)(?:::(test_\w+))?``", text)
    assert len(named) > 15
    missing = []
    for folder, file, test in named:
        path = repository / (folder or "tests/promises/") / file
        if not path.is_file() or (test and f"def {test}(" not in path.read_text(encoding="utf-8")):
            missing.append(f"{folder}{file}::{test}")
    assert missing == []
