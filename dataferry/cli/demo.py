"""``dataferry demo``: real files, two web servers on this machine, a package, and a home of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CacheError, FileUnavailable, MissingExtra
from . import options
from .output import echo, size_text, style

if TYPE_CHECKING:
    from ..lookup.report import Step, Where
    from ..package_data import PackageData
    from ..testing import RangeServer

__all__ = ["command"]

_PACKAGE = "mypkg"
_BUNDLED = "weights/n64.fits"
_IN_FOLDER = "images/m13.fits"
_CACHED = "weights/n2048.fits"
_SKY_MAP = "maps/cmb_n256.fits"
_SPARE = "weights/n8192.fits"
_TAMPERED = "weights/n4096.fits"
_NEW = "weights/n512.fits"

#: Name -> installed package and path in it. All are real files that others wrote.
_REAL = {
    _BUNDLED: ("healpy", "data/weight_ring_n00064.fits"),
    _CACHED: ("healpy", "data/weight_ring_n02048.fits"),
    _SPARE: ("healpy", "data/weight_ring_n08192.fits"),
    _TAMPERED: ("healpy", "data/weight_ring_n04096.fits"),
    _IN_FOLDER: ("astropy", "io/fits/hdu/compressed/tests/data/m13.fits"),
}
#: In place of a file of astropy's tests, where a distribution leaves these out.
_INSTEAD = ("healpy", "data/weight_ring_n01024.fits")
#: What would let the user's machine into the demo.
_LEAKS = ("ASTROPY_", "DATAFERRY_", "XDG_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


_PICTURE = "dataferry-demo.png"
_WIDTH = 80
_AFTER = """\
  1. One call: the nearest place answers; what is here needs no network.
  2. A file has the size and sha256 that its author registered, or is refused.
  3. Where a host fails, the next one answers.
  4. The cache is astropy's own: what one of them downloads, the other finds.
  5. An error names every place that was tried, its reason, and what helps.
  6. Published files are fetched back before they are registered."""
_NEXT = (
    ("dataferry doctor", "what dataferry finds on this machine"),
    ("dataferry add --help", "register the files of your own package"),
    ("dataferry publish --help", "upload them to a host, and prove it"),
    ("dataferry where --help", "see every step for one file"),
)


@click.command("demo", cls=options.Command)
def command() -> None:
    """See how dataferry works, without internet.

    The demo uses real files and two web servers on this machine. It gets a file from each kind of place, and rejects a
    wrong one.

    It writes one picture, dataferry-demo.png, into the current directory. It needs healpy and matplotlib:
    pip install 'dataferry[demo]'.
    """
    from ..package_data import PackageData

    began = time.perf_counter()
    if not os.access(".", os.W_OK):
        raise CacheError(f"the current directory cannot be written, and the demo leaves {_PICTURE} in it")
    with _set_stage() as stage:
        with _own_home(stage):
            _open(stage)
            data = PackageData(_PACKAGE, show_progress=False)
            _get(1, "package", data, _BUNDLED)
            _get(2, "shared folder", data, _IN_FOLDER)
            _from_the_cache(data, stage)
            sky_map = _from_the_primary(data, stage)
            _from_the_mirror(data, stage)
            _tampered(data, stage)
            _publish(stage)
        _draw(sky_map)
    _close(time.perf_counter() - began)


def _open(stage: _Stage) -> None:
    _headline("dataferry demo: real FITS files, two web servers on this machine, no internet")
    echo("\nThe author of mypkg wrote mypkg/data/dataferry.toml, with `dataferry add`:")
    _code(f'dataurl = "{stage.primary.url}"', "the primary host")
    _code(f'mirrors = ["{stage.mirror.url}"]', "has the same files")
    _code('folders = { any = ".../project/mypkg-data" }', "many may share it")
    _code(f'[files."{_SKY_MAP}"]', "size and sha256 of each file")
    echo("A user of mypkg writes:")
    _code('data = dataferry.PackageData("mypkg")')
    _code(f'path = data.get("{_SKY_MAP}")', "verified, on this machine")
    echo("\nWhere files come from, nearest place first, and how long `get` took:")


def _get(number: int, place: str, data: PackageData, name: str) -> str:
    entry, where = data.registry.find(name), data.where(name)
    started = time.perf_counter()
    path = data.get(name)
    took = _time(time.perf_counter() - started)
    title = f"  {number}  {place}: {name}, {size_text(entry.size if entry else None)}"
    echo(style(title, bold=True) + took.rjust(_WIDTH - len(title)))
    echo(f"     where: {_compact(where)}")
    return path


def _compact(where: Where) -> str:
    """What `where` says in one line: up to the place that has the file, or up to the hosts."""
    steps = where.steps
    found = next((i for i, step in enumerate(steps) if step.found), len(steps) - 1)
    words = []
    for note, group in groupby(steps[: found + 1], key=lambda step: step.note):
        same = list(group)
        color = {"fg": "green", "bold": True} if same[-1].found else {}
        words.append(style(f"{', '.join(map(_role, same))}: {note}", **color))  # type: ignore[arg-type]
    return " > ".join(words)


def _role(step: Step) -> str:
    return {"dataurl": "primary", "mirror": "mirror"}.get(step.origin, step.kind)


def _from_the_cache(data: PackageData, stage: _Stage) -> None:
    import logging

    from ..plain import get_data_filename

    logger = logging.getLogger("dataferry")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it would say which place answered
    get_data_filename(_CACHED, package=_PACKAGE, dataurl=stage.primary.url, show_progress=False)
    logger.setLevel(level)
    _get(3, "cache, filled by plain astropy", data, _CACHED)


def _from_the_primary(data: PackageData, stage: _Stage) -> str:
    stage.primary.forget()
    path = _get(4, "primary host", data, _SKY_MAP)
    _say_who_gave(stage)
    started = time.perf_counter()
    data.get(_SKY_MAP)
    echo(
        "     a second get finds it in the cache, verified".ljust(_WIDTH - 8)
        + _time(time.perf_counter() - started).rjust(8)
    )
    return path


def _from_the_mirror(data: PackageData, stage: _Stage) -> None:
    stage.primary.forget()
    stage.primary.stop()
    _get(5, "mirror, the primary being down", data, _SPARE)
    _say_who_gave(stage)
    stage.primary.start()


def _say_who_gave(stage: _Stage) -> None:
    """What the servers' own logs say."""
    words = []
    for role, server in (("primary", stage.primary), ("mirror", stage.mirror)):
        sent = sum(request.sent for request in server.requests)
        if sent:
            words.append(style(f"{role}: gave {size_text(sent)}, verified", fg="green", bold=True))
        elif role == "primary":
            words.append("primary: no connection")
    echo(f"     then:  {' > '.join(words)}")


def _tampered(data: PackageData, stage: _Stage) -> None:
    from ..testing import FlippedByte

    for server in (stage.primary, stage.mirror):
        server.fault(_TAMPERED, FlippedByte(5000))
    _headline(f"  6  refused: {_TAMPERED}, both servers having one wrong byte in it")
    try:
        data.get(_TAMPERED)
    except FileUnavailable as error:
        text = str(error)
        for folder, short in ((stage.root / "home", "~"), (stage.registry.parents[2], "..."), (stage.root, "...")):
            text = text.replace(str(folder), short)
        for line in text.splitlines():
            indent = " " * (7 + len(line) - len(line.lstrip()))
            echo(style(click.wrap_text(line.strip(), _WIDTH, indent[2:], indent + "    "), fg="red"))
    else:
        raise click.ClickException("a file with a wrong byte was not refused; please report this")


def _publish(stage: _Stage) -> None:
    """An author takes a file to a host, and a user has it."""
    from ..package_data import PackageData
    from ..publish import publish

    stage.primary.heal()
    stage.primary.forget()
    started = time.perf_counter()
    outcome = publish(
        {_NEW: stage.new}, f"folder:{stage.served}?url={stage.primary.url}", stage.registry, progress=False
    )
    took = _time(time.perf_counter() - started)
    if not all(file.proven for file in outcome.files):
        raise click.ClickException("a published file did not come back; please report this")
    title = f"  7  published: {_NEW}, {size_text(stage.new.stat().st_size)}"
    echo(style(title, bold=True) + took.rjust(_WIDTH - len(title)))
    steps = "copied to the primary > fetched back anonymously, verified > registered"
    echo(f"     {steps}")
    data = PackageData(_PACKAGE, show_progress=False)
    started = time.perf_counter()
    data.get(_NEW)
    echo("     a user's get".ljust(_WIDTH - 8) + _time(time.perf_counter() - started).rjust(8))


def _draw(sky_map: str) -> None:
    from .. import maps

    maps.show(sky_map, _PICTURE)
    _headline(f"  8  drawn: {_SKY_MAP}, in {Path(_PICTURE).resolve()}")
    echo("     (a random sky of healpy.synfast; the others are astropy's and healpy's)")


def _close(seconds: float) -> None:
    _headline(f"\nThat was, in {seconds:.0f} s:")
    echo(_AFTER)
    _headline("Try next (mypkg was there for the demo only):")
    for line, remark in _NEXT:
        echo(f"  {style(f'{line:<34}', fg='cyan')} {remark}")


def _headline(text: str) -> None:
    echo(style(text, bold=True))


def _code(text: str, remark: str = "") -> None:
    echo("    " + style(f"{text:<45}" if remark else text, fg="cyan") + (f" # {remark}" if remark else ""))


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


# -- the stage ---------------------------------------------------------------------------------------------------------


@dataclass
class _Stage:
    """The temporary folder of the demo, its package, two servers with all files, and a file that is not published."""

    root: Path
    registry: Path
    primary: RangeServer
    mirror: RangeServer
    served: Path
    new: Path


@contextmanager
def _set_stage() -> Iterator[_Stage]:
    """Build everything in a temporary folder and remove it at the end; meanwhile ``mypkg`` is an installed package."""
    from ..testing import RangeServer

    for library in ("healpy", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra("demo", library)
    with tempfile.TemporaryDirectory(prefix="dataferry-demo-") as top:
        root = Path(os.path.realpath(top))
        served, folder = root / "server", root / "project" / "mypkg-data"
        _collect(served)
        with RangeServer(served) as primary, RangeServer(served) as mirror:
            registry = _make_package(root / "site", served, folder, primary, mirror)
            sys.path.insert(0, str(root / "site"))
            importlib.invalidate_caches()
            try:
                yield _Stage(root, registry, primary, mirror, served, _new(root))
            finally:
                sys.path.remove(str(root / "site"))


def _find(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return next((file for place in places or () if (file := Path(place, path)).is_file()), None)


def _collect(served: Path) -> None:
    for name, (package, path) in _REAL.items():
        file = _find(package, path) or _find(*_INSTEAD)
        if file is None:
            raise MissingExtra("demo", package)
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, served / name)
    _make_map(served / _SKY_MAP)


def _new(root: Path) -> Path:
    file = _find("healpy", "data/weight_ring_n00512.fits")
    if file is None:
        raise MissingExtra("demo", "healpy")
    return Path(shutil.copyfile(file, root / "n512.fits"))


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


def _make_package(site: Path, served: Path, folder: Path, primary: RangeServer, mirror: RangeServer) -> Path:
    """What an author does: one file into the package, one into the project folder, all into the registry."""
    from ..files import hash_file
    from ..registry.editor import RegistryEditor
    from ..registry.registry import Entry

    registry = site / _PACKAGE / "data" / "dataferry.toml"
    for name, place in ((_BUNDLED, registry.parent), (_IN_FOLDER, folder)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(served / name, place / name)
    (site / _PACKAGE / "__init__.py").write_text("")
    registry.write_text(
        f'dataurl = "{primary.url}"\nmirrors = ["{mirror.url}"]\n\n[folders]\nany = ["{folder}"]\n', encoding="utf-8"
    )
    editor = RegistryEditor(registry)
    names = [path.relative_to(served).as_posix() for path in served.rglob("*.fits")]
    stamps = {name: hash_file(served / name) for name in names}
    editor.put(Entry(name, stamp.sha256, stamp.size) for name, stamp in stamps.items())
    editor.save()
    return registry


@contextmanager
def _own_home(stage: _Stage) -> Iterator[None]:
    """Let neither the user's caches nor settings nor proxies play a part."""
    home = stage.root / "home"
    home.mkdir()
    before = dict(os.environ)
    for variable in before:
        if variable.startswith(_LEAKS) or variable.lower() in _PROXIES:
            del os.environ[variable]
    os.environ["HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
