"""Files packed as a whole: unpacked as far as they are read, in little memory, and what cannot be unpacked is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError
from dataferry.testing import RangeServer

PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    sky = np.random.default_rng(0).standard_normal((2, 12 * 32**2)).astype("f4")
    return maps.write_map(tmp_path / "a.fits", sky, unit="mK")


@pytest.mark.parametrize("kind", PACK)
def test_all_that_is_read_of_a_packed_file(tmp_path, plain, kind):
    path = tmp_path / f"a.fits.{kind}"
    path.write_bytes(PACK[kind](plain.read_bytes()))
    for options in ({}, {"order": "NESTED"}, {"pixels": [7, 9000, 3]}, {"nside": 4}, {"pixels": slice(50, 500)}):
        expected = maps.read_map(plain, None, **options)
        np.testing.assert_array_equal(maps.read_map(path, None, **options).value, expected.value)
    assert repr(maps.header(path)) == repr(maps.header(plain))
    assert maps.info(path).splitlines()[1:-1] == maps.info(plain).splitlines()[1:-1]


@pytest.mark.parametrize("kind", PACK)
def test_several_members_and_junk_behind_the_last(tmp_path, plain, kind):
    whole = plain.read_bytes()
    path = tmp_path / f"a.fits.{kind}"
    for junk in (b"", b"\0" * 512, b"<!-- served by a portal -->", b"\x1f"):
        path.write_bytes(PACK[kind](whole[:7777]) + PACK[kind](whole[7777:]) + junk)
        np.testing.assert_array_equal(maps.read_map(path, None).value, maps.read_map(plain, None).value)


@pytest.mark.parametrize("kind", PACK)
def test_a_packed_file_that_is_cut_or_damaged(tmp_path, plain, kind):
    path = tmp_path / f"a.fits.{kind}"
    packed = PACK[kind](plain.read_bytes())
    for content in (packed[:-4], packed[: len(packed) // 2], packed[:5000] + b"damaged" + packed[5007:]):
        path.write_bytes(content)
        with pytest.raises(MapError, match="does not decompress"):
            maps.read_map(path)


MEMORY = """
import resource, sys
from dataferry import maps
maps.header(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))
print(maps.header(sys.argv[1], 0)["NAXIS2"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS sets no limit of memory")
def test_the_header_of_a_packed_file_that_is_larger_than_memory(tmp_path, plain):
    path = tmp_path / "large.fits.gz"
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 1 << 20, "NAXIS2": 3072})
    path.write_bytes(gzip.compress(header.tostring().encode()) + 192 * gzip.compress(bytes(1 << 24)))  # 3 GB
    done = subprocess.run([sys.executable, "-c", MEMORY, str(path), str(plain)], capture_output=True, text=True)
    assert done.stdout.split() == ["3072"], done.stderr


@pytest.mark.parametrize(
    ("first", "words"),
    [(b"\x1f\x9d\x90", "gunzip"), (b"\x28\xb5\x2f\xfd", "zstandard.*unzstd"), (b"PK\x03\x04", "zip.*unzip")],
)
def test_packed_in_a_way_that_is_not_read(tmp_path, first, words):
    path = tmp_path / "a.fits.packed"
    path.write_bytes(first + bytes(10000))
    for read in (maps.read_map, maps.header, maps.info):
        with pytest.raises(MapError, match=f"a.fits.packed: is packed with .*{words}"):
            read(path)


def test_a_zip_archive(tmp_path, plain):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(plain, "a.fits")
    with pytest.raises(MapError, match="unzip"):
        maps.read_map(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", PACK)
def test_a_packed_file_at_a_server(tmp_path, plain, kind):
    (tmp_path / f"b.fits.{kind}").write_bytes(PACK[kind](plain.read_bytes()))
    with RangeServer(tmp_path) as server:
        for read in (maps.read_map, maps.header, maps.info):
            with pytest.raises(MapError, match="is packed with .*fetch it whole"):
                read(server.url_of(f"b.fits.{kind}"), remote=True)


def test_a_map_is_written_packed(tmp_path, plain):
    sky = maps.read_map(plain, None)
    path = maps.write_map(tmp_path / "new.fits.gz", sky, order="NESTED")
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    with fits.open(path, checksum=True) as opened:
        opened.verify("exception")
        assert opened[1].verify_datasum() == opened[1].verify_checksum() == 1
    np.testing.assert_array_equal(maps.read_map(path, None, order="file").value, sky.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits", "new.fits.gz"]


@pytest.mark.parametrize(("suffix", "first"), [(".bz2", b"BZh"), (".xz", b"\xfd7zXZ")])
def test_a_map_is_written_packed_as_its_name_says(tmp_path, suffix, first):
    path = maps.write_map(tmp_path / f"a.fits{suffix}", np.arange(12.0))
    assert path.read_bytes().startswith(first)
    np.testing.assert_array_equal(maps.read_map(path).value, np.arange(12))
    np.testing.assert_array_equal(fits.getdata(path)["TEMPERATURE"], np.arange(12))


@pytest.mark.parametrize("name", ["a.fits.zip", "a.fits.Z", "a.fits.zst", "a.h5", "a.hdf5"])
def test_a_map_is_not_written_under_the_name_of_another_format(tmp_path, name):
    with pytest.raises(MapError, match="written as FITS"):
        maps.write_map(tmp_path / name, np.arange(12.0))
    assert not any(tmp_path.iterdir())
