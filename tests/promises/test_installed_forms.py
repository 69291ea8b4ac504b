"""Packages that are not plainly installed: their bundled files are found, without an import and without the network."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.resources.abc import Traversable, TraversableResources
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData, RegistryError, get_data_filename
from dataferry.testing import RangeServer

NOT_TO_BE_IMPORTED = b"raise RuntimeError('imported')\n"
TOML = b'dataurl = "https://data.example.org/"\n\n[files."maps/a.fits"]\nsize = 5\n'
TOML += b'sha256 = "81db8ebbbbc69c6c6ad4a6aa92b76e0c08af547da236b9e2c9dbe1d8285a8130"\n'


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer({"maps/a.fits": b"other"}) as running:
        yield running
        assert not running.requests


class Node(Traversable):
    """A folder that is on no disk; its files are, each somewhere."""

    def __init__(self, name: str, items: dict[str, Any]) -> None:
        self._name, self.items = name, items

    @property
    def name(self) -> str:
        return self._name

    def iterdir(self) -> Iterator[Any]:
        return (Node(name, item) if isinstance(item, dict) else item for name, item in self.items.items())

    def joinpath(self, *names: Any) -> Any:
        found: Any = self
        for name in "/".join(map(str, names)).split("/"):
            found = found.items.get(name, Path(os.devnull, "orphan"))
            found = Node(name, found) if isinstance(found, dict) else found
        return found

    def is_dir(self) -> bool:
        return True

    def is_file(self) -> bool:
        return False

    def open(self, *_: Any, **__: Any) -> Any:
        raise IsADirectoryError(self._name)


class Loader(SourceFileLoader):
    tree: Node

    def get_resource_reader(self, name: str) -> Any:
        class Reader(TraversableResources):
            def files(self) -> Node:
                return tree

        tree = self.tree
        return Reader()


class Finder:
    """As the import hook of meson-python: the folder of the package is none."""

    def __init__(self, name: str, tree: Node) -> None:
        self.package, self.tree = name, tree

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name != self.package:
            return None
        loader = Loader(name, str(self.tree.items["__init__.py"]))
        loader.tree = self.tree
        spec = ModuleSpec(name, loader, origin=loader.path)
        spec.submodule_search_locations = [os.path.join(os.path.abspath("loader.py"), name)]
        return spec


@pytest.mark.parametrize("name", ["hooked", "hookedspace.inner"])
def test_an_import_hook_that_knows_each_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RangeServer, name: str
) -> None:
    """Source and build folder, of a package and of one within a namespace package."""
    source, build = tmp_path / "source", tmp_path / "build"
    files = {source / "__init__.py": NOT_TO_BE_IMPORTED, source / "data" / "dataferry.toml": TOML}
    files[build / "data" / "maps" / "a.fits"] = b"small"
    files[source / "raw" / "b-v1.fits"] = b"small"  # install_data(rename: ...)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tree: dict[str, Any] = {"__init__.py": source / "__init__.py"}
    tree["data"] = {
        "dataferry.toml": source / "data" / "dataferry.toml",
        "maps": {"a.fits": build / "data" / "maps" / "a.fits", "b.fits": source / "raw" / "b-v1.fits"},
    }
    (tmp_path / "path" / "hookedspace").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(name, Node(name, tree))])
    expected = str(build / "data" / "maps" / "a.fits")
    assert get_data_filename("maps/a.fits", package=name, dataurl=server.url) == expected
    assert str(PackageData(name).get("maps/a.fits")) == expected
    renamed = str(source / "raw" / "b-v1.fits")
    assert get_data_filename("maps/b.fits", package=name, dataurl=server.url) == renamed
    assert PackageData(name).get("maps/b.fits") == renamed
    assert name not in sys.modules


def test_an_import_hook_and_a_package_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").write_bytes(NOT_TO_BE_IMPORTED)
    tree = Node("hooked", {"__init__.py": tmp_path / "__init__.py"})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder("hooked", tree)])
    with pytest.raises(RegistryError, match=f"package 'hooked' declares no data \\({tmp_path}.*'dataferry add' writes"):
        PackageData("hooked").names()


def test_namespace_packages_within_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RangeServer
) -> None:
    for part, file in (("one", "dataferry.toml"), ("two", "maps/a.fits")):
        path = tmp_path / part / "outerspace" / "middle" / "inner" / "data" / file
        path.parent.mkdir(parents=True)
        path.write_bytes(TOML if file == "dataferry.toml" else b"small")
        monkeypatch.syspath_prepend(str(tmp_path / part))
    name = "outerspace.middle.inner"
    path = get_data_filename("maps/a.fits", package=name, dataurl=server.url)
    assert path == str(tmp_path / "two" / "outerspace" / "middle" / "inner" / "data" / "maps" / "a.fits")
    assert str(PackageData(name).get("maps/a.fits")) == path
    assert not any(module.startswith("outerspace") for module in sys.modules)


def test_a_zipapp_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RangeServer) -> None:
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("zipped/__init__.py", NOT_TO_BE_IMPORTED)
        made.writestr("zipped/data/dataferry.toml", TOML)
        made.writestr("zipped/data/maps/a.fits", "small")
    monkeypatch.syspath_prepend(str(archive))
    said = r"inside an archive, .*app\.pyz.zipped.*; unpack the archive or install"
    with pytest.raises(RegistryError, match=said):
        get_data_filename("maps/a.fits", package="zipped", dataurl=server.url)
    with pytest.raises(RegistryError, match=said):
        PackageData("zipped").get("maps/a.fits")
    assert "zipped" not in sys.modules


SETUPTOOLS = '[tool.setuptools.package-data]\neditpkg = ["data/**"]\n'
BELOW_SRC = '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
# name: back-end, what it requires, folder of the sources, more lines of pyproject.toml, options of pip
FORMS = {
    "setuptools": ("setuptools.build_meta", "setuptools", "src", SETUPTOOLS + BELOW_SRC, ()),
    "setuptools-strict": ("setuptools.build_meta", "setuptools", "src", SETUPTOOLS + BELOW_SRC, ("strict",)),
    "setuptools-compat": ("setuptools.build_meta", "setuptools", "src", SETUPTOOLS + BELOW_SRC, ("compat",)),
    "setuptools-finder": (
        "setuptools.build_meta",
        "setuptools",
        "lib",
        f'{SETUPTOOLS}[tool.setuptools]\npackages = ["editpkg"]\npackage-dir = {{editpkg = "lib/editpkg"}}\n',
        (),
    ),
    "hatchling": ("hatchling.build", "hatchling", "src", "", ()),
    "flit": ("flit_core.buildapi", "flit_core", "src", "", ()),
    "pdm": ("pdm.backend", "pdm-backend", "src", "", ()),
    "poetry": ("poetry.core.masonry.api", "poetry-core", "src", "", ()),
    "uv": ("uv_build", "uv_build", "src", "", ()),
    "scikit-build-core": ("scikit_build_core.build", "scikit-build-core", "src", "", ()),
    "meson-python": ("mesonpy", "meson-python", "src", "", ()),
}


@pytest.mark.nightly
@pytest.mark.parametrize("form", FORMS)
def test_editable_installs(tmp_path: Path, form: str, need: Any, real_environ: dict[str, str]) -> None:
    """The bundled file and the registry, in a new environment that sees this one."""
    back_end, requires, folder, more, options = FORMS[form]
    tree = tmp_path / "tree"
    files = {"__init__.py": b'"""x"""\n__version__ = "1.0"\nimport no_such_module\n', "data/dataferry.toml": TOML}
    for name, content in {**files, "data/maps/a.fits": b"small"}.items():
        (tree / folder / "editpkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / folder / "editpkg" / name).write_bytes(content)
    system = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{back_end}"\n'
    project = '[project]\nname = "editpkg"\nversion = "1.0"\ndescription = "x"\n'
    (tree / "pyproject.toml").write_text(system + project + more)
    (tree / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.15)\nproject(editpkg LANGUAGES NONE)\n")
    (tree / "meson.build").write_text(
        "project('editpkg', version: '1.0')\npy = import('python').find_installation(pure: true)\n"
        "py.install_sources('src/editpkg/__init__.py', subdir: 'editpkg')\n"
        "install_subdir('src/editpkg/data', install_dir: py.get_install_dir() / 'editpkg')\n"
    )
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    python = str(environment / "bin" / "python")
    packages = next((environment / "lib").glob("python*/site-packages"))
    ours = [path for path in sys.path if path.endswith("-packages")]
    (packages / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "-e", str(tree)]
    if form == "meson-python":  # which rebuilds whenever it is asked
        requires += " ninja meson"
        again = [*(word for word in pip[:-2] if word != "--no-deps"), *requires.split()]
        done = subprocess.run(again, env=real_environ, capture_output=True, text=True, check=False)
        need.that("index", done.returncode == 0, done.stderr)
        pip.insert(-2, "--no-build-isolation")
        real_environ["PATH"] = f"{environment / 'bin'}{os.pathsep}{real_environ['PATH']}"
    pip += [f"--config-settings=editable_mode={option}" for option in options]
    done = subprocess.run(pip, env=real_environ, capture_output=True, text=True, check=False)
    need.that("index", "No matching distribution" not in done.stderr, f"the package index gives no {requires}")
    assert done.returncode == 0, done.stdout + done.stderr
    code = (
        "import sys, dataferry\n"
        "for path in (dataferry.get_data_filename('maps/a.fits', package='editpkg', dataurl='http://127.0.0.1:9/'),\n"
        "             dataferry.PackageData('editpkg').get('maps/a.fits')):\n"
        "    assert open(path).read() == 'small'\n"
        "assert 'editpkg' not in sys.modules\n"
        "print(path)\n"
    )
    done = subprocess.run([python, "-c", code], env=real_environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path) in done.stdout
