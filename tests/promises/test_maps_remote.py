"""Maps read in part from a server, byte by byte counted."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError
from dataferry.hosts.base import Source
from dataferry.testing import ChangingETag, Cut, GzipEncoding, IgnoresRange, OtherRange, RangeServer, Status

NSIDE = 128
NPIX = 12 * NSIDE**2


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, NPIX)).astype("f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sky):
    folder = tmp_path_factory.mktemp("served")
    maps.write_map(folder / "ring.fits", sky, unit="uK_CMB")
    maps.write_map(folder / "nested.fits", sky, order="NESTED")
    maps.write_map(folder / "partial.fits", sky[0, 500:900], pixels=np.arange(500, 900), nside=NSIDE)
    image = np.arange(600 * 800, dtype="i2").reshape(600, 800)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(folder / "image.fits")
    (folder / "empty.fits").write_bytes(b"")
    (folder / "page.fits").write_bytes(b"<html>" + bytes(20000))
    return folder


@pytest.fixture
def server(folder):
    with RangeServer(folder) as running:
        yield running


def test_a_header_moves_little(server):
    header = maps.header(server.url_of("ring.fits"), remote=True)
    assert header["NSIDE"] == NSIDE
    assert header.verified is False
    assert header.moved_bytes == sum(request.sent for request in server.requests) <= 16384


def test_header_and_one_row_move_less_than_64_kilobytes(server, sky):
    got = maps.read_map(server.url_of("ring.fits"), None, pixels=[100_000], remote=True)
    np.testing.assert_array_equal(got.value[:, 0], sky[:, 100_000])
    assert got.unit.is_equivalent(maps.K_CMB)
    assert got.info.meta["verified"] is False
    assert got.info.meta["moved_bytes"] == sum(request.sent for request in server.requests) <= 65536


@pytest.mark.parametrize("order", ["RING", "NESTED"])
@pytest.mark.parametrize("name", ["ring.fits", "nested.fits"])
def test_pieces_and_wholes_are_what_they_are_on_a_disk(server, folder, name, order):
    url = server.url_of(name)
    for options in ({"pixels": range(7000, 7500)}, {"pixels": [190_000, 3, 77_777]}, {}, {"nside": 32}):
        got = maps.read_map(url, (0, 2), order=order, remote=True, **options)
        here = maps.read_map(folder / name, (0, 2), order=order, **options)
        np.testing.assert_array_equal(got.value, here.value)
    piece = maps.read_map(url, pixels=range(7000, 7500), order=order, remote=True)
    assert piece.info.meta["moved_bytes"] < (folder / name).stat().st_size / 4


def test_partial_map(server, sky):
    pixels, values = maps.read_partial(server.url_of("partial.fits"), remote=True)
    np.testing.assert_array_equal(pixels, np.arange(500, 900))
    np.testing.assert_array_equal(values.value, sky[0, 500:900])
    assert values.info.meta["moved_bytes"] > 0


def test_cutout_of_an_image(server):
    url = server.url_of("image.fits")
    got = maps.cutout(url, (slice(10, 12), slice(700, 800)), remote=True)
    np.testing.assert_array_equal(got.value, np.arange(600 * 800, dtype="i2").reshape(600, 800)[10:12, 700:800])
    assert got.value.dtype == np.dtype("i2")
    assert got.info.meta["moved_bytes"] < 40_000
    assert (
        maps.cutout(url, slice(599, 600), "SCI", remote=True).value == np.arange(599 * 800, 600 * 800).astype("i2")
    ).all()


def test_a_hosts_source_with_headers(folder, sky):
    with RangeServer(folder, bearer="word") as server:
        source = Source(server.url_of("ring.fits"), server.url, {"Authorization": "Bearer word"})
        assert maps.read_map(source, pixels=[5], remote=True).value[0] == sky[0, 5]
        with pytest.raises(MapError, match="401"):
            maps.read_map(server.url_of("ring.fits"), pixels=[5], remote=True)


def test_a_server_that_ignores_ranges_is_not_read_to_its_end(server):
    server.fault("ring.fits", IgnoresRange())
    with pytest.raises(MapError, match=r"ignores byte ranges; fetch the file whole"):
        maps.read_map(server.url_of("ring.fits"), pixels=[5], remote=True)


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("ring.fits", Status(404), "404"),
        ("ring.fits", Status(403), "403"),
        ("ring.fits", OtherRange(), "range"),
        ("ring.fits", GzipEncoding("stored"), "Content-Encoding: gzip"),
        ("ring.fits", GzipEncoding("label"), "Content-Encoding: gzip"),
        ("ring.fits", GzipEncoding("on-the-fly"), "ignores byte ranges"),
        ("empty.fits", None, "empty"),
        ("page.fits", None, "web page"),
    ],
)
def test_other_answers(server, name, fault, said):
    if fault is not None:
        server.fault(name, fault)
    url = server.url_of(name)
    with pytest.raises(MapError, match=said) as caught:
        maps.read_map(url, pixels=[5], remote=True)
    assert url in str(caught.value)


def test_a_broken_connection_is_tried_again(server, sky):
    server.fault("ring.fits", Cut(after=1000), first=2)
    assert maps.read_map(server.url_of("ring.fits"), pixels=[5], remote=True).value[0] == sky[0, 5]


def test_a_file_that_changes_meanwhile(server):
    server.fault("ring.fits", ChangingETag())
    with pytest.raises(MapError, match="changed"):
        maps.read_map(server.url_of("ring.fits"), pixels=[100_000, 190_000], remote=True)


def test_no_server():
    with pytest.raises(MapError, match="not reached"):
        maps.read_map("http://127.0.0.1:9/ring.fits", pixels=[5], remote=True)


def test_credentials_and_signatures_are_not_shown():
    with pytest.raises(MapError) as caught:
        maps.header("http://user:secret@127.0.0.1:9/ring.fits?sig=hidden", remote=True)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["ring.fits", "partial.fits"])
def test_a_list_of_pixels_counts_all_that_moved(server, folder, name):
    pixels, values = maps.read_partial(server.url_of(name), remote=True)
    expected = maps.read_partial(folder / name)
    np.testing.assert_array_equal(pixels, expected[0])
    np.testing.assert_array_equal(values.value, expected[1].value)
    assert values.info.meta["verified"] is False
    assert values.info.meta["moved_bytes"] == sum(request.sent for request in server.requests)
    starts = [request.range for request in server.requests if request.range and request.range.startswith("bytes=0-")]
    assert len(starts) == 1


def test_info_of_a_remote_map(server):
    text = maps.info(server.url_of("ring.fits"), remote=True)
    assert "NSIDE 128, RING, 3 fields" in text
    assert "remote=True" in text
    assert sum(request.sent for request in server.requests) < 65536


def test_an_empty_file_that_is_sent_whole(server):
    server.fault("empty.fits", IgnoresRange())
    with pytest.raises(MapError, match="is empty"):
        maps.read_map(server.url_of("empty.fits"), remote=True)


def test_a_scheme_in_upper_case(server, sky):
    url = server.url_of("ring.fits").replace("http", "HTTP")
    assert maps.read_map(url, pixels=[7], remote=True).value == sky[0, 7]


def test_info_of_a_remote_file_that_is_no_map_opens_nothing(server):
    text = maps.info(server.url_of("image.fits"), remote=True)
    assert "no HEALPix map" in text and "fits.open" not in text
