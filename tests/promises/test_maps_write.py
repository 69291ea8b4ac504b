"""Maps written and read again, by healpy and by astropy as well."""

from __future__ import annotations

import os
import stat
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.utils.masked import Masked

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


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.parametrize("shape", [(12,), (2, 12)])
def test_what_is_masked_is_unseen(tmp_path, shape, dtype):
    values = np.ma.masked_less(np.arange(np.prod(shape)).reshape(shape).astype(dtype), 5)
    expected = np.where(values.mask, np.dtype(dtype).type(UNSEEN), values.data)
    field = 0 if len(shape) == 1 else None
    given = [values, Masked(values.data, values.mask), *([list(values)] if field is None else [])]
    for number, made in enumerate(given):
        path = maps.write_map(tmp_path / f"{number}.fits", made, unit="K")
        np.testing.assert_array_equal(maps.read_map(path, field).value, expected)
    path = maps.write_map(tmp_path / "q.fits", Masked(values.data, values.mask) * u.K, unit="mK")
    got = maps.read_map(path, field)
    np.testing.assert_array_equal(got.value, np.where(values.mask, expected, values.data * np.dtype(dtype).type(1000)))
    assert values.data.min() == 0


def test_integers_have_no_value_for_what_is_masked(tmp_path):
    hits = np.ma.masked_less(np.arange(12), 5)
    with pytest.raises(MapError, match="pixels are masked, and int64 has no value"):
        maps.write_map(tmp_path / "a.fits", hits)
    with pytest.raises(MapError, match="pixels are masked"):
        maps.write_map(tmp_path / "a.fits", np.ones(12), pixels=hits, nside=4)
    path = maps.write_map(tmp_path / "a.fits", np.ma.array(np.arange(12)))
    assert maps.read_map(path).value.tolist() == list(range(12))
    with pytest.raises(MapError, match="no array"):
        maps.write_map(tmp_path / "b.fits", [[1, 2], [3]])


@pytest.mark.filterwarnings("error")
def test_unseen_does_not_overflow_in_a_small_unit(tmp_path):
    values = np.array([UNSEEN, UNSEEN * (1 + 3e-6), *range(10)], "f4")
    path = maps.write_map(tmp_path / "a.fits", values * u.K, unit="nK")
    expected = [np.float32(UNSEEN)] * 2 + [np.float32(1e9) * k for k in range(10)]
    np.testing.assert_array_equal(maps.read_map(path).value, np.array(expected, "f4"))
    assert values[2] == 0
    assert values[3] == 1


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
        (np.zeros(12), {"order": None}),
        (np.zeros(12), {"nside": 1.0}),
        (np.zeros(12), {"nside": True}),
        (np.zeros(12), {"nside": "1"}),
        (np.zeros(1), {"pixels": [1], "nside": -4}),
        (np.zeros(1), {"pixels": [1], "nside": 4.0}),
        (np.zeros(1), {"pixels": [1], "nside": 3, "order": "NESTED"}),
        (np.zeros(12), {"unit": u.K * 1.23456789012}),
        (np.zeros(12) * u.mag(u.AB), {}),
        (np.zeros(12), {"header": {"ORDERING": "NESTED"}}),
        (np.zeros(12), {"header": {"ordering ": ("NESTED", "of another map")}}),
        (np.zeros(12), {"header": {"HIERARCH NSIDE": 8}}),
        (np.zeros(12), {"header": {"TZERO1": 5.0}}),
        (np.zeros(12), {"header": fits.ImageHDU(np.zeros((3, 4))).header}),
        (np.zeros(12), {"header": {5: 6}}),
        (np.zeros(12), {"header": {"KEY": object()}}),
        (np.zeros(12), {"header": "KEY"}),
    ],
)
def test_what_is_no_map(tmp_path, values, options):
    with pytest.raises(MapError, match=r"a\.fits: "):
        maps.write_map(tmp_path / "a.fits", values, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "unit",
    [
        u.K,
        u.m * u.s,
        u.W / (u.sr * u.m**2),
        u.MJy / u.sr,
        u.count / u.pix,
        u.deg**-2,
        u.K**0.5,
        u.K**-0.5 / u.sr,
        u.erg / u.s / u.cm**2 / u.AA,
        u.Unit(1e-20 * u.W / u.m**2 / u.Hz / u.sr),
        u.Unit(1000 * u.K),
        u.dimensionless_unscaled,
        u.Unit("0.01"),
    ],
)
def test_units_are_read_again_as_the_same(tmp_path, unit):
    path = maps.write_map(tmp_path / "a.fits", np.ones(12) * unit)
    got = maps.read_map(path)
    assert (1 * got.unit).to_value(unit) == pytest.approx(1, rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # Angstrom is deprecated in FITS
        theirs = Table.read(path, 1)["TEMPERATURE"].unit or u.dimensionless_unscaled
    assert (1 * theirs).to_value(unit) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    "unit",
    [
        u.Unit(1e-6 * u.arcmin * maps.K_CMB),
        maps.K_RJ**2 / u.Hz,
        maps.K_CMB / maps.K_RJ,
        maps.K_CMB * u.s,
    ],
)
def test_special_units_are_read_again_as_the_same(tmp_path, unit):
    got = maps.read_map(maps.write_map(tmp_path / "a.fits", np.ones(12), unit=unit))
    assert (1 * got.unit).to_value(unit) == pytest.approx(1, rel=1e-12)


def test_of_several_writers_one_has_the_file(tmp_path):
    path = tmp_path / "a.fits"
    for _ in range(20):
        path.unlink(missing_ok=True)
        start = threading.Barrier(4)

        def write(number, start=start):
            start.wait()
            try:
                maps.write_map(path, np.full(12 * 16**2, float(number)))
            except MapError as error:
                return str(error)
            return number

        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(write, range(4)))
        won = [number for number in said if isinstance(number, int)]
        assert len(won) == 1
        assert sum("overwrite=True" in str(word) for word in said) == 3
        assert set(maps.read_map(path).value) == set(won)
    assert os.listdir(tmp_path) == ["a.fits"]


def test_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.fits"
    link.symlink_to("real/a.fits")
    assert maps.write_map(link, np.zeros(12)) == link
    with pytest.raises(MapError, match="overwrite=True"):
        maps.write_map(link, np.ones(12))
    maps.write_map(link, np.ones(12), overwrite=True)
    assert link.is_symlink()
    assert maps.read_map(tmp_path / "real" / "a.fits").value.sum() == 12


def test_nothing_is_left_beside_a_folder_of_that_name(tmp_path):
    (tmp_path / "a.fits").mkdir()
    with pytest.raises(MapError, match="cannot be written"):
        maps.write_map(tmp_path / "a.fits", np.zeros(12), overwrite=True)
    assert os.listdir(tmp_path) == ["a.fits"]


def test_a_callers_own_cards(tmp_path):
    header = fits.Header([("COORDSYS", "G", "Galactic"), ("FREQ", 353.0)])
    path = maps.write_map(tmp_path / "a.fits", np.zeros(12), header=header)
    assert maps.header(path)["COORDSYS"] == "G"
    assert maps.header(path)["FREQ"] == 353


@pytest.mark.parametrize("shape", [(12,), (3, 12 * 16**2)])
@pytest.mark.parametrize("order", ["RING", "NESTED"])
def test_masks_are_logical_columns(tmp_path, shape, order):
    mask = np.random.default_rng(0).integers(0, 2, shape).astype(bool)
    path = maps.write_map(tmp_path / "a.fits", mask, order=order)
    with fits.open(path, checksum=True) as opened:
        assert opened[1].columns[0].format.endswith("L")
        assert opened[1].verify_datasum() == 1
        np.testing.assert_array_equal(opened[1].data.field(0).ravel(), np.atleast_2d(mask)[0])
    got = maps.read_map(path, 0 if len(shape) == 1 else None, order=order)
    assert got.dtype == np.dtype(bool)
    np.testing.assert_array_equal(got.value, mask)
    part = maps.write_map(tmp_path / "b.fits", [True, False], pixels=[3, 5], nside=2)
    assert maps.read_partial(part)[1].value.tolist() == [True, False]
    with pytest.raises(MapError, match="pixels are masked"):
        maps.write_map(tmp_path / "c.fits", np.ma.masked_array(np.ones(12, bool), np.arange(12) < 3))


@pytest.mark.parametrize("hdu", ["table", "partial", "image"])
def test_the_header_of_another_map(tmp_path, hdu):
    """What it says of its own table is left out; the rest, comments and history too, is kept."""
    cards = {"COORDSYS": ("G", "Galactic"), "FREQ": 353.0, "HIERARCH long keyword": 7}
    if hdu == "image":
        other = fits.ImageHDU(np.zeros(48, "f4"))
        other.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 2, "ORDERING": "NESTED", "BUNIT": "K"} | cards)
        other.writeto(tmp_path / "other.fits")
    else:
        partial = {"pixels": [1, 2], "nside": 64} if hdu == "partial" else {}
        values = np.zeros(2 if partial else 48)
        maps.write_map(tmp_path / "other.fits", values, order="NESTED", unit="K", header=cards, **partial)
    header = maps.header(tmp_path / "other.fits")
    header["TTYPE7"] = "left over"
    for word in ("first", "second"):
        header.add_history(word)
    header.add_comment("made by hand")
    path = maps.write_map(tmp_path / "a.fits", np.arange(12.0), unit="s", header=header)
    found = maps.header(path)
    assert (found["NSIDE"], found["ORDERING"], found["TUNIT1"], found["OBJECT"]) == (1, "RING", "s", "FULLSKY")
    assert not {"TTYPE7", "BUNIT"} & set(found)
    assert (found["COORDSYS"], found.comments["COORDSYS"], found["FREQ"]) == ("G", "Galactic", 353)
    assert found["LONG KEYWORD"] == 7
    assert list(found["HISTORY"]) == ["first", "second"]
    assert "made by hand" in found["COMMENT"]
    with fits.open(path, checksum=True) as opened:
        opened.verify("exception")
    assert maps.read_map(path).value.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a", "A"], "several fields have one name"),
        (5, "no list of names"),
        (["a"], "1 names for 2"),
        (["a", "b" * 80], "68 char"),
    ],
)
def test_names_that_do_not_name_the_fields(tmp_path, names, words):
    with pytest.raises(MapError, match=words):
        maps.write_map(tmp_path / "a.fits", np.zeros((2, 12)), names=names)
    assert not any(tmp_path.iterdir())


def test_writing_takes_no_more_memory_than_astropy(tmp_path):
    sky = np.random.default_rng(0).standard_normal((3, 12 * 128**2))

    def write_with_astropy() -> None:
        columns = [fits.Column(f"T{k}", "1024D", array=field.reshape(-1, 1024)) for k, field in enumerate(sky)]
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)])
        hdus.writeto(tmp_path / "b.fits", checksum=True, overwrite=True)

    def peak(write: Callable[[], object]) -> int:
        write()  # what is imported and kept
        tracemalloc.start()
        try:
            write()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    ours = peak(lambda: maps.write_map(tmp_path / "a.fits", sky, overwrite=True))
    assert ours < 1.1 * peak(write_with_astropy)
