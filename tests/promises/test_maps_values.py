"""Scaling, nulls, the fill value in every type, units, images and tile-compressed maps, and the caller's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
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


def table(path, dtype_code, values, unit=None, **cards):
    return save(path, fits.BinTableHDU.from_columns([fits.Column("T", dtype_code, array=values, unit=unit)]), **cards)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("uK_CMB", 1e-6 * maps.K_CMB),
        ("K_CMB", maps.K_CMB),
        ("Kcmb", maps.K_CMB),
        ("KCMB", maps.K_CMB),
        ("mK_{CMB}", 1e-3 * maps.K_CMB),
        ("mK,thermodynamic", 1e-3 * maps.K_CMB),
        ("uK_RJ", 1e-6 * maps.K_RJ),
        ("K_CMB^2", maps.K_CMB**2),
        ("(uK_CMB)^2", 1e-12 * maps.K_CMB**2),
        ("MJy/sr", u.MJy / u.sr),
        ("pix-1", u.pix**-1),
        ("KM/S", u.km / u.s),
        ("ANGSTROMS", u.AA),
        ("counts", u.ct),
        ("muK", u.uK),
        ("K", u.K),
    ],
)
def test_units_as_headers_spell_them(tmp_path, text, unit):
    found = maps.read_map(table(tmp_path / "a.fits", "E", np.ones(NPIX, "f4"), TUNIT1=text)).unit
    assert found.is_equivalent(unit)
    assert found.to(unit) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("mK_CMB/uK_CMB", u.Unit(1000)),
        ("K_CMB/bin", maps.K_CMB / u.bin),
        ("uK_CMB/K_RJ", 1e-6 * maps.K_CMB / maps.K_RJ),
        ("K_CMB vox", maps.K_CMB * u.vox),
    ],
)
def test_special_kelvins_beside_others(tmp_path, text, unit):
    found = maps.read_map(table(tmp_path / "a.fits", "E", np.ones(NPIX, "f4"), TUNIT1=text)).unit
    assert found.is_equivalent(unit)
    assert found.to(unit) == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["K_CMB,K", "K, s", "mag(AB)"])
def test_what_is_no_single_unit(tmp_path, text):
    path = table(tmp_path / "a.fits", "E", np.ones(NPIX, "f4"), text)
    with pytest.raises(MapError, match="unit="):
        maps.read_map(path)
    with pytest.raises(MapError, match="unit="):
        maps.read_map(path, unit=u.mag(u.AB))
    assert maps.read_map(path, unit="K").unit == u.K


@pytest.mark.parametrize("fill", [0, np.nan, 7.0, UNSEEN])
def test_pixels_that_a_partial_map_has_not_do_not_count_in_means(tmp_path, fill):
    path = maps.write_map(tmp_path / "a.fits", [2.0, 4.0], pixels=[0, 1], nside=4, order="NESTED")
    for nside, first in ((2, [3.0]), (4, [2.0, 4.0]), (8, [2.0] * 4 + [4.0] * 4)):
        got = maps.read_map(path, nside=nside, order="NESTED", fill=fill).value
        np.testing.assert_array_equal(got, first + [fill] * (12 * nside**2 - len(first)))
        piece = maps.read_map(path, nside=nside, order="NESTED", fill=fill, pixels=[0, 40]).value
        np.testing.assert_array_equal(piece, [first[0], fill])


@pytest.mark.parametrize("text", ["", " ", "unknown", "UNKNOWN", "none", "1"])
def test_no_unit(tmp_path, text):
    path = table(tmp_path / "a.fits", "E", np.ones(NPIX, "f4"), text or None)
    assert maps.read_map(path).unit == u.dimensionless_unscaled
    assert maps.read_map(path, unit="uK_CMB").unit.is_equivalent(maps.K_CMB)
    assert maps.read_map(path, unit="uK_CMB").value[0] == 1


def test_a_thermodynamic_kelvin_is_no_kelvin(tmp_path):
    path = table(tmp_path / "a.fits", "E", np.ones(NPIX, "f4"), "K_CMB")
    assert not maps.read_map(path).unit.is_equivalent(u.K)
    with pytest.raises(MapError, match="K_CMB is not K"):
        maps.read_map(path, unit=u.uK)
    at = 100 * u.GHz
    radiance = maps.read_map(path)[0].to(u.MJy / u.sr, equivalencies=maps.cmb_equivalencies(at))
    expected = (1 * u.K).to(u.MJy / u.sr, equivalencies=u.thermodynamic_temperature(at))
    assert radiance.value == pytest.approx(expected.value)
    assert (1 * maps.K_CMB).to_value(maps.K_RJ, maps.cmb_equivalencies(at)) == pytest.approx(0.7771, abs=1e-3)


def test_conversion_keeps_unseen_and_the_type(tmp_path):
    values = np.arange(NPIX, dtype="f4")
    values[7] = UNSEEN
    path = table(tmp_path / "a.fits", "E", values, "mK")
    got = maps.read_map(path, unit="uK")
    assert got.unit == u.uK
    assert got.dtype == np.dtype("f4")
    assert got.value[7] == np.float32(UNSEEN)
    np.testing.assert_array_equal(np.delete(got.value, 7), np.delete(values, 7) * np.float32(1000))
    assert np.isnan(maps.read_map(path, unit="uK", fill=np.nan).value[7])
    assert maps.read_map(path, fill=0, nside=NSIDE // 2).value.min() >= 0


def test_nulls_become_unseen(tmp_path):
    stored = np.arange(NPIX, dtype="i4")
    path = table(tmp_path / "a.fits", "J", stored)
    fits.setval(path, "TNULL1", value=5, ext=1)
    got = maps.read_map(path).value
    assert got.dtype == np.dtype("f8")
    assert got[5] == UNSEEN
    assert got[6] == 6
    assert np.isnan(maps.read_map(path, fill=np.nan, dtype="f4").value[5])
    with pytest.raises(MapError, match=r"column 1 'T': has pixels without data, and int32 cannot hold .*fill="):
        maps.read_map(path, dtype="i4")
    np.testing.assert_array_equal(maps.read_map(path, dtype="i4", pixels=slice(6, 60)).value, stored[6:60])
    assert maps.read_map(path, dtype="i4", fill=-7).value[5] == -7
    fits.setval(path, "TSCAL1", value=0.5, ext=1)
    fits.setval(path, "TZERO1", value=10.0, ext=1)
    scaled = maps.read_map(path).value
    assert scaled[5] == UNSEEN
    assert scaled[6] == 13.0
    assert maps.read_map(path, nside=NSIDE // 2, order="NESTED").value.min() > 0


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "?"])
def test_types_that_fits_has_only_by_an_offset_or_by_letters(tmp_path, kind):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2, NPIX).astype(bool) if kind == "?" else rng.integers(0, 100, NPIX).astype(kind)
    if kind != "?":
        values[:2] = np.iinfo(kind).min, np.iinfo(kind).max
    path = tmp_path / "a.fits"
    from astropy.table import Table

    save(path, fits.table_to_hdu(Table({"T": values})))
    got = maps.read_map(path).value
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, values)


def test_signed_bytes(tmp_path):
    path = table(tmp_path / "a.fits", "B", np.arange(NPIX) % 256)
    fits.setval(path, "TZERO1", value=-128, ext=1)
    got = maps.read_map(path).value
    assert got.dtype == np.dtype("i1")
    np.testing.assert_array_equal(got, np.arange(NPIX) % 256 - 128)


def test_image_maps(tmp_path):
    values = np.random.default_rng(0).standard_normal((3, NPIX)).astype("f4")
    one = save(tmp_path / "one.fits", fits.ImageHDU(values[0]), BUNIT="MJy/sr")
    got = maps.read_map(one)
    np.testing.assert_array_equal(got.value, values[0])
    assert got.unit == u.MJy / u.sr
    three = save(tmp_path / "three.fits", fits.ImageHDU(values))
    np.testing.assert_array_equal(maps.read_map(three, None).value, values)
    np.testing.assert_array_equal(maps.read_map(three, 2, pixels=[9, 3]).value, values[2, [9, 3]])
    square = save(tmp_path / "square.fits", fits.ImageHDU(values[1].reshape(12, -1)))
    np.testing.assert_array_equal(maps.read_map(square).value, values[1])


def test_scaled_image_with_blanks(tmp_path):
    hdu = fits.ImageHDU(np.arange(NPIX, dtype="i4"))
    path = save(tmp_path / "a.fits", hdu, BLANK=4)
    got = maps.read_map(path).value
    assert got[4] == UNSEEN
    assert got[5] == 5


@pytest.mark.parametrize("codec", ["GZIP_1", "GZIP_2", "RICE_1", "HCOMPRESS_1"])
@pytest.mark.parametrize("kind", ["f4", "i4"])
def test_tile_compressed(tmp_path, codec, kind):
    values = (np.random.default_rng(0).standard_normal(NPIX) * 1000).astype(kind)
    values = values.reshape(48, -1) if codec == "HCOMPRESS_1" else values.reshape(1, -1)
    options = {"quantize_level": 0.0} if kind == "f4" and codec.startswith("GZIP") else {}
    path = save(tmp_path / "a.fits", fits.CompImageHDU(values, compression_type=codec, **options))
    with fits.open(path) as opened:
        theirs = opened[1].data.ravel().astype(kind)
    np.testing.assert_array_equal(maps.read_map(path).value, theirs)
    if options or (kind == "i4" and codec != "HCOMPRESS_1"):
        np.testing.assert_array_equal(theirs, values.ravel())
    np.testing.assert_array_equal(maps.read_map(path, pixels=slice(5, 50)).value, theirs[5:50])


@pytest.mark.filterwarnings("ignore:Invalid 'BLANK'")
@pytest.mark.parametrize(("codec", "level"), [("RICE_1", 16.0), ("GZIP_1", 0.0)])
def test_tile_compressed_floats_with_a_scale_and_a_blank(tmp_path, codec, level):
    values = np.random.default_rng(0).standard_normal((1, NPIX)).astype("f4")
    path = save(tmp_path / "a.fits", fits.CompImageHDU(values, compression_type=codec, quantize_level=level))
    with fits.open(path, disable_image_compression=True, mode="update") as opened:
        opened[1].header.update({"BSCALE": 2.0, "BZERO": 50.0, "BLANK": 3})
    with fits.open(path) as opened:
        theirs = opened[1].data.ravel()
    assert theirs.min() > 30
    np.testing.assert_allclose(maps.read_map(path).value, theirs, rtol=1e-6)


def test_the_callers_own_array(tmp_path):
    path = table(tmp_path / "a.fits", "E", np.arange(NPIX, dtype="f4"), "K")
    out = np.zeros(NPIX, "f8")
    got = maps.read_map(path, out=out, unit="mK")
    assert np.shares_memory(got, out)
    assert out[5] == 5000
    row = np.zeros((2, NPIX), "f4")
    maps.read_map(path, out=row[1])
    assert row[1, 5] == 5


def test_what_the_result_says_of_itself(tmp_path):
    path = table(tmp_path / "a.fits", "E", np.arange(NPIX, dtype="f4"))
    got = maps.read_map(path, nside=4, order="NESTED")
    assert got.info.meta == {"nside": 4, "order": "NESTED", "file": str(path), "hdu": 1, "fields": ["T"]}


def test_a_changed_file_is_read_again(tmp_path):
    path = table(tmp_path / "a.fits", "E", np.zeros(NPIX, "f4"))
    assert maps.read_map(path).value[0] == 0
    path.unlink()
    table(path, "D", np.ones(NPIX))
    assert maps.read_map(path).dtype == np.dtype("f8")


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
