"""``docs/migrate.rst`` works as it stands: the old code with the released packages, the new code with dataferry."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.testing import RangeServer

PORTAL = "https://portal.example.org/"
ARCHIVE = "https://archive.example.org/"
BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n((?:    :\w+:.*\n)*)\n((?:    .*\n|\n)+)", re.MULTILINE)
SECTION = re.compile(r"^(\S.*)\n-{3,}\n", re.MULTILINE)
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrate.rst").read_text(encoding="utf-8")
_, *_parts = SECTION.split(PAGE)
SECTIONS = {title.replace("``", ""): body for title, body in zip(_parts[::2], _parts[1::2], strict=True)}
REPORT = """
import json as _json
_found = {name: globals()[name] for name in ("path", "result") if name in globals()}
print("\\n" + _json.dumps(_found, default=lambda value: value.hex() if isinstance(value, bytes) else str(value)))
"""


def packed(table: bytes) -> dict[str, bytes]:
    """The archive and the compressed file of the page, the same bytes everywhere."""
    archive, compressed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("tables/bands.ecsv"), table)
    with gzip.GzipFile("", "wb", 0, compressed, mtime=0) as stream:
        stream.write(table)
    return {"bands.zip": archive.getvalue(), "bands.ecsv.gz": compressed.getvalue()}


@pytest.fixture
def urls(repository: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The two servers of the page."""
    runpy.run_path(str(repository / "examples" / "mypkg" / "tools" / "make_data.py"))["main"](tmp_path / "portal")
    table = (tmp_path / "portal" / "bands.ecsv").read_bytes()
    dust = (tmp_path / "portal" / "maps" / "dust_064.fits").read_bytes()
    first = {"bands.ecsv": table, "maps/dust_064.fits": dust, **packed(table)}
    weights = "healpy/full_weights/healpix_full_weights_nside_0064.fits"
    second = {"v1/bands.ecsv": table, "v1/bands.ecsv.gz": packed(table)["bands.ecsv.gz"], weights: dust}
    with (
        RangeServer({f"mypkg-data/{name}": content for name, content in first.items()}) as portal,
        RangeServer(second) as archive,
    ):
        yield {PORTAL: portal.url, ARCHIVE: archive.url}


def run(code: str, package: Path, side: str) -> dict[str, Any]:
    """Run a block as a program with a cache of its side, and report what it has in ``path`` and ``result``."""
    folder = package / side
    (folder / "cache" / "astropy").mkdir(parents=True, exist_ok=True)
    (folder / "shared").mkdir(exist_ok=True)
    (folder / "shared" / "bands.ecsv").write_bytes(b"a table in a shared folder")
    places = [str(package), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "XDG_CACHE_HOME": str(folder / "cache")}
    program = [sys.executable, "-c", f"{code}\n{REPORT}"]
    done = subprocess.run(program, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found, f"no path and no result in\n{code}"
    if "path" in found:
        found["path"] = content(folder / found["path"])
    return found


def content(path: Path) -> object:
    """The bytes of a file; of an exported cache those of its members, which carry times of their own."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


@pytest.mark.parametrize("title", SECTIONS)
def test_section(
    title: str,
    urls: dict[str, str],
    tmp_path: Path,
    command: Callable[..., Result],
    need: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "section"
    (package / "mypkg" / "data").mkdir(parents=True)
    (package / "mypkg" / "__init__.py").touch()
    monkeypatch.chdir(package)
    before: dict[str, Any] | None = None
    for language, options, body in BLOCK.findall(SECTIONS[title]):
        code = textwrap.dedent(body).strip("\n") + "\n"
        for url, local in urls.items():
            code = code.replace(url, local)
        if language == "console":
            for line in re.findall(r"^\$ (dataferry .*)$", code, re.MULTILINE):
                done = command(*shlex.split(line)[1:])
                assert done.exit_code == 0, done.output
            continue
        [caption] = re.findall(r":caption: (\S+)", options)
        if "/" in caption:
            Path(caption).write_text(code, encoding="utf-8")
        elif caption == "dataferry":
            after = run(code, package, "after")
            if before is None:
                assert title == "sunpy"
            else:
                assert after == before
            before = None
        else:
            assert before is None
            before = run_old(caption, code, package, need)
    assert before is None


def run_old(tool: str, code: str, package: Path, need: Any) -> dict[str, Any] | None:
    if tool == "sunpy" and importlib.util.find_spec(tool) is None:
        return None  # large, and compared where somebody has it
    if tool != "RemoteData":
        need.module(tool)
    return run(code, package, "before")


def test_the_folder_of_pooch_saves_the_download(
    urls: dict[str, str], tmp_path: Path, need: Any, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pooch = need.module("pooch")
    table = (tmp_path / "portal" / "bands.ecsv").read_bytes()
    pooch.retrieve(f"{urls[ARCHIVE]}v1/bands.ecsv", None, fname="bands.ecsv", path=tmp_path / "pooch" / "v1")
    name = make_package({"bands.ecsv": table}, head='env = "MYPKG_DATA"\n')
    monkeypatch.setenv("MYPKG_DATA", str(tmp_path / "pooch" / "v1"))
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    assert PackageData(name).get("bands.ecsv") == str(tmp_path / "pooch" / "v1" / "bands.ecsv")
