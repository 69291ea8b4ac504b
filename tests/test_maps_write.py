"""Maps written and read again, by healpy and by astropy as well."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

UNSEEN = -1.6375e30


@pytest.mark.parametrize("order", ["RING", "NESTED"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "i8", "u1"])
@pytest.mark.parametrize("nside", [1, 8, 64])
def test_round_trip_with_healpy(tmp_path, nside, dtype, order):
    hp = pytest.importorskip("healpy")
    values = (np.random.default_rng(0).standard_normal((3, 12 * nside**2)) * 50).astype(dtype)
    path = maps.write_map(tmp_path / "a.fits", values, order=order, unit="uK_CMB")
    theirs = hp.read_map(path, (0, 1, 2), nest=order == "NESTED")
    np.testing.assert_array_equal(theirs, values)
    got = maps.read_map(path, None, order=order)
    np.testing.assert_array_equal(got.value, values)
    assert got.unit.is_equivalent(maps.K_CMB)
    back = tmp_path / "b.fits"
    hp.write_map(back, values, nest=order == "NESTED", dtype=values.dtype.type, column_units="mK")
    np.testing.assert_array_equal(maps.read_map(back, None, order=order).value, values)


def test_checksums_are_the_standards(tmp_path):
    values = np.random.default_rng(0).standard_normal(12 * 32**2)
    for number in range(20):  # the coding of the sum has cases that are rare
        path = maps.write_map(tmp_path / f"{number}.fits", values + number, header={"RUN": (number, "which")})
        with fits.open(path, checksum=True) as opened:  # warns, and so fails, where a sum is wrong
            opened.verify("exception")
            assert opened[1].verify_datasum() == opened[1].verify_checksum() == 1
            assert opened[0].verify_checksum() == 1
            assert opened[1].header["RUN"] == number


def test_partial_map(tmp_path):
    hp = pytest.importorskip("healpy")
    pixels = np.array([5, 700, 3])
    path = maps.write_map(tmp_path / "a.fits", [1.0, 2.0, 3.0] * u.mK, pixels=pixels, nside=8, order="NESTED")
    got, values = maps.read_partial(path, order="file")
    np.testing.assert_array_equal(got, pixels)
    assert values.unit == u.mK
    np.testing.assert_array_equal(maps.read_map(path).value, hp.read_map(path))


def test_a_quantity_is_converted_and_unseen_stays(tmp_path):
    values = np.arange(12, dtype="f4") * u.K
    values.value[3] = UNSEEN
    path = maps.write_map(tmp_path / "a.fits", values, unit="mK", names="DUST")
    got = maps.read_map(path, "dust")
    assert got.unit == u.mK
    assert got.value[2] == 2000
    assert got.value[3] == np.float32(UNSEEN)


def test_nothing_is_left_when_it_fails(tmp_path):
    path = maps.write_map(tmp_path / "a.fits", np.zeros(12))
    with pytest.raises(MapError, match="overwrite=True"):
        maps.write_map(path, np.ones(12))
    before = path.read_bytes()
    with pytest.raises(MapError, match="header"):
        maps.write_map(path, np.ones(12), overwrite=True, header={"KEY": "a\nb"})
    assert path.read_bytes() == before
    maps.write_map(path, np.ones(12), overwrite=True)
    assert maps.read_map(path).value.sum() == 12
    assert os.listdir(tmp_path) == ["a.fits"]
    with pytest.raises(MapError, match="cannot be written"):
        maps.write_map(tmp_path / "no" / "a.fits", np.ones(12))


def test_the_mode_is_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        path = maps.write_map(tmp_path / "a.fits", np.zeros(12))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.zeros(13), {}),
        (np.zeros((2, 2, 12)), {}),
        (np.zeros(12, complex), {}),
        (np.zeros(12), {"nside": 2}),
        (np.zeros(12), {"order": "north"}),
        (np.zeros(12), {"names": ["A", "B"]}),
        (np.zeros(12), {"unit": "furlongs of dust"}),
        (np.zeros(12) * u.K, {"unit": "MJy/sr"}),
        (np.zeros(108), {"order": "NESTED"}),
        (np.zeros(3), {"pixels": [1, 2, 3]}),
        (np.zeros(3), {"pixels": [1, 2, 12], "nside": 1}),
        (np.zeros(3), {"pixels": [1, 2], "nside": 1}),
    ],
)
def test_what_is_no_map(tmp_path, values, options):
    with pytest.raises(MapError):
        maps.write_map(tmp_path / "a.fits", values, **options)
    assert not list(tmp_path.iterdir())
