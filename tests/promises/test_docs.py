"""What the pages show is what there is: commands, options, TOML, names, variables, and the five lines of a migration.

The examples with a prompt run by themselves: pytest collects ``docs`` and ``README.rst`` too.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import runpy
import shlex
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from astropy.utils import data as astropy_data

import dataferry
from dataferry import Offline, Registry
from dataferry.cli.app import dataferry as commands
from dataferry.config.settings import load_settings
from dataferry.testing import RangeServer

PAGES = [
    "README.rst",
    *(
        f"docs/{name}.rst"
        for name in [
            "user",
            "authors",
            "migrate",
            "plain",
            "toml",
            "hpc",
            "testing",
            "hosts",
            "publishing",
            "checking",
            "ci",
            "install",
        ]
    ),
]
URL = "https://portal.example.org/mypkg-data/"
CONFIG = {"offline", "verify", "site", "folder_timeout", "packages", "sites", "hosts"}


def blocks(text: str, language: str) -> list[str]:
    """The bodies of code blocks."""
    found = re.findall(rf"^( *)\.\. code-block:: {language}\n\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(body) for _, body in found]


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, repository: Path) -> str:
    return (repository / request.param).read_text(encoding="utf-8")


def test_commands_exist(page: str) -> None:
    shells = "\n".join(blocks(page, "console") + blocks(page, "bash"))
    lines = re.findall(r"^ *(?:\$ )?(?:.*\| )?(dataferry .*)$", shells, re.MULTILINE)
    lines += re.findall(r"``(dataferry [a-z-].*?)``", page)
    for line in lines:
        words = shlex.split(re.sub(r"[|>#].*", "", line))[1:]
        parse(commands, words, click.Context(commands))


def parse(command: click.Command | None, words: list[str], context: click.Context) -> None:
    """Parse a command line as click does, without running anything."""
    assert command is not None
    if isinstance(command, click.Group):
        options = {option for parameter in command.params for option in parameter.opts}
        while words and words[0] in options:
            words = words[1:]
        if words:
            parse(command.get_command(context, words[0]), words[1:], context)
    elif words:  # without any it is only named in the text
        command.make_context(command.name, words, parent=context).close()


def test_toml_is_accepted(page: str, home: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page, "toml")):
        table = tomllib.loads(block)
        if {"project", "tool"} & table.keys():
            continue
        if CONFIG & table.keys():
            config = home / ".config" / "dataferry" / "config.toml"
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(block)
            assert load_settings().files == [config]
        else:
            path = tmp_path / f"{number}.toml"
            path.write_text(block)
            (tmp_path / "files.txt").touch()
            assert Registry(path).path == path


def test_readme_is_well_formed(repository: Path) -> None:
    """GitHub and package indexes show a README with a broken table as plain text."""
    core = pytest.importorskip("docutils.core")
    warnings = io.StringIO()
    settings = {"report_level": 1, "warning_stream": warnings, "halt_level": 5}
    core.publish_doctree((repository / "README.rst").read_text(encoding="utf-8"), settings_overrides=settings)
    assert warnings.getvalue() == ""


def test_readme_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first screen of README: the function, the registry and the class, with the example's data on a web server."""
    readme = (repository / "README.rst").read_text(encoding="utf-8")
    runpy.run_path(str(repository / "examples" / "mypkg" / "tools" / "make_data.py"))["main"](tmp_path / "portal")
    package = tmp_path / "site" / "mypkg"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    with RangeServer(tmp_path / "portal") as server:
        [registry] = blocks(readme, "toml")
        (package / "data" / "dataferry.toml").write_text(registry.replace(URL, server.url))
        names: dict[str, Any] = {}
        for block in blocks(readme, "python"):
            exec(block.replace(URL, server.url), names)
    assert Path(names["path"]).stat().st_size == 596160
    assert names["paths"] == [names["path"]]


def test_text_registry_is_accepted(repository: Path, tmp_path: Path) -> None:
    [text] = blocks((repository / "docs" / "toml.rst").read_text(), "text")
    (tmp_path / "files.txt").write_text(text)
    (tmp_path / "dataferry.toml").write_text('registry = "files.txt"')
    registry = Registry(tmp_path / "dataferry.toml")
    assert [(entry.name, entry.size) for entry in registry.entries()] == [
        ("maps/dust_064.fits", 596160),
        ("maps/dust_128.fits", 2367360),
    ]


def test_public_names_are_on_the_interface_page(repository: Path) -> None:
    page = (repository / "docs" / "api.rst").read_text()
    assert ".. automodule:: dataferry.errors" in page
    missing = {
        name
        for name in dataferry.__all__
        if name != "__version__" and name not in dataferry.errors.__all__ and f":: {name}\n" not in page
    }
    assert missing == set()


@pytest.fixture
def package(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """A package like pysm3 whose ``RemoteData`` is a code block of docs/plain.rst, with another URL."""
    classes = blocks((repository / "docs" / "plain.rst").read_text(), "python")
    old, new, registered = (
        next(body for body in classes if sign in body) for sign in ("set_temp", "super()", "def RemoteData")
    )
    folder = tmp_path / "site" / "mypkg"
    (folder / "data").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder.parent))

    def package(which: str, url: str) -> ModuleType:
        body = {"old": old, "new": new, "registered": registered}[which]
        head = "import contextlib, os, dataferry\nfrom astropy.utils import data\n"
        (folder / "__init__.py").write_text(head + body.replace(URL, url).replace("/global/cfs", f"{tmp_path}/cfs"))
        sys.modules.pop("mypkg", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module("mypkg")
        finally:
            sys.dont_write_bytecode = before

    package.lines = {"old": old, "new": new, "registered": registered}  # type: ignore[attr-defined]
    yield package
    sys.modules.pop("mypkg", None)


def test_migration_is_five_lines(package: Callable[..., ModuleType]) -> None:
    lines = package.lines  # type: ignore[attr-defined]
    assert len(lines["new"].split("\n\n")[0].splitlines() + lines["new"].split("\n\n")[1].splitlines()) == 5
    assert len([line for line in lines["registered"].splitlines() if line.strip()]) == 2


@pytest.mark.usefixtures("astropy_leaks")
def test_migration_keeps_cache_folders_and_variable(
    package: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RangeServer({"maps/a.fits": b"first", "maps/b.fits": b"second"}) as server:
        cached = package("old", server.url).RemoteData().get("maps/a.fits")
        server.forget()
        remote = package("new", server.url).RemoteData()
        assert remote.data_url == server.url
        assert remote.get("maps/a.fits") == cached  # what the old class fetched
        assert server.requests == []
        assert Path(remote.get("maps/b.fits")).read_bytes() == b"second"
        assert [request.name for request in server.requests] == ["maps/b.fits"]
        with pytest.raises(OSError, match=r"maps/c\.fits"):
            remote.get("maps/c.fits")
        assert remote.get(cached) == cached  # an absolute path
    folder = tmp_path / "cfs" / "cdirs" / "cmb" / "www" / "mypkg-data" / "maps"
    folder.mkdir(parents=True)
    (folder / "a.fits").write_bytes(b"first")
    assert remote.get("maps/a.fits") == str(folder / "a.fits")
    own = tmp_path / "own" / "maps"
    own.mkdir(parents=True)
    (own / "a.fits").write_bytes(b"first")
    monkeypatch.setenv("MYPKG_LOCAL_DATA", str(own.parent))
    assert remote.get("maps/a.fits") == str(own / "a.fits")


def test_migration_ignores_the_current_directory(
    package: Callable[..., ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stray.fits").touch()
    with astropy_data.conf.set_temp("allow_internet", False):
        assert package("old", URL).RemoteData().get("stray.fits") == "stray.fits"
        with pytest.raises(Offline):
            package("new", URL).RemoteData().get("stray.fits")


def test_migration_to_a_registry(package: Callable[..., ModuleType], tmp_path: Path) -> None:
    with RangeServer({"maps/a.fits": b"first"}) as server:
        fetched = package("old", server.url).RemoteData().get("maps/a.fits")
        sha256 = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
        declared = f'dataurl = "{server.url}"\nfiles = {{ "maps/a.fits" = {{ size = 5, sha256 = "{sha256}" }} }}\n'
        (tmp_path / "site" / "mypkg" / "data" / "dataferry.toml").write_text(declared)
        path = package("registered", server.url).RemoteData().get("maps/a.fits")
        assert path.endswith("/maps/a.fits")
        assert os.path.samefile(path, fetched)
        assert len(server.requests) == 1
