"""``examples/mypkg``: its files travel in wheel and sdist, and it works where only the wheels are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import RangeServer

BUNDLED = ["bands.ecsv", "dataferry.toml", "maps/dust_016.fits"]
HOSTED = ["maps/dust_064.fits", "maps/dust_128.fits"]
CLEAN = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", "_build", ".*")


def run(command: list[Any], cwd: Path, env: Mapping[str, str]) -> str:
    """Run a command without the source tree on its path; its output, or a failure that shows it."""
    clean = {key: value for key, value in env.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def build(need: Any, real_environ: dict[str, str]) -> Callable[..., None]:
    """Build wheel and sdist of a source tree into a folder; without isolation where setuptools is new enough."""
    need.module("build")

    def has(name: str, major: int) -> bool:
        try:
            return int(metadata.version(name).partition(".")[0]) >= major
        except metadata.PackageNotFoundError:
            return False

    isolated = not (has("setuptools", 77) and has("setuptools-scm", 8))

    def build(source: Path, into: Path, *what: str) -> None:
        how = [] if isolated else ["--no-isolation"]
        command = [sys.executable, "-m", "build", *how, *what, "--outdir", into, source]
        try:
            run(command, into, real_environ)
        except AssertionError as error:
            unreachable = isolated and re.search(r"No matching distribution|ConnectionError|Could not find", str(error))
            need.that("index", not unreachable, "the package index gives no setuptools to build with")
            raise

    return build


@dataclass
class Built:
    """What was built."""

    wheel: Path
    sdist: Path
    dataferry: Path


@pytest.fixture(scope="session")
def built(repository: Path, once: Callable[..., Path], build: Callable[..., None]) -> Built:
    """The wheel of mypkg, built from its sdist; the sdist; the wheel of this checkout."""

    def make(folder: Path) -> None:
        shutil.copytree(repository / "examples" / "mypkg", folder / "mypkg", ignore=CLEAN)
        build(folder / "mypkg", folder)
        source = folder / "source"
        source.mkdir()
        for name in "README.rst", "LICENSE", "MANIFEST.in", "pyproject.toml", "setup.cfg":
            shutil.copy(repository / name, source)
        for name in "dataferry", "licenses":
            shutil.copytree(repository / name, source / name, ignore=CLEAN)
        build(source, folder, "--wheel")

    folder = once("example-built", make)
    [wheel], [sdist], [dataferry] = (folder.glob(p) for p in ("mypkg-*.whl", "mypkg-*.tar.gz", "dataferry-*.whl"))
    return Built(wheel, sdist, dataferry)


def install(python: str | Path, *what: Path | str) -> list[Any]:
    return [sys.executable, "-m", "pip", "--python", python, "install", "-q", *what]


@pytest.fixture(scope="session")
def installed(need: Any, built: Built, once: Callable[..., Path], real_environ: dict[str, str]) -> Path:
    """The ``bin`` of an environment that holds the two wheels; their dependencies are those of this run."""
    need.module("pip")

    def make(folder: Path) -> None:
        run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], folder, real_environ)
        python = folder / "env" / "bin" / "python"
        run(install(python, "--no-deps", "--no-index", built.wheel, built.dataferry), folder, real_environ)
        site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder, real_environ)
        # these come second, and .pth files in them are not read: no editable install shines through
        others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        Path(site.strip(), "dependencies.pth").write_text("\n".join(others) + "\n")

    return once("example-installed", make) / "env" / "bin"


@pytest.fixture(scope="session")
def hosted(repository: Path, once: Callable[..., Path], real_environ: dict[str, str]) -> Path:
    """A folder with all data of mypkg, as its author makes it."""

    def make(folder: Path) -> None:
        script = repository / "examples" / "mypkg" / "tools" / "make_data.py"
        run([sys.executable, script, folder], folder, real_environ)

    return once("example-hosted", make)


def data_in(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("mypkg/data/") and not name.endswith("/")]
        return {name.removeprefix("mypkg/data/"): archive.read(name) for name in names}


def test_wheel_carries_data_and_registry(built: Built, repository: Path) -> None:
    source = repository / "examples" / "mypkg" / "mypkg" / "data"
    carried = data_in(built.wheel)
    assert sorted(carried) == BUNDLED
    assert carried == {name: (source / name).read_bytes() for name in BUNDLED}
    assert sum(map(len, carried.values())) < 100_000


def test_sdist_carries_data_registry_and_tools(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {f"mypkg/data/{name}" for name in BUNDLED}
    wanted |= {"mypkg/tests/test_maps.py", "tools/make_data.py", "docs/index.rst", "tox.ini", "pyproject.toml"}
    assert wanted <= names


def test_dataferry_carries_its_own_data(built: Built) -> None:
    with zipfile.ZipFile(built.dataferry) as archive:
        assert {"dataferry/data/sites.toml", "dataferry/py.typed"} <= set(archive.namelist())


def test_own_tests_pass_where_the_wheels_are_installed(installed: Path, tmp_path: Path) -> None:
    where = "import mypkg, dataferry; print(mypkg.__file__, dataferry.__file__)"
    for file in run([installed / "python", "-c", where], tmp_path, os.environ).split():
        assert Path(file).is_relative_to(installed.parent)
    command = [installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "mypkg"]
    assert re.search(r"^8 passed", run(command, tmp_path, os.environ), re.MULTILINE)


def test_commands_on_the_installed_package(installed: Path, tmp_path: Path) -> None:
    listed = run([installed / "dataferry", "list", "mypkg"], tmp_path, os.environ)
    assert all(name in listed for name in ["bands.ecsv", "maps/dust_016.fits", *HOSTED])
    got = run([installed / "dataferry", "get", "mypkg", "maps/dust_016.fits"], tmp_path, os.environ)
    path = Path(got.split()[-1])
    assert path.is_relative_to(installed.parent)
    assert path.name == "dust_016.fits"
    told = run([installed / "dataferry", "where", "mypkg", "maps/dust_016.fits"], tmp_path, os.environ)
    assert "package" in told
    assert str(path) in told


def test_hosted_map_is_loaded_through_a_server(installed: Path, hosted: Path, tmp_path: Path) -> None:
    script = """if True:
        import json, sys
        import mypkg.maps
        from dataferry import PackageData
        mypkg.maps.DATA = data = PackageData("mypkg", registry=sys.argv[1])
        maps, header = mypkg.load_map("maps/dust_064.fits")
        kinds = [step.kind for name in sys.argv[2:] for step in data.where(name).steps if step.found]
        print(json.dumps([maps.shape, str(maps.unit), header["NSIDE"], kinds]))
        """
    with RangeServer(hosted) as server:
        source = data_folder(installed) / "dataferry.toml"
        registry = tmp_path / "dataferry.toml"
        registry.write_text(source.read_text().replace("https://portal.example.org/mypkg-data/", server.url))
        names = ["maps/dust_064.fits", "maps/dust_016.fits"]
        told = run([installed / "python", "-c", script, registry, *names], tmp_path, os.environ)
        assert json.loads(told.splitlines()[-1]) == [[3, 49152], "MJy / sr", 64, ["cache", "package"]]
        assert [request.name for request in server.requests] == ["maps/dust_064.fits"]


def data_folder(installed: Path) -> Path:
    [folder] = installed.parent.glob("lib/python*/site-packages/mypkg/data")
    return folder


def test_registry_describes_what_the_author_makes(installed: Path, hosted: Path, tmp_path: Path) -> None:
    registry = tmp_path / "dataferry.toml"
    shutil.copy(data_folder(installed) / "dataferry.toml", registry)
    before = registry.read_bytes()
    told = run([installed / "dataferry", "add", registry, hosted], tmp_path, os.environ)
    assert re.findall(r"= unchanged .* (\S+)$", told, re.MULTILINE) == ["bands.ecsv", "maps/dust_016.fits", *HOSTED]
    assert registry.read_bytes() == before


@pytest.mark.nightly
def test_missing_package_data_is_noticed(
    repository: Path, build: Callable[..., None], installed: Path, tmp_path: Path, real_environ: dict[str, str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(repository / "examples" / "mypkg", source, ignore=CLEAN)
    config = source / "pyproject.toml"
    config.write_text(re.sub(r"\[tool\.setuptools\.package-data\]\n.*\n", "", config.read_text()))
    build(source, tmp_path, "--wheel")
    [wheel] = tmp_path.glob("*.whl")
    assert data_in(wheel) == {}
    target = tmp_path / "target"
    run(install(sys.executable, "--no-deps", "--no-index", "--target", target, wheel), tmp_path, real_environ)
    command = [installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", target / "mypkg"]
    with pytest.raises(AssertionError, match=r"(?s)mypkg' declares no data.*8 (failed|errors)"):
        run(command, tmp_path, os.environ)


@pytest.mark.nightly
def test_dependencies_of_the_index(built: Built, need: Any, tmp_path: Path, real_environ: dict[str, str]) -> None:
    run([sys.executable, "-m", "venv", tmp_path / "env"], tmp_path, real_environ)
    python = tmp_path / "env" / "bin" / "python"
    try:
        run(install(python, f"{built.wheel}[test]", built.dataferry), tmp_path, real_environ)
    except AssertionError as error:
        need.that("index", not re.search("No matching distribution|ConnectionError", str(error)), "it is out of reach")
        raise
    assert "8 passed" in run([python, "-m", "pytest", "-q", "--pyargs", "mypkg"], tmp_path, os.environ)
