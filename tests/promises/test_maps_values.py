"""Scaling, nulls, units, images, HDF5 and tile-compressed maps, and the caller's own arrays."""

from __future__ import annotations

import bz2
import lzma

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


@pytest.mark.parametrize(("suffix", "pack"), [(".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_files(tmp_path, suffix, pack):
    path = table(tmp_path / "a.fits", "E", np.arange(NPIX, dtype="f4"))
    packed = tmp_path / f"a.fits{suffix}"
    packed.write_bytes(pack(path.read_bytes()))
    assert maps.read_map(packed).value.sum() == maps.read_map(path).value.sum()


def test_hdf5(need, tmp_path):
    h5py = need.module("h5py")
    values = np.random.default_rng(0).standard_normal((3, NPIX))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made.create_dataset("sky/plain", data=values.astype("<f4"))
        made["sky/plain"].attrs.update({"unit": "uK_RJ", "ordering": "NESTED", "nside": NSIDE})
        made.create_dataset("packed", data=values.T, chunks=(256, 3), compression="gzip")
        made.create_dataset("big_endian", data=values[0].astype(">f8"))
        made.create_dataset("catalogue", data=np.arange(17))
    got = maps.read_map(path, None, hdu="sky/plain", order="file")
    np.testing.assert_array_equal(got.value, values.astype("f4"))
    assert got.unit.is_equivalent(maps.K_RJ)
    assert got.info.meta["order"] == "NESTED"
    np.testing.assert_array_equal(maps.read_map(path, (2, 0), hdu="packed").value, values[[2, 0]])
    np.testing.assert_array_equal(maps.read_map(path, hdu="big_endian", pixels=[3, 1]).value, values[0, [3, 1]])
    with pytest.raises(MapError, match="several datasets"):
        maps.read_map(path)
    with pytest.raises(MapError, match="no dataset"):
        maps.read_map(path, hdu="nothing")
    with pytest.raises(MapError, match="17 values"):
        maps.read_map(path, hdu="catalogue")


@pytest.fixture
def h5py(need):
    return need.module("h5py")


def test_hdf5_links_and_values_outside_the_file(h5py, tmp_path):
    values = np.arange(NPIX, dtype="f4")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["m"] = values
    with h5py.File(tmp_path / "b.h5", "w") as made:
        made["other"] = np.zeros(2 * NPIX + 1, "f4")
        made["m"] = h5py.ExternalLink("a.h5", "/m")
        made["gone"] = h5py.ExternalLink("nothing.h5", "/m")
        made["soft"] = h5py.SoftLink("/m")
        made.create_dataset("raw", (NPIX,), "f4", external=[(str(tmp_path / "raw.bin"), 0, 4 * NPIX)])[:] = values
    for name in ("m", "soft", "raw"):
        np.testing.assert_array_equal(maps.read_map(tmp_path / "b.h5", hdu=name).value, values)
    with pytest.raises(MapError, match=r"b\.h5.*'gone'"):
        maps.read_map(tmp_path / "b.h5", hdu="gone")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text", "not numbers"),
        ("complex", "complex128, not numbers"),
        ("compound", "not numbers"),
        ("scalar", "0 axes"),
        ("cube", "3 axes"),
        ("empty", "is empty"),
        ("two", r"nside is array\(\[16, 16\]\)"),
        ("three", "no power of two"),
        ("group", "no dataset"),
        (1, "no dataset 1"),
    ],
)
def test_hdf5_datasets_that_are_no_map(h5py, tmp_path, name, said):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["text"] = ["a"] * NPIX
        made["complex"] = np.zeros(NPIX, complex)
        made["compound"] = np.zeros(NPIX, [("a", "f4"), ("b", "f4")])
        made["scalar"] = 5.0
        made["cube"] = np.zeros((2, 2, NPIX))
        made["empty"] = h5py.Empty("f4")
        made["two"] = np.zeros(NPIX)
        made["two"].attrs["nside"] = [NSIDE, NSIDE]
        made["three"] = np.zeros(12 * 9)
        made["three"].attrs["ordering"] = "NESTED"
        made.create_group("group")
    with pytest.raises(MapError, match=said) as caught:
        maps.read_map(tmp_path / "a.h5", hdu=name)
    assert "a.h5" in str(caught.value)


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


def test_a_changed_file_is_read_anew(tmp_path):
    path = table(tmp_path / "a.fits", "E", np.zeros(NPIX, "f4"))
    assert maps.read_map(path).value[0] == 0
    path.unlink()
    table(path, "D", np.ones(NPIX))
    assert maps.read_map(path).dtype == np.dtype("f8")
