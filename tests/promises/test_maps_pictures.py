"""Pictures and descriptions of files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from dataferry import maps
from dataferry.errors import MapError, MissingExtra

UNSEEN = -1.6375e30


def picture(path) -> np.ndarray:
    import matplotlib.image

    return matplotlib.image.imread(path)


def test_a_map_has_a_panel_a_field_and_grey_where_it_has_no_data(tmp_path):
    pytest.importorskip("matplotlib")
    sky = np.random.default_rng(0).uniform(1, 2, (3, 768))
    sky[:, :300] = UNSEEN
    path = maps.write_map(tmp_path / "a.fits", sky, unit="uK_CMB")
    figure = maps.draw(path)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"]
    assert [axes.get_xlabel() for axes in figure.axes if axes not in panels] == ["uK_CMB"] * 3
    rgba = panels[0].images[0].get_array()
    assert (rgba[rgba.shape[0] * 9 // 10, rgba.shape[1] // 2] == (0.5, 0.5, 0.5, 1)).all()
    assert rgba[0, 0, 3] == 0
    del figure, panels, rgba  # 100 MB
    made = maps.show(path, tmp_path / "a.png")
    assert picture(made).shape[2] == 4


def test_without_a_place_the_picture_is_beside_one(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    maps.write_map("deep/sky.fits", np.arange(48.0))
    assert str(maps.show("deep/sky.fits", field=0)) == "sky.png"
    assert (tmp_path / "sky.png").stat().st_size > 1000


def test_a_picture_that_is_there_is_left(tmp_path, monkeypatch, command):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    path = maps.write_map("sky.fits", np.arange(12.0))
    (tmp_path / "sky.png").write_text("precious")
    with pytest.raises(MapError, match=r"sky\.png: is there already.*output="):
        maps.show(path)
    told = command("show", "sky.fits")
    assert told.exit_code == 1 and "-o" in told.stderr
    assert (tmp_path / "sky.png").read_text() == "precious"
    assert command("show", "sky.fits", "-o", "sky.png").exit_code == 0
    assert picture(tmp_path / "sky.png").size


def assert_pictures(tmp_path, values):
    """768 numbers have a picture, as a map and as an image."""
    path = maps.write_map(tmp_path / "a.fits", values)
    assert picture(maps.show(path, tmp_path / "a.png")).size
    fits.PrimaryHDU(values.reshape(24, 32)).writeto(tmp_path / "b.fits")
    assert picture(maps.show(tmp_path / "b.fits", tmp_path / "b.png")).size


@pytest.mark.parametrize("low", [0.0, 1e30, 1e308, np.inf])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_any_numbers_have_a_picture(tmp_path, low, spread):
    pytest.importorskip("matplotlib")
    with np.errstate(invalid="ignore"):
        values = low * np.linspace(1 - spread, 1 + spread / 2, 768)
    assert_pictures(tmp_path, values)


def test_numbers_from_end_to_end_have_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    values = np.linspace(-1, 1, 768) * np.finfo("f8").max
    assert_pictures(tmp_path, values)


def test_a_unit_that_nobody_knows_and_a_column_of_text(tmp_path):
    pytest.importorskip("matplotlib")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("T", "E", array=np.arange(768), unit="ZORKMID"),
            fits.Column("NAME", "4A", array=["abcd"] * 768),
            fits.Column("N", "J", array=np.arange(768), unit="K, s"),
        ]
    )
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 8})
    table.writeto(tmp_path / "a.fits")
    figure = maps.draw(tmp_path / "a.fits")
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["T", "N"]
    assert [axes.get_xlabel() for axes in figure.axes if not axes.get_title()] == ["ZORKMID", "K, s"]
    with pytest.raises(MapError, match="NAME"):
        maps.draw(tmp_path / "a.fits", field="NAME")


def test_an_image_and_a_table(tmp_path):
    pytest.importorskip("matplotlib")
    image = np.random.default_rng(0).standard_normal((2, 50, 3000)).astype("f4")
    image[0, 3, 3] = np.nan
    fits.PrimaryHDU(image).writeto(tmp_path / "image.fits")
    assert maps.show(tmp_path / "image.fits", tmp_path / "image.pdf").read_bytes().startswith(b"%PDF")
    Table({"ra": [1.0, 2.0] * u.deg, "name": ["a", "b"]}).write(tmp_path / "table.fits")
    summary = maps.show(tmp_path / "table.fits", tmp_path / "table.png")
    assert "column 0 'ra'" in summary
    assert "deg" in summary


def test_errors(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = maps.write_map(tmp_path / "a.fits", np.arange(12.0))
    with pytest.raises(MapError, match="picture cannot be written"):
        maps.show(path, tmp_path / "a.banana")
    with pytest.raises(MapError, match="there is no field"):
        maps.show(path, tmp_path / "a.png", field=3)
    (tmp_path / "b.fits").write_bytes(b"nothing")
    with pytest.raises(MapError, match="not a FITS file"):
        maps.show(tmp_path / "b.fits")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"dataferry\[maps\]"):
        maps.show(path)


def test_info_says_how_to_load(tmp_path):
    sky = np.ones((3, 768), "f4")
    sky[0, :192] = UNSEEN
    path = maps.write_map(tmp_path / "a.fits", sky, order="NESTED", unit="uK_CMB", header={"COORDSYS": "G"})
    text = maps.info(path)
    for words in (
        "HDU 1  BINTABLE",
        "column 0 'TEMPERATURE'",
        "uK_CMB",
        "NSIDE 8, NESTED, 3 fields",
        "coordinates G",
        "coverage 75.00% of the sky",
    ):
        assert words in text
    line = next(line for line in text.splitlines() if "read_map" in line)
    found: dict[str, object] = {"maps": maps}
    exec(line.strip(), found)
    assert found["m"].shape == (3, 768)


def test_info_of_other_files(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(tmp_path / "image.fits")
    text = maps.info(tmp_path / "image.fits")
    assert "HDU 0  PRIMARY  3 x 4" in text
    assert "no HEALPix map" in text
    partial = maps.write_map(tmp_path / "p.fits", np.ones(96), pixels=np.arange(96), nside=8)
    assert "12.50% of the sky, stored as pixel numbers" in maps.info(partial)
    with pytest.raises(MapError, match=r"nothing\.fits"):
        maps.info(tmp_path / "nothing.fits")


def test_hdf5_files_that_are_no_single_map(need, tmp_path):
    h5py = need.module("h5py")
    need.module("matplotlib")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made["one"] = np.zeros(768)
        made["two"] = np.zeros(768)
    assert f"h5py.File({str(path)!r})" in maps.info(path)
    assert "fits" not in maps.info(path)
    with pytest.raises(MapError, match="several datasets may be the map"):
        maps.draw(path)
    assert maps.draw(path, hdu="two") is not None


def test_cutouts_of_a_disk(tmp_path):
    cube = np.random.default_rng(0).standard_normal((4, 30, 40)).astype("f4")
    fits.PrimaryHDU(cube).writeto(tmp_path / "a.fits")
    for section in ((slice(1, 3), slice(5, 9), slice(0, 40)), slice(2, 4), (slice(0, 4), slice(7, 8), slice(3, 5)), ()):
        got = maps.cutout(tmp_path / "a.fits", section).value
        np.testing.assert_array_equal(got, cube[section])
        assert got.dtype.isnative
    for section in (slice(2, 9), slice(3, 3), slice(0, 4, 2), [slice(0, 1)] * 4):
        with pytest.raises(MapError, match="section"):
            maps.cutout(tmp_path / "a.fits", section)


def test_random_groups_are_no_picture(tmp_path):
    groups = fits.GroupData(np.zeros((3, 1, 4, 5), "f4"), bitpix=-32, parnames=["u"], pardata=[np.zeros(3, "f4")])
    fits.GroupsHDU(groups).writeto(tmp_path / "groups.fits")
    with pytest.raises(MapError, match=r"groups.fits.*no HDU holds a HEALPix map"):
        maps.show(tmp_path / "groups.fits", tmp_path / "groups.png")
