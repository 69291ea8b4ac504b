"""The fill value: in the place of nulls, of UNSEEN and of pixels that are not there, in every type."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

UNSEEN = -1.6375e30
NSIDE = 16
NPIX = 12 * NSIDE**2


def save(path, hdu, **cards):
    hdu.header["PIXTYPE"], hdu.header["ORDERING"], hdu.header["NSIDE"] = "HEALPIX", "RING", NSIDE
    hdu.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def table(path, code, values, unit=None, **cards):
    return save(path, fits.BinTableHDU.from_columns([fits.Column("T", code, array=values, unit=unit)]), **cards)


def with_nulls(path, make, order="NESTED"):
    """A map of 10 K in which every fourth pixel of a parent is null."""
    stored = np.where(np.arange(NPIX) % 4 == 0, -999, 10).astype("i4")
    if make == "image":
        return save(path, fits.ImageHDU(stored), BLANK=-999, BUNIT="K", ORDERING=order)
    columns = [fits.Column("T", "J", array=stored, unit="K", null=-999)]
    if make == "partial":
        columns.insert(0, fits.Column("PIXEL", "J", array=np.arange(NPIX)))
    cards = {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"} if make == "partial" else {}
    return save(path, fits.BinTableHDU.from_columns(columns), ORDERING=order, **cards)


@pytest.mark.parametrize("make", ["table", "image", "partial"])
@pytest.mark.parametrize("fill", [UNSEEN, 0, np.nan, -1])
@pytest.mark.parametrize("pixels", [None, slice(0, 200), [7, 3, 100]])
def test_the_fill_takes_the_place_of_nulls_when_all_else_is_done(tmp_path, make, fill, pixels):
    path = with_nulls(tmp_path / "a.fits", make)
    wanted = np.arange(NPIX)[slice(None) if pixels is None else pixels]
    asked = {"pixels": pixels, "fill": fill, "unit": "mK", "order": "NESTED"}
    expected = np.where(wanted % 4 == 0, fill, 10_000)
    np.testing.assert_array_equal(maps.read_map(path, **asked).value, expected)
    np.testing.assert_array_equal(maps.read_map(path, **asked, dtype="f4").value, expected.astype("f4"))
    assert (maps.read_map(path, **asked, nside=NSIDE // 2).value == 10_000).all()
    finer = maps.read_map(path, **asked, nside=2 * NSIDE).value
    wanted = np.arange(4 * NPIX)[slice(None) if pixels is None else pixels]
    np.testing.assert_array_equal(finer, np.where(wanted // 4 % 4 == 0, fill, 10_000))


def test_nulls_of_a_list_of_pixels_are_unseen(tmp_path):
    path = with_nulls(tmp_path / "a.fits", "partial")
    pixels, values = maps.read_partial(path, order="NESTED", unit="mK")
    np.testing.assert_array_equal(pixels, np.arange(NPIX))
    np.testing.assert_array_equal(values.value, np.where(pixels % 4 == 0, UNSEEN, 10_000))
    with pytest.raises(MapError, match="column 2 'T': has pixels without data, and int32"):
        maps.read_partial(path, dtype="i4")
    whole = with_nulls(tmp_path / "b.fits", "table")
    pixels, values = maps.read_partial(whole, order="NESTED", dtype="i4")
    np.testing.assert_array_equal(pixels, np.flatnonzero(np.arange(NPIX) % 4))
    assert values.dtype == np.dtype("i4")
    assert (values.value == 10).all()


@pytest.mark.parametrize("stored", ["f4", "f8"])
@pytest.mark.parametrize(("dtype", "fill"), [("i4", 0), ("i8", -1), ("u1", 255), ("f2", np.nan), ("f2", -1), ("?", 0)])
@pytest.mark.parametrize("order", ["RING", "NESTED"])
def test_the_fill_in_types_without_unseen(tmp_path, stored, dtype, fill, order):
    values = (np.arange(NPIX) % 50).astype(stored)
    bad = np.arange(NPIX) % 4 == 1
    values[bad] = UNSEEN
    path = table(tmp_path / "a.fits", {"f4": "E", "f8": "D"}[stored], values, "K")
    for stored_order in ("RING", "NESTED"):
        fits.setval(path, "ORDERING", value=stored_order, ext=1)
        floats = maps.read_map(path, order=order).value
        expected = np.where(floats == floats.dtype.type(UNSEEN), fill, floats).astype(dtype)
        got = maps.read_map(path, order=order, dtype=dtype, fill=fill).value
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(got, expected)
        out = np.empty(NPIX, dtype)
        maps.read_map(path, order=order, out=out, fill=fill)
        np.testing.assert_array_equal(out, expected)
        some = [1, 9, 700, 3]
        piece = maps.read_map(path, order=order, dtype=dtype, fill=fill, pixels=some).value
        np.testing.assert_array_equal(piece, expected[some])
        means = maps.read_map(path, order=order, nside=NSIDE // 2).value
        coarse = maps.read_map(path, order=order, nside=NSIDE // 2, dtype=dtype, fill=fill).value
        np.testing.assert_array_equal(coarse, np.where(means == means.dtype.type(UNSEEN), fill, means).astype(dtype))
    if dtype in ("i4", "u1", "f2"):
        with pytest.raises(MapError, match=r"column 1 'T': has pixels without data.*-1\.6375e\+30"):
            maps.read_map(path, dtype=dtype)
        assert maps.read_map(path, order="file", dtype=dtype, pixels=slice(2, 5)).value.tolist() == [2, 3, 4]


def test_a_fill_that_float32_cannot_hold(tmp_path):
    values = np.ones(NPIX, "f4")
    path = table(tmp_path / "a.fits", "E", values)
    np.testing.assert_array_equal(maps.read_map(path, fill=1e300).value, values)
    values[5] = UNSEEN
    path = table(tmp_path / "b.fits", "E", values)
    assert maps.read_map(path, fill=1e300, dtype="f8").value[5] == 1e300
    with pytest.raises(MapError, match="float32 cannot hold"):
        maps.read_map(path, fill=1e300)


def test_nan_and_the_pixels_that_are_not_there_in_integers(tmp_path):
    values = np.array([1, UNSEEN, np.nan, np.inf], "f4")
    path = maps.write_map(tmp_path / "a.fits", values, pixels=[0, 1, 2, 3], nside=NSIDE, order="NESTED")
    got = maps.read_map(path, order="NESTED", dtype="i4", fill=0).value
    assert got[:5].tolist() == [1, 0, 0, 0, 0]
    whole = maps.write_map(tmp_path / "b.fits", np.where(np.arange(12) % 2, UNSEEN, 4.0))
    pixels, listed = maps.read_partial(whole, dtype="i2")
    assert (pixels.tolist(), listed.value.tolist()) == ([0, 2, 4, 6, 8, 10], [4] * 6)


def test_integers_of_64_bits_stay_exact(tmp_path):
    stored = 2**60 + np.arange(NPIX)
    path = table(tmp_path / "a.fits", "K", stored)
    fits.setval(path, "TNULL1", value=2**60 + 5, ext=1)
    for nside, expected in ((NSIDE, np.where(np.arange(NPIX) == 5, -1, stored)), (NSIDE * 2, None)):
        got = maps.read_map(path, dtype="i8", fill=-1, nside=nside, order="file").value
        if expected is not None:
            np.testing.assert_array_equal(got, expected)
        assert set(got.tolist()) == {-1, *stored.tolist()} - {2**60 + 5}


def partial_map(path, pixels, values, **columns):
    """Rows of pixel number and value, as they are given."""
    first = fits.Column("PIXEL", "J", array=np.array(pixels, "i4"), null=columns.get("null"))
    return save(
        path,
        fits.BinTableHDU.from_columns([first, fits.Column("T", columns.get("code", "E"), array=values)]),
        INDXSCHM="EXPLICIT",
        OBJECT="PARTIAL",
        ORDERING=columns.get("order", "NESTED"),
    )


@pytest.mark.parametrize("null", [-1, 0, -999])
@pytest.mark.parametrize("order", ["NESTED", "RING"])
def test_rows_whose_pixel_number_is_null_are_left_out(tmp_path, null, order):
    values = np.array([3, 5, 99, 98, 7], "f4")
    path = partial_map(tmp_path / "a.fits", [3, 5, null, null, NPIX - 1], values, null=null, order=order)
    clean = partial_map(tmp_path / "b.fits", [3, 5, NPIX - 1], values[[0, 1, 4]], order=order)
    for asked in ("NESTED", "RING"):
        for nside in (NSIDE // 2, NSIDE, NSIDE * 2):
            got = maps.read_map(path, order=asked, nside=nside).value
            np.testing.assert_array_equal(got, maps.read_map(clean, order=asked, nside=nside).value)
        some = [0, NPIX - 1, 5, 3, 8]
        got = maps.read_map(path, order=asked, pixels=some).value
        np.testing.assert_array_equal(got, maps.read_map(clean, order=asked, pixels=some).value)
        listed, expected = (maps.read_partial(made, order=asked) for made in (path, clean))
        np.testing.assert_array_equal(listed[0], expected[0])
        np.testing.assert_array_equal(listed[1].value, expected[1].value)
    outside = partial_map(tmp_path / "c.fits", [3, -5, null, null, 7], values, null=null)
    with pytest.raises(MapError, match="pixel -5 is out of range"):
        maps.read_partial(outside)


def test_partial_maps_of_integers_in_another_resolution(tmp_path):
    path = partial_map(tmp_path / "a.fits", [0, 1, 4, 5, 6, 7], np.array([2, 4, 1, 1, 1, 2]), code="J")
    means = maps.read_map(path, order="NESTED", nside=NSIDE // 2, fill=-1).value
    assert means.dtype == np.dtype("f8")
    assert means[:3].tolist() == [3, 1.25, -1]
    for asked in ({"fill": -1, "dtype": "i4"}, {"fill": -1, "out": np.empty(NPIX // 4, "i4")}):
        coarse = maps.read_map(path, order="NESTED", nside=NSIDE // 2, **asked).value
        assert coarse.dtype == np.dtype("i4")
        assert coarse[:3].tolist() == [3, 1, -1]
    finer = maps.read_map(path, order="NESTED", nside=NSIDE * 2, dtype="i4", fill=-1).value
    assert finer[:12].tolist() == [2] * 4 + [4] * 4 + [-1] * 4
    some = maps.read_map(path, order="NESTED", nside=NSIDE // 2, dtype="i2", fill=-1, pixels=[2, 0]).value
    assert some.tolist() == [-1, 3]


@pytest.mark.parametrize("field", [0, None])
def test_a_partial_map_without_pixels(tmp_path, field):
    path = partial_map(tmp_path / "a.fits", [], np.array([], "f4"))
    pixels, values = maps.read_partial(path, field)
    assert pixels.shape == (0,)
    assert values.shape == ((0,) if field == 0 else (1, 0))
    assert (maps.read_map(path, fill=3).value == 3).all()
    assert maps.read_map(path, fill=3, pixels=[8, 1]).value.tolist() == [3, 3]


@pytest.mark.filterwarnings("error")
def test_unseen_does_not_overflow_in_a_small_unit(tmp_path):
    values = np.arange(NPIX, dtype="f4")
    values[::7] = UNSEEN
    path = table(tmp_path / "a.fits", "E", values, "K")
    got = maps.read_map(path, unit="nK").value
    bad = np.arange(NPIX) % 7 == 0
    assert (got[bad] == np.float32(UNSEEN)).all()
    np.testing.assert_array_equal(got[~bad], values[~bad] * np.float32(1e9))
