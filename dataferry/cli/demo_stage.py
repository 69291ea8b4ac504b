"""The stage of `dataferry demo`: real files, two web servers on loopback, a package, and a home of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingExtra

if TYPE_CHECKING:
    from ..testing import RangeServer

__all__ = [
    "BUNDLED",
    "CACHED",
    "IN_FOLDER",
    "NEW",
    "PACKAGE",
    "SKY_MAP",
    "SPARE",
    "TAMPERED",
    "Stage",
    "own_home",
    "set_stage",
]

PACKAGE = "mypkg"
BUNDLED = "weights/n64.fits"
IN_FOLDER = "images/m13.fits"
CACHED = "weights/n2048.fits"
SKY_MAP = "maps/cmb_n256.fits"
SPARE = "weights/n8192.fits"
TAMPERED = "weights/n4096.fits"
NEW = "weights/n512.fits"

#: Name -> installed package and path in it. All are real files that others wrote.
_REAL = {
    BUNDLED: ("healpy", "data/weight_ring_n00064.fits"),
    CACHED: ("healpy", "data/weight_ring_n02048.fits"),
    SPARE: ("healpy", "data/weight_ring_n08192.fits"),
    TAMPERED: ("healpy", "data/weight_ring_n04096.fits"),
    IN_FOLDER: ("astropy", "io/fits/hdu/compressed/tests/data/m13.fits"),
}
#: In place of a file of astropy's tests, where a distribution leaves these out.
_INSTEAD = ("healpy", "data/weight_ring_n01024.fits")
#: What would let the user's machine into the demo.
_LEAKS = ("ASTROPY_", "DATAFERRY_", "XDG_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


@dataclass
class Stage:
    """What the demo plays with.

    Parameters
    ----------
    root : Path
        The temporary folder that holds everything.
    registry : Path
        The package's ``dataferry.toml``.
    folder : Path
        A predefined folder that holds one of the files.
    primary, mirror : RangeServer
        Two servers with all files.
    served : Path
        The folder that both publish.
    new : Path
        A file that is not published yet.
    """

    root: Path
    registry: Path
    folder: Path
    primary: RangeServer
    mirror: RangeServer
    served: Path
    new: Path


@contextmanager
def set_stage() -> Iterator[Stage]:
    """Build everything in a temporary folder, and remove it at the end.

    Yields
    ------
    Stage
        The stage; while it stands, ``mypkg`` is an installed package.

    Raises
    ------
    MissingExtra
        If a library of the extra ``demo`` is not installed.
    """
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
                yield Stage(root, registry, folder, primary, mirror, served, _new(root))
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
    _make_map(served / SKY_MAP)


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

    registry = site / PACKAGE / "data" / "dataferry.toml"
    for name, place in ((BUNDLED, registry.parent), (IN_FOLDER, folder)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(served / name, place / name)
    (site / PACKAGE / "__init__.py").write_text("")
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
def own_home(stage: Stage) -> Iterator[None]:
    """Let neither the user's caches nor settings nor proxies play a part.

    Parameters
    ----------
    stage : Stage
        The stage, which has a home of its own.
    """
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
