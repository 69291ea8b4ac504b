"""Every bad input has a clear error that names file, HDU and column."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

NSIDE = 8
NPIX = 12 * NSIDE**2


def table(path: Path, *columns: fits.Column, **cards: object) -> Path:
    columns = columns or (fits.Column("TEMPERATURE", "E", array=np.arange(NPIX, dtype="f4"), unit="uK_CMB"),)
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["PIXTYPE"], hdu.header["ORDERING"], hdu.header["NSIDE"] = "HEALPIX", "RING", NSIDE
    for key, value in cards.items():
        if value is None:
            hdu.header.remove(key)
        else:
            hdu.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def fails(path: Path, *words: str, **options: object) -> str:
    with pytest.raises(MapError) as caught:
        maps.read_map(path, **options)
    message = str(caught.value)
    for word in (str(path), *words):
        assert word in message
    return message


@pytest.mark.parametrize("keep", [0, 5, 100, 2880, 4000, 5760, 6000, 8639])
def test_truncated(tmp_path, keep):
    path = table(tmp_path / "a.fits")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    message = fails(path)
    assert re.search("truncated|not a FITS file|no HDU holds", message), message


@pytest.mark.parametrize(("field", "order"), [(0, "RING"), (None, "RING"), (0, "NESTED"), (None, "NESTED")])
def test_a_file_that_shrinks_while_it_is_read(tmp_path, field, order):
    """Somebody copies another file over it: an error, and never a map with other numbers at its end."""
    path = maps.write_map(tmp_path / "m.fits", np.zeros((3, 12 * 64**2), "f4"), order="NESTED")

    class Alone:
        """A communicator of one rank, which is asked for its rank once the file is open."""

        size = 1

        @property
        def rank(self):
            os.truncate(path, path.stat().st_size // 2)
            return 0

    with pytest.raises(MapError, match=r"m\.fits.*truncated"):
        maps.read_map(path, field, order=order, comm=Alone())


def test_truncated_gzip(tmp_path):
    import gzip

    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(table(tmp_path / "a.fits").read_bytes())[:-300])
    fails(path, "does not decompress")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>login</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs pointer"),
        (b"not actually FITS", "not a FITS file"),
    ],
)
def test_a_file_that_is_not_fits(tmp_path, content, said):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    fails(path, said)


def test_no_such_file_and_a_folder(tmp_path):
    fails(tmp_path / "nothing.fits", "No such file")
    fails(tmp_path, "folder")


def test_wrong_naxis(tmp_path):
    path = table(tmp_path / "a.fits")
    raw = path.read_bytes().replace(b"NAXIS1  =                    4", b"NAXIS1  =                    6")
    path.write_bytes(raw + bytes(2880))
    fails(path, "HDU 1", "NAXIS1")


@pytest.mark.parametrize(
    ("key", "value"), [("NAXIS", 99999999999), ("NAXIS", -1), ("ZNAXIS", 999999999), ("PCOUNT", -5760), ("GCOUNT", 0)]
)
def test_counts_that_no_file_has(tmp_path, key, value):
    """Each of them once had the reader go round for ever."""
    path = table(tmp_path / "a.fits", ZIMAGE=True, ZNAXIS=2)
    raw = path.read_bytes()
    at = raw.index(f"{key:8}=".encode(), 2880)
    path.write_bytes(raw[:at] + f"{key:8}= {value:>20}".encode().ljust(80) + raw[at + 80 :])
    fails(path, "HDU 1", f"{key}={value}")
    fails(path, "HDU 1", f"{key}={value}", hdu="OTHER")


def test_a_packed_image_without_axes(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((1, NPIX), "f4"))]).writeto(path)
    raw = path.read_bytes()
    at = raw.index(b"NAXIS   =", 2880)
    path.write_bytes(raw[:at] + f"NAXIS   = {0:>20}".encode().ljust(80) + raw[at + 80 :])
    fails(path, "no HDU holds")


@pytest.mark.parametrize("nside", [16, 7, 1])
def test_nside_that_does_not_fit_the_rows(tmp_path, nside):
    fails(table(tmp_path / "a.fits", NSIDE=nside), "HDU 1", "column 1 'TEMPERATURE'", "768 values", f"NSIDE={nside}")


def test_nside_as_a_string_names_the_remedy(tmp_path):
    path = table(tmp_path / "a.fits", NSIDE="8")
    message = fails(path, "HDU 1", "NSIDE='8' is not an integer", "astropy.io.fits.setval")
    exec(message[message.index("astropy.io.fits.setval") :], {"astropy": __import__("astropy.io.fits")})
    assert maps.read_map(path).shape == (NPIX,)


@pytest.mark.parametrize("nside", ["many", 8.5, True, 0, -4])
def test_nside_that_is_none(tmp_path, nside):
    fails(table(tmp_path / "a.fits", NSIDE=nside), "HDU 1", "NSIDE=")


def test_a_moc(tmp_path):
    path = table(tmp_path / "a.fits", fits.Column("UNIQ", "K", array=np.arange(4, 50)), ORDERING="NUNIQ", NSIDE=None)
    fails(path, "HDU 1", "NUNIQ", "MOC")


def test_unknown_ordering(tmp_path):
    fails(table(tmp_path / "a.fits", ORDERING="PEANO"), "HDU 1", "PEANO")


def test_nested_without_a_power_of_two(tmp_path):
    column = fits.Column("T", "E", array=np.zeros(12 * 9, "f4"))
    fails(table(tmp_path / "a.fits", column, NSIDE=3, ORDERING="NESTED"), "NSIDE=3 is no power of two")
    path = table(tmp_path / "b.fits", column, NSIDE=3)
    assert maps.read_map(path).shape == (108,)
    fails(path, "power of two", nside=2)
    fails(path, "power of two", order="NESTED")


@pytest.mark.parametrize("field", [1, 7, -1, "Q", (0, 1)])
def test_a_field_that_is_not_there(tmp_path, field):
    fails(table(tmp_path / "a.fits"), "HDU 1", "there is no field", "0 'TEMPERATURE'", field=field)
    with pytest.raises(IndexError):  # what callers of numpy and of pysm3 catch
        maps.read_map(tmp_path / "a.fits", field)


@pytest.mark.parametrize("pixels", [[-1], [0, NPIX], range(5, NPIX + 1), range(-3, 4), range(0, 10**14, 2)])
def test_pixels_out_of_range(tmp_path, pixels):
    fails(table(tmp_path / "a.fits"), "HDU 1", "out of range", "768 pixels", pixels=pixels)


@pytest.mark.parametrize("fill", [None, "0", 1j])
def test_a_fill_that_is_no_number(tmp_path, fill):
    fails(table(tmp_path / "a.fits"), "HDU 1", f"fill={fill!r} is not a number", fill=fill)


@pytest.mark.parametrize("field", [1.0, [0, 0.5], [[0]], object()])
def test_a_field_that_is_neither_a_number_nor_a_name(tmp_path, field):
    fails(table(tmp_path / "a.fits"), "HDU 1", "neither a number nor a name", field=field)


@pytest.mark.parametrize("pixels", [[[1], [2, 3]], slice("a", None), slice(0, 9, 0), slice(0.5, 3)])
def test_pixels_of_no_shape(tmp_path, pixels):
    fails(table(tmp_path / "a.fits"), "pixels must be a list of integers", pixels=pixels)


@pytest.mark.parametrize("nside", [2**30, 2**40, 2**70])
@pytest.mark.parametrize("pixels", [None, [5]])
def test_an_nside_that_no_map_has(tmp_path, nside, pixels):
    fails(table(tmp_path / "a.fits"), f"nside={nside} is out of range", nside=nside, pixels=pixels)


def test_a_map_that_no_memory_holds(tmp_path):
    path = table(tmp_path / "a.fits")
    fails(path, "no memory", "pixels=", nside=2**29)
    assert maps.read_map(path, nside=2**29, pixels=[0, 12 * 4**29 - 1]).value.tolist() == [0, NPIX - 1]


@pytest.mark.parametrize("out", [[0.0] * NPIX, memoryview(bytearray(8 * NPIX)), (1, 2)])
def test_out_is_an_array(tmp_path, out):
    fails(table(tmp_path / "a.fits"), "out must be a numpy array", out=out)


def test_a_path_with_a_nul(tmp_path):
    with pytest.raises(MapError, match="no path has a NUL"):
        maps.read_map(f"{tmp_path}/a\0.fits")


@pytest.mark.parametrize("pixels", [[0.5], ["a"], [[1, 2]], np.ones(NPIX, bool)])
def test_pixels_that_are_not_a_list_of_integers(tmp_path, pixels):
    fails(table(tmp_path / "a.fits"), "integers", pixels=pixels)


def test_a_unit_that_does_not_convert(tmp_path):
    path = table(tmp_path / "a.fits")
    fails(path, "HDU 1", "column 1 'TEMPERATURE'", "uK_CMB", "K_CMB is not K", unit="K")
    fails(path, "does not convert", unit=u.MJy / u.sr)
    fails(path, "no unit that astropy knows", unit="furlongs of dust")


def test_a_unit_that_nobody_knows_can_be_stated(tmp_path):
    path = table(tmp_path / "a.fits", fits.Column("T", "E", array=np.ones(NPIX, "f4"), unit="ZORKMID"))
    fails(path, "column 1 'T'", "ZORKMID", "unit=")
    assert maps.read_map(path, unit="mK").unit == u.mK


def test_a_column_without_numbers(tmp_path):
    path = table(tmp_path / "a.fits", fits.Column("NAME", "4A", array=["abcd"] * NPIX))
    fails(path, "column 1 'NAME'")


def test_fields_of_different_units(tmp_path):
    ones = np.ones(NPIX, "f4")
    path = table(
        tmp_path / "a.fits",
        fits.Column("T", "E", array=ones, unit="K_CMB"),
        fits.Column("Q", "E", array=ones, unit="uK_CMB"),
        fits.Column("HITS", "E", array=ones, unit="s"),
    )
    both = maps.read_map(path, (0, 1))
    assert both.unit == maps.K_CMB
    np.testing.assert_allclose(both.value[:, 0], [1, 1e-6], rtol=1e-6)
    fails(path, "different units", field=None)


@pytest.mark.parametrize("pixel", [-1, NPIX])
def test_partial_map_with_a_pixel_outside(tmp_path, pixel):
    path = table(
        tmp_path / "a.fits",
        fits.Column("PIXEL", "J", array=np.array([0, pixel])),
        fits.Column("T", "E", array=np.ones(2, "f4")),
        INDXSCHM="EXPLICIT",
    )
    fails(path, "column 1 'PIXEL'", f"pixel {pixel} is out of range")


def test_partial_map_with_a_column_of_text(tmp_path):
    path = table(
        tmp_path / "a.fits",
        fits.Column("PIXEL", "J", array=np.array([3, 5])),
        fits.Column("NAME", "8A", array=["one", "other"]),
        fits.Column("T", "E", array=np.array([1, 2], "f4")),
        INDXSCHM="EXPLICIT",
    )
    assert maps.read_map(path, "T").value[[3, 5]].tolist() == [1, 2]
    assert maps.read_partial(path, 1)[1].value.tolist() == [1, 2]
    fails(path, "'NAME'", field=0)


def test_contradicting_partial_map(tmp_path):
    fails(table(tmp_path / "a.fits", OBJECT="PARTIAL", INDXSCHM="IMPLICIT"), "HDU 1", "contradict")


def test_partial_map_in_integers_needs_a_fill(tmp_path):
    path = table(
        tmp_path / "a.fits",
        fits.Column("PIXEL", "J", array=np.array([3])),
        fits.Column("HITS", "J", array=np.array([5])),
        INDXSCHM="EXPLICIT",
    )
    assert maps.read_map(path).dtype == "f8"
    fails(path, "fill", dtype="i4")
    hits = maps.read_map(path, dtype="i4", fill=0).value
    assert hits.dtype == "i4"
    assert hits.sum() == hits[3] == 5


@pytest.mark.parametrize(
    "options",
    [{"nside": 3}, {"nside": 0}, {"nside": 2.5}, {"order": "north"}, {"dtype": "banana"}, {"dtype": "U3"}, {"hdu": 5}],
)
def test_options_that_make_no_sense(tmp_path, options):
    fails(table(tmp_path / "a.fits"), **options)


@pytest.mark.parametrize(
    "out", [np.empty(5, "f4"), np.empty(NPIX, ">f4"), np.empty(2 * NPIX, "f4")[::2], np.empty((1, NPIX), "f4")]
)
def test_an_output_that_does_not_fit(tmp_path, out):
    fails(table(tmp_path / "a.fits"), "out must be", out=out)


def test_no_map_in_the_file(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((10, 10))).writeto(path)
    fails(path, "no HDU holds a HEALPix map", "0 PRIMARY")
    fails(path, "there is no HDU 3", hdu=3)


def test_a_url_without_remote():
    with pytest.raises(MapError, match="remote=True"):
        maps.read_map("https://user:secret@example.org/a.fits")


@pytest.mark.parametrize("wrong", [np.arange(2), np.array([]), 1.5 * u.K])
def test_numbers_that_are_arrays(tmp_path, wrong):
    path = maps.write_map(tmp_path / "a.fits", np.arange(12.0))
    for read in (maps.read_map, maps.header):
        with pytest.raises(MapError, match="neither a number nor a name"):
            read(path, hdu=wrong)
    with pytest.raises(MapError, match="no integer from 1"):
        maps.write_map(tmp_path / "b.fits", np.arange(12.0), nside=wrong)


def test_a_section_that_no_integer_holds(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 5))).writeto(tmp_path / "a.fits")
    with pytest.raises(MapError, match="section"):
        maps.cutout(tmp_path / "a.fits", (10**30, 0))


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MapError, match="is not a regular file"):
        maps.read_map(tmp_path / "fifo")
