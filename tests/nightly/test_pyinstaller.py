"""An application that PyInstaller froze, without any option for dataferry: bundled files, hosts, downloads.

``python -m pytest tests/nightly/test_pyinstaller.py -m nightly``; it takes a minute or two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import RangeServer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

APP = """
import dataferry
from dataferry.hosts import host_names, make_host
from frozenpkg.inner import DATA

print(DATA.get("bundled.txt"))
print(DATA.contents("remote.txt"))
print(all(make_host(f"{scheme}:1234567") for scheme in host_names() if scheme in {"zenodo", "figshare"}))
print(dataferry.__version__)
"""
LEFT_OUT = ["IPython", "PIL", "boto3", "matplotlib", "pandas", "pytest", "scipy", "sphinx", "tkinter"]


def test_one_folder(need: Any, repository: Path, tmp_path: Path) -> None:
    need.module("PyInstaller")
    data = tmp_path / "src/frozenpkg/inner/data"
    data.mkdir(parents=True)
    (data.parents[1] / "__init__.py").touch()
    (data.parent / "__init__.py").write_text(
        "from dataferry import PackageData\nDATA = PackageData('frozenpkg.inner', show_progress=False)\n"
    )
    (data / "bundled.txt").write_bytes(b"small")
    (tmp_path / "app.py").write_text(APP)
    with RangeServer({"remote.txt": b"data"}) as server:
        (data / "dataferry.toml").write_text(
            f'dataurl = "{server.url}"\n'
            '[files."bundled.txt"]\nsha256 = "81db8ebbbbc69c6c6ad4a6aa92b76e0c08af547da236b9e2c9dbe1d8285a8130"\n'
            '[files."remote.txt"]\nsha256 = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"\n'
        )
        build = [sys.executable, "-m", "PyInstaller", "--noconfirm", "app.py"]
        # PyInstaller does not see through the import hook of an editable installation
        build += ["--paths", "src", "--paths", str(repository)]
        build += [word for module in LEFT_OUT for word in ("--exclude-module", module)]
        done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-5000:]
        shutil.rmtree(tmp_path / "src")
        env = {"HOME": os.environ["HOME"], "PATH": os.defpath}
        done = subprocess.run([tmp_path / "dist/app/app"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bundled, remote, hosts, version = done.stdout.splitlines()
    assert bundled.startswith(str(tmp_path / "dist/app")) and Path(bundled).read_bytes() == b"small"
    assert (remote, hosts) == ("b'data'", "True") and version[0].isdigit()
