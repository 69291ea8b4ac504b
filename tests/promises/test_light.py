"""What is loaded: nothing heavy for an import, nor for a hit in a folder, in the package or in a verified entry."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
NAME, BYTES = "maps/a.fits", b"some bytes\n" * 100


def loaded(code):
    """The heavy modules that a fresh interpreter has after some code, which may print before."""
    code += f"\nimport sys; print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
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
        path = PackageData(package, show_progress=False).get(NAME)
    code = f"from dataferry import PackageData\nprint(PackageData({package!r}).get({NAME!r}))"
    found, heavy = loaded(code)
    assert os.path.samefile(found, path)
    assert heavy == []
