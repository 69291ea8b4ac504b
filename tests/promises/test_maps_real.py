"""Maps that others made, from the packages in which they are: nothing of them is in this repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

WHEELS = {"reproject": "reproject==0.14.1", "astroquery": "astroquery==0.4.10"}


@pytest.fixture(scope="session")
def real_file(
    request: pytest.FixtureRequest, need: Any, tmp_path_factory: pytest.TempPathFactory, real_environ: dict[str, str]
) -> Callable[[str, str], Path]:
    """A file inside a package: installed, or from its wheel at the package index."""
    cache = getattr(request.config, "cache", None)  # pytest may run without it
    home = tmp_path_factory.mktemp("wheels") if cache is None else cache.mkdir("maps-real")

    def real_file(package: str, name: str) -> Path:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0]) / name
            if path.exists():
                return path
        folder = Path(home) / package
        if not folder.is_dir():
            private = Path(f"{folder}.new")
            shutil.rmtree(private, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", private, WHEELS[package]]
            done = subprocess.run(command, env=real_environ, capture_output=True, text=True, check=False)
            need.that("index", done.returncode == 0, f"the package index does not give {package}: {done.stderr}")
            [wheel] = private.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(private, [n for n in archive.namelist() if ".fits" in n])
            wheel.unlink()
            private.rename(folder)
        return folder / package / name

    return real_file


def test_the_gravitational_wave_map(real_file):
    hp = pytest.importorskip("healpy")
    path = real_file("reproject", "healpix/tests/data/bayestar.fits.gz")
    with fits.open(path) as opened:
        names = opened[1].columns.names
        assert opened[1].header["ORDERING"] == "NESTED"
    for field, name in enumerate(names):
        for nest, order in ((False, "RING"), (True, "NESTED"), (None, "file")):
            theirs = hp.read_map(path, field, nest=nest)
            ours = maps.read_map(path, name, order=order)
            assert ours.dtype == theirs.dtype.newbyteorder("=")
            np.testing.assert_array_equal(ours.value, theirs)
    prob = maps.read_map(path)
    assert prob.unit == u.pix**-1
    assert prob.value.sum() == pytest.approx(1.0)
    theirs = hp.read_map(path, 0)
    for nside in (1, 32):
        np.testing.assert_array_equal(maps.read_map(path, nside=nside).value, hp.ud_grade(theirs, nside))
    # copies of a run of pixels: of the whole sky healpy alone would take 400 MB
    run = np.arange(5_000_000, 6_000_000)
    parents = hp.nest2ring(512, hp.ring2nest(1024, run) // 4)
    np.testing.assert_array_equal(maps.read_map(path, nside=1024, pixels=run).value, theirs[parents])
    np.testing.assert_array_equal(maps.read_map(path, pixels=[7, 99, 500_000]).value, theirs[[7, 99, 500_000]])
    assert "NESTED" in maps.info(path)
    ours, values = maps.read_partial(path)
    assert values.size == ours.size == prob.size


def test_a_moc_is_no_map(real_file):
    with pytest.raises(MapError, match="NUNIQ"):
        maps.read_map(real_file("astroquery", "mocserver/tests/data/moc.fits"))


def test_ring_weights_are_no_maps(real_file):
    pytest.importorskip("healpy")
    import healpy

    found = sorted((Path(healpy.__file__).parent / "data").glob("weight_ring_n*.fits"))
    assert found
    for path in found:
        nside = int(path.stem[-5:])
        with pytest.raises(MapError, match=f"holds {2 * nside} values, but NSIDE={nside} needs"):
            maps.read_map(path)
        assert maps.header(path)["CREATOR"] == "QUAD_RING"
        assert "'TEMPERATURE WEIGHTS'" in maps.info(path)


@pytest.mark.parametrize(
    "name",
    [
        "io/fits/hdu/compressed/tests/data/m13_gzip.fits",
        "io/fits/hdu/compressed/tests/data/m13_rice.fits",
        "io/fits/tests/data/checksum.fits",
        "io/fits/tests/data/comp.fits",
        "io/fits/tests/data/tb.fits",
        "io/fits/tests/data/scale.fits",
    ],
)
def test_files_that_are_no_maps(real_file, name):
    path = real_file("astropy", name)
    with pytest.raises(MapError) as caught:
        maps.read_map(path)
    assert str(path) in str(caught.value)
    assert "HDU 0" in maps.info(path)


def test_headers_are_those_of_astropy(real_file):
    data = Path(str(real_file("astropy", "io/fits/tests/data/tb.fits"))).parent
    compared = 0
    for path in sorted(data.glob("*.fits")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with fits.open(path, disable_image_compression=True) as opened:
                    theirs = [repr(hdu.header) for hdu in opened]
                    kinds = [bool(hdu.header.get("ZIMAGE")) for hdu in opened]
            except OSError:
                continue
            for index, (header, compressed) in enumerate(zip(theirs, kinds, strict=True)):
                if compressed:
                    continue
                try:
                    ours = maps.header(path, index)
                except MapError:
                    continue  # made wrong on purpose
                assert repr(ours).strip() == header.strip(), (path, index)
                compared += 1
    assert compared > 30


@pytest.mark.nightly
def test_every_file_that_installed_packages_bring():
    """No exception but `MapError`; headers and images as astropy has them, maps as healpy has them."""
    pytest.importorskip("healpy")
    program = Path(__file__).parents[2] / "benchmarks" / "maps_real_files.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " files" in done.stdout
