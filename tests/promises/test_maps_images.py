"""Sections of images as numpy takes them, tiles of packed images, and plots of what is no map."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError
from dataferry.testing import RangeServer

CUBE = np.random.default_rng(0).standard_normal((4, 30, 40)).astype("f4")


@pytest.mark.parametrize(
    "section",
    [
        2,
        -1,
        np.int64(1),
        (1, slice(3, 9)),
        (slice(0, 2), 5, -40),
        ...,
        (..., 7),
        (1, ..., slice(2, 5)),
        None,
        (None, 1),
        (slice(1, 3), None, ..., 4),
        (slice(-3, -1), slice(None), slice(5, None)),
        (),
    ],
)
def test_sections_are_numpys(tmp_path, section):
    fits.PrimaryHDU(CUBE).writeto(tmp_path / "a.fits")
    got = maps.cutout(tmp_path / "a.fits", section).value
    np.testing.assert_array_equal(got, CUBE[section])


@pytest.mark.parametrize("section", [4, -5, (0, 30), (0, 0, 0, 0), (..., ...), 1.5, "x", (slice(0, 9, 3),), [[0, 1]]])
def test_sections_outside_the_image(tmp_path, section):
    fits.PrimaryHDU(CUBE).writeto(tmp_path / "a.fits")
    with pytest.raises(MapError, match="section"):
        maps.cutout(tmp_path / "a.fits", section)


@pytest.mark.parametrize("codec", ["GZIP_1", "RICE_1", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("section", [(slice(30, 90), slice(100, 130)), 5, (..., 7), ()])
def test_sections_of_packed_images(tmp_path, codec, section):
    image = np.random.default_rng(1).integers(0, 500, (200, 150)).astype("i2")
    packed = fits.CompImageHDU(image, compression_type=codec, tile_shape=(50, 50))
    packed.header.update({"BUNIT": "mK", "BSCALE": 0.5, "BZERO": 10.0})
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as opened:
        expected = opened[1].data[section]
    got = maps.cutout(tmp_path / "a.fits", section)
    np.testing.assert_allclose(got.value, expected)
    assert got.unit == u.mK


def test_of_a_packed_image_only_the_tiles_that_are_wanted_move(tmp_path):
    image = np.random.default_rng(1).standard_normal((1000, 1000)).astype("f4")
    packed = fits.CompImageHDU(image, compression_type="GZIP_1", quantize_level=0.0, tile_shape=(100, 100))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "a.fits")
    with RangeServer(tmp_path) as server:
        got = maps.cutout(server.url_of("a.fits"), (slice(310, 320), slice(450, 520)), remote=True)
        moved = sum(request.sent for request in server.requests)
    np.testing.assert_array_equal(got.value, image[310:320, 450:520])
    assert got.info.meta["moved_bytes"] == moved < (tmp_path / "a.fits").stat().st_size / 4


def test_a_damaged_tile(tmp_path):
    image = np.random.default_rng(1).integers(0, 500, (100, 100)).astype("i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="GZIP_1")]).writeto(tmp_path / "a.fits")
    raw = bytearray((tmp_path / "a.fits").read_bytes())
    raw[-15000:-3000] = bytes(12000)
    (tmp_path / "a.fits").write_bytes(raw)
    with pytest.raises(MapError, match="tiles do not unpack"):
        maps.cutout(tmp_path / "a.fits", ())


def test_units_of_sections(tmp_path):
    hdu = fits.PrimaryHDU(np.arange(12, dtype="i2").reshape(3, 4))
    hdu.header["BUNIT"] = "ZORKMID"
    hdu.writeto(tmp_path / "a.fits")
    with pytest.raises(MapError, match="'ZORKMID' is no unit that astropy knows"):
        maps.cutout(tmp_path / "a.fits", 1)
    assert maps.cutout(tmp_path / "a.fits", 1, unit="K").unit == u.K
    fits.setval(tmp_path / "a.fits", "BUNIT", value="JY/BEAM")
    assert maps.cutout(tmp_path / "a.fits", 1).unit == u.Jy / u.beam
    got = maps.cutout(tmp_path / "a.fits", (1, 2), unit="mJy/beam")
    assert got.unit == u.mJy / u.beam
    assert got.value == 6000
    with pytest.raises(MapError, match="does not convert"):
        maps.cutout(tmp_path / "a.fits", 1, unit="K")


@pytest.mark.parametrize("nside", ["", 64])
@pytest.mark.parametrize("unit", ["JY/BEAM", "ZORKMID", "$x"])
def test_a_mollweide_image_with_keywords_of_healpix_is_drawn_as_an_image(tmp_path, nside, unit):
    pytest.importorskip("matplotlib")
    header = fits.Header({"PIXTYPE": "HEALPIX", "NSIDE": nside, "BUNIT": unit})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 8), "f4"), header)]).writeto(tmp_path / "a.fits")
    figure = maps.draw(tmp_path / "a.fits")
    assert figure.axes[0].images[0].get_array().shape == (4, 8)
    assert maps.show(tmp_path / "a.fits", tmp_path / "a.png").exists()


def test_a_packed_image_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    image = fits.CompImageHDU(np.arange(600.0).reshape(20, 30))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits")
    assert maps.draw(tmp_path / "a.fits").axes[0].images[0].get_array().shape == (20, 30)


def test_a_file_name_that_is_not_utf8(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    maps.write_map(tmp_path / "a.fits", np.arange(12.0))
    fits.PrimaryHDU(CUBE).writeto(tmp_path / "image.fits")
    for name, new in ((b"a.fits", b"st\xe9.fits"), (b"image.fits", b"im\xe9$x.fits")):
        os.rename(name, new)
        path = os.fsdecode(new)
        assert maps.show(path).exists()
        assert "HDU 0" in maps.info(path)
        assert maps.header(path) is not None


@pytest.mark.parametrize("section", [True, (np.True_,), (1, False)])
def test_a_section_of_booleans(tmp_path, section):
    fits.PrimaryHDU(np.zeros((4, 5))).writeto(tmp_path / "a.fits")
    with pytest.raises(MapError, match="section"):
        maps.cutout(tmp_path / "a.fits", section)
