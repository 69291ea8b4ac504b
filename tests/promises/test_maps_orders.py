"""Every way from one ordering and resolution to another gives what healpy gives, and takes little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dataferry import maps


def sky_of(nside: int, fields: int = 3, dtype: str = "f4") -> np.ndarray:
    rng = np.random.default_rng(nside)
    sky = rng.standard_normal((fields, 12 * nside**2)).astype(dtype)
    sky[0, rng.integers(0, sky.shape[1], 100)] = maps.UNSEEN
    sky[-1, rng.integers(0, sky.shape[1], 5)] = np.nan
    sky[-1, 3] = np.inf
    return sky


def first_of_ring(nside: int, ring: int) -> int:
    hp = pytest.importorskip("healpy")
    return int(hp.ringinfo(nside, np.array([ring]))[0][0])


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    got = got.astype(wanted.dtype)  # what is stored in double precision was single
    np.testing.assert_array_equal(got, wanted)
    zero = wanted == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(wanted[zero]))


@pytest.fixture(scope="module", params=[64, 256])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder with one sky in both orderings and in rows of several kinds, and that sky in RING."""
    hp = pytest.importorskip("healpy")
    folder = tmp_path_factory.mktemp("both")
    sky = sky_of(request.param)
    nested = np.stack([hp.reorder(line, r2n=True) for line in sky])
    for order, values in (("RING", sky), ("NESTED", nested)):
        maps.write_map(folder / f"{order}.fits", values, order=order)
        maps.write_map(folder / f"{order}-one.fits", values[0], order=order)
        for name, per_row in (("narrow", 1), ("short", 128), ("long", 4096)):
            rows = values.reshape(3, -1, per_row)
            columns = [
                fits.Column(f"C{k}", f"{per_row}{'E' if k else 'D'}", array=rows[k]) for k in range(3)
            ]  # the first in double precision
            table = fits.BinTableHDU.from_columns(columns)
            table.header.update({"NSIDE": request.param, "ORDERING": order})
            table.writeto(folder / f"{order}-{name}.fits")
    return folder, sky


@pytest.mark.parametrize("kind", ["", "-narrow", "-short", "-long"])
@pytest.mark.parametrize("stored", ["RING", "NESTED"])
def test_whole_skies(both: tuple[Path, np.ndarray], stored: str, kind: str) -> None:
    hp = pytest.importorskip("healpy")
    folder, sky = both
    nested = np.stack([hp.reorder(line, r2n=True) for line in sky])
    for order, wanted in (("RING", sky), ("NESTED", nested)):
        for field in (None, 1, (2, 0), [1, 2]):
            got = maps.read_map(folder / f"{stored}{kind}.fits", field, order=order)
            same(got.value, wanted if field is None else wanted[field if isinstance(field, int) else list(field)])
        if not kind:
            same(maps.read_map(folder / f"{stored}-one.fits", order=order).value, wanted[0])


@pytest.mark.parametrize("kind", ["", "-one", "-narrow", "-short", "-long"])
@pytest.mark.parametrize("stored", ["RING", "NESTED"])
def test_runs_and_lists_of_pixels(both: tuple[Path, np.ndarray], stored: str, kind: str) -> None:
    hp = pytest.importorskip("healpy")
    folder, sky = both
    npix = sky.shape[1]
    nside = hp.npix2nside(npix)
    nested = np.stack([hp.reorder(line, r2n=True) for line in sky])
    rng = np.random.default_rng(1)
    runs = [(0, npix - 1), (1, npix), (0, 1), (npix - 1, npix), (5, 5), (npix // 3, npix // 3 + npix // 64)]
    # runs that begin and end with a ring, within one, and in the caps
    runs += [(first_of_ring(nside, ring), first_of_ring(nside, ring + 99)) for ring in (1, nside - 50, 3 * nside - 50)]
    runs += [(first_of_ring(nside, nside) + 1, first_of_ring(nside, nside + 98) - 1)]
    runs += [tuple(sorted(rng.integers(0, npix, 2))) for _ in range(5)]
    field = 0 if kind == "-one" else None
    for order, wanted in (("RING", sky), ("NESTED", nested)):
        if field == 0:
            wanted = wanted[0]  # noqa: PLW2901
        for start, stop in runs:
            got = maps.read_map(folder / f"{stored}{kind}.fits", field, order=order, pixels=slice(start, stop))
            same(got.value, wanted[..., start:stop])
        pixels = rng.integers(0, npix, 9000)
        got = maps.read_map(folder / f"{stored}{kind}.fits", field, order=order, pixels=pixels)
        same(got.value, wanted[..., pixels])


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (5, -7), (-1, 1)])
def test_long_runs_of_rings_that_need_not_be_whole(
    tmp_path_factory: pytest.TempPathFactory, shift: tuple[int, int]
) -> None:
    """From a million pixels on no second copy is taken, and the rings at both ends are read apart."""
    hp = pytest.importorskip("healpy")
    nside = 512
    path = tmp_path_factory.getbasetemp() / "long.fits"
    sky = np.arange(12 * nside**2, dtype="i4")
    if not path.exists():
        maps.write_map(path, hp.reorder(sky, r2n=True).astype("i4"), order="NESTED")
    start, stop = first_of_ring(nside, 300) + shift[0], first_of_ring(nside, 1000) + shift[1]
    assert stop - start > 1 << 20
    same(maps.read_map(path, pixels=slice(start, stop)).value, sky[start:stop])


@pytest.mark.parametrize("per_row", [384, 1024])
def test_runs_of_nested_pixels_that_cross_squares_faces_and_rows(tmp_path: Path, per_row: int) -> None:
    hp = pytest.importorskip("healpy")
    nside = 1024
    npix = 12 * nside**2
    rows = np.empty(npix // per_row, [(name, ">i4", per_row) for name in "AB"])
    for add, name in enumerate("AB"):
        rows[name] = np.arange(add, npix + add, dtype="i4").reshape(-1, per_row)
    table = fits.BinTableHDU(rows)
    del rows
    table.header.update({"NSIDE": nside, "ORDERING": "RING"})
    table.writeto(tmp_path / "map.fits")
    del table
    face, square = nside**2, 512**2
    runs = [(4 * face, 4 * face + 3 * square), (5 * face - 5000, 5 * face + 5000), (4 * square - 1, 6 * square + 1)]
    rng = np.random.default_rng(per_row)
    runs += [(first, min(npix, first + int(rng.integers(4096, 900_000)))) for first in rng.integers(0, npix, 12)]
    for start, stop in runs:
        wanted = hp.nest2ring(nside, np.arange(start, stop))
        got = maps.read_map(tmp_path / "map.fits", None, order="NESTED", pixels=slice(start, stop))
        same(got.value, np.stack([wanted, wanted + 1]))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("order", ["RING", "NESTED"])
@pytest.mark.parametrize("stored", ["RING", "NESTED"])
def test_lower_resolutions(both: tuple[Path, np.ndarray], stored: str, order: str) -> None:
    hp = pytest.importorskip("healpy")
    folder, sky = both
    nside = hp.npix2nside(sky.shape[1])
    for down in (2, 8, nside):
        wanted = [
            hp.ud_grade(hp.reorder(line, r2n=True), nside // down, order_in="NESTED", order_out=order) for line in sky
        ]
        got = maps.read_map(folder / f"{stored}.fits", None, nside=nside // down, order=order)
        same(got.value, np.stack(wanted).astype("f4"))


def test_means_of_negative_zeros(tmp_path: Path) -> None:
    hp = pytest.importorskip("healpy")
    path = maps.write_map(tmp_path / "zero.fits", np.full(12 * 64**2, -0.0, "f4"), order="NESTED")
    for down in (2, 4):
        got = maps.read_map(path, nside=64 // down, order="NESTED").value
        same(got, hp.ud_grade(np.full(12 * 64**2, -0.0, "f4"), 64 // down, order_in="NESTED").astype("f4"))


PEAK = """
import sys
from dataferry import maps
from astropy.units import Quantity
def high():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
maps.read_map(sys.argv[1], pixels=slice(0, 70000), order="NESTED" if "RING" in sys.argv[1] else "RING")
before = high()
sky = maps.read_map(sys.argv[1], nside=int(sys.argv[2]), order=sys.argv[3])
print((high() - before) * 1024 / (4 * 12 * 1024**2))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the peak")
def test_no_second_map_in_memory(tmp_path: Path) -> None:
    nside = 1024
    sky = np.arange(12 * nside**2, dtype="f4")
    for stored in ("RING", "NESTED"):
        path = maps.write_map(tmp_path / f"{stored}.fits", sky, order=stored)
        for wanted, order, most in ((nside, "RING", 1.4), (nside, "NESTED", 1.2), (128, "RING", 0.4)):
            done = subprocess.run(
                [sys.executable, "-c", PEAK, str(path), str(wanted), order], capture_output=True, text=True, check=True
            )
            assert float(done.stdout) < most, (stored, wanted, order)


@pytest.mark.parametrize("stored", ["RING", "NESTED"])
@pytest.mark.parametrize("kind", ["image", "hdf5"])
def test_fields_one_after_the_other(need, tmp_path, kind, stored):
    """An image or a dataset of (fields, npix): the fields do not lie side by side as in a table."""
    nside = 128
    sky = np.random.default_rng(0).standard_normal((3, 12 * nside**2)).astype("f4")
    table = maps.write_map(tmp_path / "table.fits", sky, order=stored)
    if kind == "image":
        path = tmp_path / "a.fits"
        cards = fits.Header({"PIXTYPE": "HEALPIX", "ORDERING": stored, "NSIDE": nside})
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky, cards)]).writeto(path)
    else:
        path = tmp_path / "a.h5"
        with need.module("h5py").File(path, "w") as made:
            made["sky"] = sky
            made["sky"].attrs.update(ordering=stored, nside=nside)
    for order in ("RING", "NESTED"):
        for asked in ({}, {"pixels": slice(70_000, 140_000)}, {"pixels": [5, 190_000, 7]}, {"nside": 16}):
            expected = maps.read_map(table, None, order=order, **asked).value
            np.testing.assert_array_equal(maps.read_map(path, None, order=order, **asked).value, expected)
