"""Files that other projects wrote, taken from their packages: registered, served, fetched, opened.

The wheels come from the package index once and stay in pytest's cache. Nothing of them is in this repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.data import download_file
from astropy.utils.exceptions import AstropyUserWarning
from filelock import FileLock

from dataferry import PackageData
from dataferry.testing import RangeServer

#: Installed with the tests; all their FITS files.
INSTALLED = "astropy", "healpy"
#: One wheel each, for whatever Python and machine: only the data in it are used.
WHEELS = {
    "astroquery": "0.4.11",
    "ccdproc": "2.5.1",
    "radio_beam": "0.3.10",
    "reproject": "0.21.0",
    "specutils": "2.4.0",
    "stingray": "2.3.2",
    "sunpy": "7.0.5",
    "synphot": "1.8.0",
}
PYTHON = [
    "--only-binary=:all:",
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--platform",
    "manylinux2014_x86_64",
]
ENDINGS = ".fits", ".fits.gz"


@pytest.fixture(scope="session")
def unpacked(
    request: pytest.FixtureRequest, need: Any, tmp_path_factory: pytest.TempPathFactory, real_environ: dict[str, str]
) -> Callable[[str], Path]:
    """The FITS files of a wheel, below the folder that is returned."""
    cache = getattr(request.config, "cache", None)
    home = tmp_path_factory.mktemp("real-files") if cache is None else cache.mkdir("real-files")

    def unpacked(package: str) -> Path:
        folder = home / f"{package}-{WHEELS[package]}"
        with FileLock(f"{folder}.lock"):
            if folder.is_dir():
                return Path(folder)
            need.module("pip")
            private = Path(f"{folder}.new")
            shutil.rmtree(private, ignore_errors=True)
            wanted = f"{package}=={WHEELS[package]}"
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *PYTHON, "-d", private, wanted]
            done = subprocess.run(command, env=real_environ, capture_output=True, text=True)
            need.that("index", done.returncode == 0, f"the package index does not give {wanted}")
            [wheel] = private.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(private, [name for name in archive.namelist() if name.endswith(ENDINGS)])
            wheel.unlink()
            private.rename(folder)
        return Path(folder)

    return unpacked


@pytest.fixture(scope="session")
def folder_of(need: Any, unpacked: Callable[[str], Path]) -> Callable[[str], Path]:
    """Where the FITS files of a package lie."""

    def folder_of(package: str) -> Path:
        if package in WHEELS:
            return unpacked(package) / package
        need.module(package)
        spec = find_spec(package)
        return Path(*((spec and spec.submodule_search_locations) or ()))

    return folder_of


class Shelf:
    """Real files in one folder, ``<package>/<path in the package>``, and the registry that lists them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "files"
        self.registry = folder / "real" / "data" / "dataferry.toml"

    def put(self, package: Path) -> None:
        found = sorted(path for path in package.rglob("*") if path.name.endswith(ENDINGS))
        assert found
        for path in found:
            name = path.relative_to(package.parent).as_posix()
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self.folder / name)  # a link that leads out of the folder is refused

    def data(self, url: str) -> PackageData:
        """The data of a package whose author registered these files and published them at a URL."""
        self.registry.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "dataferry", "add", self.registry, self.folder, "--dataurl", url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return PackageData("real", registry=self.registry, show_progress=False)


@pytest.fixture(scope="module", params=["installed", pytest.param("from the index", marks=pytest.mark.nightly)])
def shelf(
    request: pytest.FixtureRequest, folder_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Shelf:
    """All the files; those that need no index come first and are always there."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    for package in INSTALLED if request.param == "installed" else WHEELS:
        shelf.put(folder_of(package))
    return shelf


@pytest.fixture(params=["nginx", "RangeServer"])
def url(request: pytest.FixtureRequest, shelf: Shelf) -> Iterator[str]:
    """Where a web server has the shelf."""
    if request.param == "nginx":
        server = request.getfixturevalue("nginx")(shelf.folder)
        yield server.url
        server.stop()
    else:
        with RangeServer(shelf.folder) as other:
            yield other.url


def read_all(path: str | Path) -> list[tuple[str, Any]]:
    """Name and shape of every HDU, all data read; what astropy thinks of old headers is not the subject here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            return [(hdu.name, None if hdu.data is None else hdu.data.shape) for hdu in hdus]


def test_every_file_arrives_and_opens(shelf: Shelf, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shelf.data(url)
    paths = data.fetch()
    assert len(paths) == sum(1 for path in shelf.folder.rglob("*") if path.is_file())
    for name, path in zip(data.names(), paths, strict=True):
        assert path.endswith(f"/{name}")
        assert Path(path).read_bytes() == (shelf.folder / name).read_bytes()
        assert os.path.samefile(download_file(url + name, cache=True, sources=[]), path)
        try:
            expected = read_all(shelf.folder / name)
        except OSError as error:  # some are there to be refused
            with pytest.raises(type(error)):
                read_all(path)
        else:
            assert read_all(path) == expected
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    again = PackageData("real", registry=shelf.registry, show_progress=False)
    assert again.fetch() == paths
    assert all(step.found for _, step in again.verify())


@pytest.fixture
def bring(folder_of: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Fetch files of one package, by names and globs, from a server."""
    with ExitStack() as servers:

        def bring(*names: str) -> list[str]:
            shelf = Shelf(tmp_path)
            shelf.put(folder_of(names[0].partition("/")[0]))
            return shelf.data(servers.enter_context(RangeServer(shelf.folder)).url).fetch(names)

        yield bring


def test_a_file_that_only_looks_like_fits(bring: Callable[..., list[str]], folder_of: Callable[[str], Path]) -> None:
    [path] = bring("sunpy/data/test/not_actually_fits.fits")
    original = folder_of("sunpy") / "data" / "test" / "not_actually_fits.fits"
    assert Path(path).read_bytes() == original.read_bytes()
    with pytest.raises(OSError, match="No SIMPLE card found"):
        fits.open(path)


def test_a_wrong_checksum_in_the_header_is_still_noticed(bring: Callable[..., list[str]]) -> None:
    [path] = bring("astropy/io/fits/tests/data/checksum_false.fits")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fits.open(path, checksum=True).close()
    assert {warning.category for warning in caught} == {AstropyUserWarning}
    assert any("Checksum verification failed" in str(warning.message) for warning in caught)


def test_a_compressed_sky_map(bring: Callable[..., list[str]], need: Any) -> None:
    healpy = need.module("healpy")
    [path] = bring("reproject/healpix/tests/data/bayestar.fits.gz")
    assert path.endswith("bayestar.fits.gz")
    probability, header = healpy.read_map(path, nest=None, h=True)
    assert dict(header)["ORDERING"] == "NESTED"
    assert healpy.get_nside(probability) == 512
    assert np.isclose(probability.sum(), 1, atol=1e-3)


def test_ring_weights(bring: Callable[..., list[str]], need: Any) -> None:
    healpy = need.module("healpy")
    folder = Path(bring("healpy/data/weight_ring_n*.fits")[0]).parent
    assert len(list(folder.iterdir())) == 13
    sky = np.arange(3072.0)
    own = healpy.map2alm(sky, use_weights=True)
    assert np.array_equal(healpy.map2alm(sky, use_weights=True, datapath=str(folder)), own)


def test_events_of_a_satellite(bring: Callable[..., list[str]]) -> None:
    [path] = bring("stingray/tests/data/xmm_test.fits")
    with fits.open(path, memmap=True) as hdus:
        assert len(hdus["EVENTSXY"].data) == 1_708_244


def test_headers_that_lie(bring: Callable[..., list[str]]) -> None:
    folder = "astroquery/{}/tests/data/{}.fits"
    spectrum, moc = bring(folder.format("alfalfa", "alfalfa_sp"), folder.format("mocserver", "moc"))
    assert fits.getheader(spectrum, 1)["TUNIT1"] == "KM/S"
    assert fits.getheader(moc, 1)["ORDERING"] == "NUNIQ"
