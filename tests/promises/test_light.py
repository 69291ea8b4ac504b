"""What is loaded: nothing heavy for an import, nor for a hit in a folder, in the package or in a verified entry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dataferry
from dataferry import PackageData
from dataferry.testing import RangeServer

HEAVY = {
    "astropy",
    "numpy",
    "urllib3",
    "requests",
    "ssl",
    "http.client",
    "click",
    "tqdm",
    "filelock",
    "tomlkit",
    "asyncio",
    "boto3",
    "botocore",
    "fsspec",
    "paramiko",
}
#: Parts of Python that a first hit has no use for: each costs 0.5 to 5 ms.
SLOW_TO_LOAD = {"pathlib", "inspect", "dataclasses", "logging", "urllib.parse", "importlib.metadata"}
SLOW_TO_LOAD |= {"unicodedata", "hashlib"}
NAME, BYTES = "maps/a.fits", b"some bytes\n" * 100


def loaded(code):
    """The heavy modules that a fresh interpreter has after some code, which may print before."""
    code += f"\nimport sys; print('LOADED', *sorted({HEAVY | SLOW_TO_LOAD!r} & set(sys.modules)))"
    folders = [*sys.path, os.path.dirname(os.path.dirname(dataferry.__file__))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    # without site, since the finders of editable installs load pathlib
    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    output, _, modules = done.stdout.partition("LOADED")
    return output.strip(), modules.split()


def test_the_import():
    assert loaded("import dataferry; assert dataferry.__all__") == ("", [])


def test_no_module_hides_a_public_name():
    code = """
import importlib, pkgutil, types
import dataferry, dataferry.maps, dataferry.publish
for module in pkgutil.walk_packages(dataferry.__path__, "dataferry."):
    if "__main__" not in module.name:
        importlib.import_module(module.name)
for package in (dataferry, dataferry.maps, dataferry.publish):
    print(*[name for name in package.__all__ if isinstance(getattr(package, name), types.ModuleType)])
"""
    assert loaded(code)[0] == ""


@pytest.mark.parametrize("place", ["folder", "package", "cache"])
def test_a_hit(place, make_package, tmp_path):
    with RangeServer({NAME: BYTES}) as server:
        head = f'dataurl = "{server.url}"\n[folders]\nany = "{tmp_path}/folder"\nnersc = "/x"'
        package = make_package(
            {NAME: BYTES} if place != "package" else {}, {NAME: BYTES} if place == "package" else {}, head
        )
        if place == "folder":
            (tmp_path / "folder/maps").mkdir(parents=True)
            (tmp_path / "folder" / NAME).write_bytes(BYTES)
        for file in tmp_path.rglob("a.fits"):
            os.utime(file, (1e9, 1e9))  # one of the last two seconds gets no stamp
        path = PackageData(package, show_progress=False).get(NAME)
    code = f"from dataferry import PackageData\nprint(PackageData({package!r}).get({NAME!r}))"
    found, heavy = loaded(code)
    assert os.path.samefile(found, path)
    assert heavy == []


def test_a_hit_of_the_plain_wrapper(tmp_path):
    (tmp_path / "a.fits").write_bytes(BYTES)
    call = f"get_data_filename('a.fits', package='json', dataurl='https://x.org/', folders={str(tmp_path)!r})"
    found, heavy = loaded(f"from dataferry import get_data_filename\nprint({call})")
    assert found == str(tmp_path / "a.fits")
    assert heavy == []


DOWNLOAD = """
from dataferry import DataferryError, PackageData
try:
    print(PackageData({package!r}, show_progress=False).get({name!r}))
except DataferryError as error:
    print(type(error).__name__, error)
"""


def test_a_download(make_package, home):
    with RangeServer({NAME: BYTES}) as server:
        package = make_package({NAME: BYTES}, head=f'dataurl = "{server.url}"')
        found, heavy = loaded(DOWNLOAD.format(package=package, name=NAME))
    assert Path(found).read_bytes() == BYTES
    assert not {"astropy", "numpy"} & set(heavy)


@pytest.mark.parametrize("variable", ["ASTROPY_CONFIG_DIR", "XDG_CONFIG_HOME", "HOME"])
def test_a_download_with_a_configured_astropy(make_package, tmp_path, monkeypatch, variable):
    """The settings of astropy hold where it has not been imported."""
    below = {"ASTROPY_CONFIG_DIR": "", "XDG_CONFIG_HOME": "astropy", "HOME": ".astropy/config"}[variable]
    folder = tmp_path / "configured" / below
    folder.mkdir(parents=True)
    (folder / "astropy.cfg").write_text("[utils.data]\nallow_internet = False\n", encoding="utf-8")
    for name in ("ASTROPY_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "configured"))
    with RangeServer({NAME: BYTES}) as server:
        package = make_package({NAME: BYTES}, head=f'dataurl = "{server.url}"')
        found, _ = loaded(DOWNLOAD.format(package=package, name=NAME))
        assert not server.requests
    assert found.startswith("Offline") and "allow_internet is False" in found
