"""``dataferry demo``: real files, two web servers on this machine, a package, and a home of its own."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from ..errors import CacheError, FileUnavailable, MissingExtra
from . import options
from .output import echo, size_text, style

if TYPE_CHECKING:
    from ..lookup.report import Where
    from ..package_data import PackageData
    from ..testing import RangeServer


_T = TypeVar("_T")

#: Tables of weights that healpy brings.
_BUNDLED, _NEW, _IN_FOLDER, _CACHED, _TAMPERED, _MIRRORED = (
    f"weights/n{n:05}.fits" for n in (64, 512, 1024, 2048, 4096, 8192)
)
_SKY_MAP = "maps/cmb_n256.fits"
_REGISTERED = (_BUNDLED, _IN_FOLDER, _CACHED, _TAMPERED, _MIRRORED, _SKY_MAP)
#: The user's settings, caches and proxies have no part in the demo.
_LEAKS = ("ASTROPY_", "DATAFERRY_", "XDG_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_PICTURE = "dataferry-demo.png"
_WIDTH = 80
_BEGIN = """
The author of mypkg wrote mypkg/data/dataferry.toml, with `dataferry add`:
    dataurl = {primary:<34}  # the primary host
    mirrors = {mirror:<34}  # has the same files
    folders = {{ any = ".../project/mypkg-data" }}  # many may share it
    [files."{sky_map}"]                  # size and sha256 of each file
A user of mypkg writes:
    data = dataferry.PackageData("mypkg")
    path = data.get("{sky_map}")         # verified, on this machine

Where files come from, nearest place first, and how long `get` took:"""
_END = """\
  1. One call: the nearest place answers; what is here needs no network.
  2. A file has the size and sha256 that its author registered, or is refused.
  3. Where a host fails, the next one answers.
  4. The cache is astropy's own: what one of them downloads, the other finds.
  5. An error names every place that was tried, its reason, and what helps.
  6. Published files are downloaded again before they are registered.
Try next (mypkg was there for the demo only):
  dataferry doctor           what dataferry finds on this machine
  dataferry add --help       register the files of your own package
  dataferry publish --help   upload them to a host, and prove it
  dataferry where --help     see every step for one file"""


@click.command("demo", cls=options.Command)
def command() -> None:
    """See how dataferry works, without internet.

    The demo uses real files and two web servers on this machine. It gets a file from each kind of place, and rejects a
    wrong one.

    It writes one picture, dataferry-demo.png, into the current directory. It needs healpy and matplotlib:
    pip install 'dataferry[demo]'.
    """
    from .. import maps
    from ..package_data import PackageData

    began = time.perf_counter()
    if not os.access(".", os.W_OK):
        raise CacheError(f"the current directory cannot be written, and the demo leaves {_PICTURE} in it")
    with _stage() as stage:
        _headline("dataferry demo: real FITS files, two web servers on this machine, no internet")
        echo(_BEGIN.format(primary=f'"{stage.primary.url}"', mirror=f'["{stage.mirror.url}"]', sky_map=_SKY_MAP))
        data = PackageData("mypkg", show_progress=False)
        _get(1, "package", data, _BUNDLED)
        _get(2, "shared folder", data, _IN_FOLDER)
        _fill_cache(stage)
        _get(3, "cache, filled by plain astropy", data, _CACHED)
        sky_map = _get(4, "primary host", data, _SKY_MAP, stage)
        _timed("     a second get finds it in the cache, verified", lambda: data.get(_SKY_MAP))
        stage.primary.stop()
        _get(5, "mirror, the primary being down", data, _MIRRORED, stage)
        stage.primary.start()
        _refuse(data, stage)
        _publish(stage)
        maps.show(sky_map, _PICTURE)
    _headline(f"  8  drawn: {_SKY_MAP}, in {Path(_PICTURE).resolve()}")
    echo("     (a random sky of healpy.synfast; the other files are healpy's own)")
    _headline(f"\nThat was, in {time.perf_counter() - began:.0f} s:")
    echo(_END)


def _headline(text: str) -> None:
    echo(style(text, bold=True))


def _timed(title: str, do: Callable[[], _T], *, bold: bool = False) -> _T:
    """Do something, and print the title with the time that it took."""
    began = time.perf_counter()
    result = do()
    milliseconds = (time.perf_counter() - began) * 1e3
    took = f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds * 1e3:.0f} us"
    echo(style(title, bold=bold or None) + took.rjust(_WIDTH - len(title)))
    return result


def _get(number: int, kind: str, data: PackageData, name: str, stage: _Stage | None = None) -> str:
    where = data.where(name)
    title = f"  {number}  {kind}: {name}, {size_text(data.registry[name].size)}"
    if stage is not None:
        stage.primary.forget()
    path = _timed(title, lambda: data.get(name), bold=True)
    echo(f"     where: {_in_one_line(where)}")
    if stage is not None:  # what the servers' own logs say
        primary, mirror = (sum(r.sent for r in server.requests) for server in (stage.primary, stage.mirror))
        first = f"primary: sent {size_text(primary)}, verified" if primary else "primary: no connection"
        echo(f"     then:  {first}" + (f" > mirror: sent {size_text(mirror)}, verified" if mirror else ""))
    return path


def _in_one_line(where: Where) -> str:
    """The steps up to the place that has the file, or up to the hosts; neighbours with the same note together."""
    steps = where.steps
    found = next((number for number, step in enumerate(steps) if step.found), len(steps) - 1)
    parts = []
    for note, group in groupby(steps[: found + 1], key=lambda step: step.note):
        roles = [{"dataurl": "primary", "mirror": "mirror"}.get(step.origin, step.kind) for step in group]
        parts.append(f"{', '.join(roles)}: {note}")
    return " > ".join(parts)


def _fill_cache(stage: _Stage) -> None:
    from unittest.mock import patch

    from ..plain import get_data_filename

    with patch.object(logging.getLogger("dataferry"), "disabled", new=True):  # it would say which place answered
        get_data_filename(_CACHED, package="mypkg", dataurl=stage.primary.url, show_progress=False)


def _refuse(data: PackageData, stage: _Stage) -> None:
    from ..testing import FlippedByte

    for server in (stage.primary, stage.mirror):
        server.fault(_TAMPERED, FlippedByte(5000))
    _headline(f"  6  refused: {_TAMPERED}, both servers having one wrong byte in it")
    try:
        data.get(_TAMPERED)
    except FileUnavailable as error:
        for line in str(error).replace(str(stage.root), "...").splitlines():
            indent = " " * (7 + len(line) - len(line.lstrip()))
            echo(style(click.wrap_text(line.strip(), _WIDTH, indent[2:], indent + "    "), fg="red"))
    else:
        raise click.ClickException("a file with a wrong byte was not refused; please report this")


def _publish(stage: _Stage) -> None:
    """An author takes a file to a host, and a user gets it."""
    from ..package_data import PackageData
    from ..publish import publish

    stage.primary.heal()
    file = _copy(_NEW, stage.root)
    host = f"folder:{stage.root / 'server'}?url={stage.primary.url}"
    title = f"  7  published: {_NEW}, {size_text(file.stat().st_size)}"
    registry = stage.root / "site/mypkg/data/dataferry.toml"
    _timed(title, lambda: publish({_NEW: file}, host, registry, progress=False), bold=True)
    echo("     copied to the primary > fetched back anonymously, verified > registered")
    _timed("     a user's get", lambda: PackageData("mypkg", show_progress=False).get(_NEW))


# -- the stage ---------------------------------------------------------------------------------------------------------


class _Stage(NamedTuple):
    """The temporary folder of the demo, and two servers with all files."""

    root: Path
    primary: RangeServer
    mirror: RangeServer


@contextmanager
def _stage() -> Iterator[_Stage]:
    """Build everything in a temporary folder and remove it at the end; meanwhile ``mypkg`` is an installed package."""
    from unittest.mock import patch

    from ..testing import RangeServer

    for library in ("healpy", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra("demo", library)
    with tempfile.TemporaryDirectory(prefix="dataferry-demo-") as top:
        root = Path(os.path.realpath(top))
        for name in _REGISTERED[:-1]:
            _copy(name, root / "server")
        _make_map(root / "server" / _SKY_MAP)
        (root / "home").mkdir()
        environment = {key: value for key, value in os.environ.items() if not key.upper().startswith(_LEAKS)}
        with (
            RangeServer(root / "server") as primary,
            RangeServer(root / "server") as mirror,
            patch.dict(os.environ, {**environment, "HOME": str(root / "home")}, clear=True),
            patch.object(sys, "path", [str(root / "site"), *sys.path]),
        ):
            stage = _Stage(root, primary, mirror)
            _make_package(stage)
            importlib.invalidate_caches()
            yield stage


def _copy(name: str, folder: Path) -> Path:
    """One of healpy's files, below a folder."""
    import healpy

    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(Path(healpy.__file__).parent / f"data/weight_ring_{Path(name).name}", folder / name))


def _make_map(path: Path) -> None:
    """No installed package ships a map of the sky, so one is made: a random sky with a spectrum like the CMB's."""
    import healpy
    import numpy as np

    multipole = np.arange(2, 513)
    peaks = 1 + 0.8 * np.cos((multipole - 220) / 300 * 2 * np.pi) * (multipole > 60)
    spectrum = np.concatenate([[0, 0], 2 * np.pi * 1000 * peaks / (multipole * (multipole + 1))])
    np.random.seed(2026)  # noqa: NPY002  (healpy takes no generator)
    sky = healpy.synfast(spectrum, 256)
    path.parent.mkdir(parents=True, exist_ok=True)
    healpy.write_map(str(path), sky, coord="G", column_names=["TEMPERATURE"], column_units="uK_CMB", dtype=np.float32)


def _make_package(stage: _Stage) -> None:
    """What an author does: one file into the package, one into the project folder, all into the registry."""
    from ..files import hash_file

    data, folder = stage.root / "site/mypkg/data", stage.root / "project/mypkg-data"
    _copy(_BUNDLED, data)
    _copy(_IN_FOLDER, folder)
    (data.parent / "__init__.py").touch()
    lines = [f'dataurl = "{stage.primary.url}"', f'mirrors = ["{stage.mirror.url}"]', f'folders = {{any = "{folder}"}}']
    for name in _REGISTERED:
        stamp = hash_file(stage.root / "server" / name)
        lines.append(f'[files."{name}"]\nsize = {stamp.size}\nsha256 = "{stamp.sha256}"')
    (data / "dataferry.toml").write_text("\n".join([*lines, ""]))
