"""FITS maps as other programs write them: their keywords, units and columns are read as meant, or refused by name."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError, UnknownField

HEALPIX = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "INDXSCHM": "IMPLICIT", "NSIDE": 1}
NESTED = HEALPIX | {"ORDERING": "NESTED", "NSIDE": 2}


def column(name: str = "T", form: str = "E", values: object = None, **options: object) -> fits.Column:
    return fits.Column(name, form, array=np.arange(12) if values is None else values, **options)


def table(path: Path, *columns: fits.Column, primary: dict[str, object] | None = None, **cards: object) -> Path:
    hdu = fits.BinTableHDU.from_columns(columns or [column()])
    hdu.header.update(HEALPIX if primary is None and not cards else cards)
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    fits.HDUList([first, hdu]).writeto(path)
    return path


def change(path: Path, *pairs: tuple[bytes, bytes]) -> Path:
    raw = path.read_bytes()
    for old, new in pairs:
        assert len(old) == len(new)
        assert raw.count(old) == 1
        raw = raw.replace(old, new)
    path.write_bytes(raw)
    return path


# -- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "unit"), [("mJy/sr", u.mJy / u.sr), ("MJy/sr", u.MJy / u.sr), ("mK", u.mK)])
def test_milli_is_not_mega(tmp_path, text, unit):
    path = table(tmp_path / "a.fits", column(unit=text))
    assert maps.read_map(path).unit == unit
    again = maps.write_map(tmp_path / "b.fits", maps.read_map(path))
    assert maps.read_map(again).unit == unit
    assert maps.read_map(path, unit=text).value[5] == 5
    assert maps.write_map(tmp_path / "c.fits", np.zeros(12), unit=text)
    assert maps.read_map(tmp_path / "c.fits").unit == unit
    image = fits.PrimaryHDU(np.arange(12.0).reshape(3, 4))
    image.header["BUNIT"] = text
    image.writeto(tmp_path / "image.fits")
    assert maps.cutout(tmp_path / "image.fits", (0, 1)).unit == unit
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["m"] = np.arange(12.0)
        made["m"].attrs["unit"] = text
    assert maps.read_map(tmp_path / "a.h5").unit == unit


def test_milli_converts_as_milli(tmp_path):
    path = table(tmp_path / "a.fits", column(unit="mJy/sr"))
    assert maps.read_map(path, unit="Jy/sr").value[5] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("JY/BEAM", u.Jy / u.beam),
        ("KELVIN", u.K),
        ("electrons/sec", u.electron / u.s),
        ("ergs/s/cm2", u.erg / u.s / u.cm**2),
        ("Rayleighs", u.R),
        ("COUNTS/S", u.ct / u.s),
        ("Deg", u.deg),
        ("kelvin", u.K),
        ("counts/s", u.ct / u.s),
        ("[K]", u.K),
        ("K^{2}", u.K**2),
        ("mK, thermodynamic", 1e-3 * maps.K_CMB),
        ("uK_thermodynamic", 1e-6 * maps.K_CMB),
        ("K_CMB^{2}", maps.K_CMB**2),
        ("uK(RJ)", 1e-6 * maps.K_RJ),
        ("mK_antenna", 1e-3 * maps.K_RJ),
        ("K (Tb)", maps.K_RJ),
        ("mK (Tb)", 1e-3 * maps.K_RJ),
    ],
)
def test_spellings_of_units(tmp_path, text, unit):
    found = maps.read_map(table(tmp_path / "a.fits", column(unit=text))).unit
    assert found.is_equivalent(unit)
    assert found.to(unit) == pytest.approx(1)


@pytest.mark.parametrize(("text", "one", "other"), [("MJY/SR", "MJy/sr", "mJy/sr"), ("mjy/sr", "MJy/sr", "mJy/sr")])
def test_a_unit_in_another_case_that_could_be_two_is_neither(tmp_path, text, one, other):
    path = table(tmp_path / "a.fits", column(unit=text))
    with pytest.raises(MapError, match="no unit that astropy knows") as caught:
        maps.read_map(path)
    assert one in str(caught.value)
    assert other in str(caught.value)
    assert maps.read_map(path, unit=one).unit == u.Unit(one)


@pytest.mark.parametrize("third", [None, "ZORKMID"])
def test_a_unit_converts_all_fields_or_states_that_of_all(tmp_path, third):
    columns = [
        column(name, values=np.full(12, 5e-6), unit=unit) for name, unit in (("T", "K"), ("Q", "K"), ("U", third))
    ]
    path = table(tmp_path / "a.fits", *columns)
    for fields in (None, (2, 0)):
        with pytest.raises(MapError, match="column 3 'U': has .*unit.*one by one"):
            maps.read_map(path, fields, unit="uK")
    assert maps.read_map(path, (0, 1), unit="uK").value[:, 0] == pytest.approx([5, 5])
    assert maps.read_map(path, None, unit="K").value[:, 0] == pytest.approx([5e-6] * 3)
    assert maps.read_map(path, 2, unit="uK").value[0] == pytest.approx(5e-6)


# -- keywords ---------------------------------------------------------------------------------------------------------


def expected_ring() -> np.ndarray:
    hp = pytest.importorskip("healpy")
    return hp.reorder(np.arange(48.0), n2r=True)


def test_keywords_in_lower_case(tmp_path):
    path = table(tmp_path / "a.fits", column(values=np.arange(48)), **NESTED)
    pairs = [(f"{key:8}=".encode(), f"{key.lower():8}=".encode()) for key in ("ORDERING", "NSIDE", "TFORM1", "NAXIS2")]
    change(path, *pairs)
    assert maps.header(path)["ORDERING"] == "NESTED"
    np.testing.assert_array_equal(maps.read_map(path).value, expected_ring())
    partial = maps.write_map(tmp_path / "b.fits", [7.0], pixels=[5], nside=2)
    change(partial, *((f"{key:8}=".encode(), f"{key.lower():8}=".encode()) for key in ("NAXIS2", "INDXSCHM", "OBJECT")))
    assert maps.read_map(partial).value[5] == 7


def test_keywords_in_the_primary_header_only(tmp_path):
    path = table(tmp_path / "a.fits", column(values=np.arange(48)), primary=NESTED)
    found = maps.read_map(path)
    np.testing.assert_array_equal(found.value, expected_ring())
    assert found.info.meta["order_from"] == "primary header"
    assert "NESTED (from the primary header)" in maps.info(path)
    own = table(tmp_path / "b.fits", column(values=np.arange(48)), primary=NESTED, ORDERING="RING", NSIDE=2)
    found = maps.read_map(own)
    np.testing.assert_array_equal(found.value, np.arange(48))
    assert "order_from" not in found.info.meta


def test_the_result_tells_an_ordering_that_was_assumed(tmp_path):
    path = table(tmp_path / "a.fits", NSIDE=1)
    assert maps.read_map(path).info.meta["order_from"] == "assumed"


def test_a_table_that_only_has_a_fitting_number_of_rows_is_a_guess(tmp_path):
    path = table(tmp_path / "a.fits", column(values=np.arange(192)), primary={}, EXTNAME="CATALOG")
    assert maps.read_map(path).shape == (192,)
    assert "a guess" in maps.info(path)
    pytest.importorskip("matplotlib")
    assert "a guess" in maps.draw(path).get_suptitle()
    stated = table(tmp_path / "b.fits", column(values=np.arange(192)), NSIDE=4)
    assert "a guess" not in maps.info(stated)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"PIXTYPE": "HEALSPARSE"}, "PIXTYPE='HEALSPARSE'.*healsparse package"),
        ({"PIXTYPE": "HPXQUAD"}, "PIXTYPE='HPXQUAD'"),
        ({"INDXSCHM": "SPARSE"}, "INDXSCHM='SPARSE'"),
        ({"INDXSCHM": "LOCAL"}, "INDXSCHM='LOCAL'"),
    ],
)
def test_other_formats_in_the_keywords_of_healpix(tmp_path, cards, words):
    columns = [column("PIX", "J"), column("CHANNEL", "I"), column("VALUE")]
    path = table(tmp_path / "a.fits", *columns, **HEALPIX | cards)
    for read in (maps.read_map, maps.read_partial):
        with pytest.raises(MapError, match=words):
            read(path)
    assert "no HEALPix map" in maps.info(path)
    elsewhere = table(tmp_path / "b.fits", *columns, primary=cards, NSIDE=1)
    with pytest.raises(MapError, match=words):
        maps.read_map(elsewhere)


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["RING", "NESTED"])
@pytest.mark.parametrize(("dtype", "value"), [("u1", 1), ("i2", -3), ("i4", 2_000_000), ("i8", 2**40), ("?", True)])
def test_means_of_integers_are_floats(tmp_path, dtype, value, order):
    path = maps.write_map(tmp_path / "a.fits", np.full(12 * 64**2, value, dtype), order=order)
    for nside in (32, 4, 1):
        for wanted in ("RING", "NESTED"):
            found = maps.read_map(path, nside=nside, order=wanted)
            assert found.dtype == np.dtype("f8")
            assert (found.value == value).all()
            assert (maps.read_map(path, nside=nside, order=wanted, dtype="i8").value == value).all()
            assert maps.read_map(path, nside=nside, order=wanted, pixels=[3]).value[0] == value
    half = maps.write_map(tmp_path / "b.fits", np.arange(12 * 64**2) % 2, order="NESTED")
    assert (maps.read_map(half, nside=4).value == 0.5).all()


def test_a_zero_byte_in_a_logical_column_is_no_value(tmp_path):
    path = table(tmp_path / "a.fits", column("M", "L", np.ones(12, bool)))
    assert maps.read_map(path).value.tolist() == [True] * 12
    change(path, (b"T" * 12, b"TTT\0FTTTTTTT"))
    with pytest.raises(MapError, match="column 1 'M': has pixels without data.*fill="):
        maps.read_map(path)
    assert maps.read_map(path, dtype="f4").value[:5].tolist() == [1, 1, 1, np.float32(maps.UNSEEN), 0]
    assert maps.read_map(path, fill=False).value[:5].tolist() == [True, True, True, False, False]
    assert maps.read_map(path, pixels=[0, 4]).value.tolist() == [True, False]
    pixels, values = maps.read_partial(path, dtype="f4")
    assert pixels.tolist() == [0, 1, 2, *range(4, 12)]
    assert values.shape == (11,)
    assert "91.67% of the sky" in maps.info(path)


def test_equal_column_names(tmp_path):
    path = table(tmp_path / "a.fits", column("Smap"), column("Tmap", values=np.arange(12)[::-1]))
    change(path, (b"'Tmap", b"'smap"))
    with pytest.raises(UnknownField, match="fields 0, 1 are all called 'Smap'"):
        maps.read_map(path, "Smap")
    assert maps.read_map(path, 1).value[0] == 11


@pytest.mark.parametrize("form", ["0E", "0J", "3E", "4A", "banana"])
@pytest.mark.parametrize("first", [False, True])
def test_a_broken_column_beside_the_map(tmp_path, form, first):
    columns = [column("T"), column("BAD", form if form != "banana" else "E", np.zeros((12, 3) if form == "3E" else 12))]
    if form[0] == "0":
        columns[1] = fits.Column("BAD", form)
    elif form == "4A":
        columns[1] = column("BAD", form, ["abcd"] * 12)
    path = table(tmp_path / "a.fits", *(columns[::-1] if first and form != "banana" else columns))
    if form == "banana":  # of its width nobody knows: what comes before it is read
        fits.setval(path, "TFORM2", value="banana", ext=1)
    assert maps.read_map(path, "T").value.tolist() == list(range(12))
    with pytest.raises(MapError, match="'BAD'"):
        maps.read_map(path, "BAD")
    maps.info(path)


@pytest.mark.parametrize("dtype", ["E", "D"])
def test_pixel_numbers_that_are_floats(tmp_path, dtype):
    columns = [column("PIXEL", dtype, [3, 40]), column("T", values=[1.0, 2.0])]
    cards = NESTED | {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL", "ORDERING": "RING"}
    path = table(tmp_path / "a.fits", *columns, **cards)
    assert maps.read_map(path).value[[3, 40]].tolist() == [1, 2]
    assert maps.read_partial(path)[0].tolist() == [3, 40]
    wrong = table(tmp_path / "b.fits", column("PIXEL", dtype, [3.5, 40]), columns[1], **cards)
    with pytest.raises(MapError, match="'PIXEL': .*no integers"):
        maps.read_map(wrong)


LITTLE = """
import resource, sys
import numpy as np
from dataferry import maps
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for nside in (2, 8, 1024, 8192):
    for order in ("RING", "NESTED"):
        found = maps.read_map(sys.argv[1], nside=nside, order=order, pixels=slice(0, 100) if nside > 1024 else None)
        print(nside, float(found.value.max()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS sets no limit of memory")
def test_few_pixels_of_a_fine_map_take_little_memory(tmp_path):
    """Two pixels at nside 16384 are 13 GB as a whole sky."""
    import subprocess

    pixels = [5, 12 * 16384**2 - 1]
    path = maps.write_map(tmp_path / "a.fits", np.array([1.0, 3.0], "f4"), pixels=pixels, nside=16384, order="NESTED")
    done = subprocess.run([sys.executable, "-c", LITTLE, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 3.0" in done.stdout
    assert "1024 3.0" in done.stdout


@pytest.mark.parametrize("children", [4, 64, 4096])
def test_means_of_partial_maps_are_those_of_the_whole_sky(tmp_path, children):
    nside, rng = 64, np.random.default_rng(children)
    low = nside // int(children**0.5)
    pixels = rng.choice(12 * nside**2, 3000, replace=False)
    values = rng.standard_normal(3000).astype("f4")
    values[::50], values[1::50] = maps.UNSEEN, np.nan
    sky = np.full(12 * nside**2, maps.UNSEEN, "f4")
    sky[pixels] = values
    whole = maps.write_map(tmp_path / "whole.fits", sky, order="NESTED")
    partial = maps.write_map(tmp_path / "partial.fits", values, pixels=pixels, nside=nside, order="NESTED")
    for order in ("RING", "NESTED"):
        expected = maps.read_map(whole, nside=low, order=order).value
        np.testing.assert_array_equal(maps.read_map(partial, nside=low, order=order).value, expected)
        some = rng.integers(0, 12 * low**2, 20)
        got = maps.read_map(partial, nside=low, order=order, pixels=some).value
        np.testing.assert_array_equal(got, expected[some])


# -- headers ----------------------------------------------------------------------------------------------------------


def test_cards_that_are_not_ascii(tmp_path):
    path = table(tmp_path / "a.fits")
    change(path, (b"'T       '           ", b"'T       ' / \xe9toile  "))
    with pytest.warns(UserWarning, match="non-ASCII"):
        found = maps.header(path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = repr(fits.getheader(path, 1))
        assert maps.read_map(path).value[5] == 5
    assert repr(found) == expected


def test_hdus_behind_random_groups(tmp_path):
    groups = fits.GroupsHDU(
        fits.GroupData(np.zeros((200, 1, 3, 5), "f4"), parnames=["UU"], pardata=[np.zeros(200)], bitpix=-32)
    )
    hdu = fits.BinTableHDU.from_columns([column()])
    hdu.header.update(HEALPIX)
    fits.HDUList([groups, hdu]).writeto(tmp_path / "a.fits")
    assert maps.read_map(tmp_path / "a.fits").value[5] == 5
    assert maps.header(tmp_path / "a.fits")["NSIDE"] == 1


def test_an_end_card_that_nulls_follow(tmp_path):
    path = table(tmp_path / "a.fits")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"END" + b" " * 77, 2880)
    stop = -(-at // 2880) * 2880
    raw[at + 3 : stop] = bytes(stop - at - 3)
    path.write_bytes(raw)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert maps.read_map(path).value[5] == 5
    assert any("END" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("hdu", [[1], 1.5, {}, object()])
def test_an_hdu_that_is_neither_a_number_nor_a_name(tmp_path, hdu):
    path = table(tmp_path / "a.fits")
    for read in (maps.read_map, maps.header, maps.read_partial):
        with pytest.raises(MapError, match="hdu=.* is neither a number nor a name"):
            read(path, hdu=hdu)
    assert maps.read_map(path, hdu=np.int64(1)).shape == (12,)


@pytest.mark.parametrize(
    "columns",
    [
        [column("T"), column("NAME", "4A", ["abcd"] * 12)],
        [column("NAME", "4A", ["abcd"] * 12), column("T")],
        [column("T"), column("FLAGS", "8X", np.zeros((12, 8), bool))],
        [column("T"), column("LIST", "PE()", np.array([np.zeros(k) for k in range(12)], object))],
        [column("MAPS", unit="K"), column("CLASS", unit="s"), column("a b", unit="ZORKMID")],
        [column("T", unit="ZORKMID")],
        [column("T", unit="K"), column("Q")],
    ],
)
def test_the_lines_that_info_gives_run(tmp_path, columns):
    path = table(tmp_path / "a.fits", *columns)
    text = maps.info(path)
    code = text[text.index("load it with") + len("load it with") :]
    found: dict[str, object] = {}
    exec("\n".join(line.strip() for line in code.splitlines()), found)
    values = [value for value in found.values() if isinstance(value, u.Quantity)]
    assert values
    assert all(value.shape[-1] == 12 for value in values)


def test_pixel_numbers_that_are_logical_values(tmp_path):
    cards = HEALPIX | {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}
    path = table(tmp_path / "a.fits", column("PIXEL", "L", np.ones(12, bool)), column(), **cards)
    with pytest.raises(MapError, match="'PIXEL'.*logical"):
        maps.read_map(path)


def test_pixel_numbers_without_values(tmp_path):
    path = table(tmp_path / "a.fits", column("PIXEL", "J"), **HEALPIX | {"INDXSCHM": "EXPLICIT"})
    with pytest.raises(MapError, match="no column of values"):
        maps.read_map(path)


def test_a_null_value_that_is_no_integer(tmp_path):
    path = table(tmp_path / "a.fits", column("T", "J"), **HEALPIX, TNULL1=3.0)
    assert maps.read_map(path).value[3] == maps.UNSEEN
    path = table(tmp_path / "b.fits", column("T", "J"), **HEALPIX, TNULL1="none")
    with pytest.raises(MapError, match="TNULL1='none' is not a number"):
        maps.read_map(path)
    image = fits.ImageHDU(np.arange(12, dtype="i2"), fits.Header({"BLANC": 3.0} | HEALPIX))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "c.fits")
    assert maps.read_map(change(tmp_path / "c.fits", (b"BLANC", b"BLANK"))).value[3] == maps.UNSEEN


def test_a_damaged_header_behind_the_map_does_not_hide_it(tmp_path):
    path = table(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes() + b"XTENSION= 'IMAGE")
    text = maps.info(path)
    assert "HDU 2: the file is truncated" in text and "HEALPix map in HDU 1" in text
    assert maps.read_map(path).value[5] == 5


def test_the_lines_that_info_gives_have_a_name_for_each_field(tmp_path):
    path = table(tmp_path / "a.fits", column("a b", unit="K"), column("a-b", unit="s"))
    lines = [line.strip() for line in maps.info(path).splitlines() if "read_map" in line]
    found: dict[str, object] = {"maps": maps}
    exec("\n".join(lines), found)
    assert (found["a_b"].unit, found["field_1"].unit) == (u.K, u.s)
