"""Headers with random damage: whatever is read of such a file, the only exception is `MapError`."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dataferry import maps
from dataferry.errors import MapError

VALUES = [
    "0",
    "-1",
    "1",
    "7",
    "16",
    "99999999999",
    "T",
    "F",
    "''",
    "'NESTED'",
    "'3E'",
    "'K'",
    "1.5",
    "NaN",
    "(1,2)",
    "'\xe9'",
]
VALUES += ["", "'MAP", "= 5", "'1PE(3)'", "'HEALPIX'", "'EXPLICIT'", "1E400", "'8X'", "'0E'"]


def originals(folder: Path) -> list[bytes]:
    """A map, a partial map, an image and a tile-compressed image."""
    sky = np.arange(2 * 12 * 4**2, dtype="f4").reshape(2, -1)
    maps.write_map(folder / "whole.fits", sky, unit="mK", order="NESTED")
    maps.write_map(folder / "partial.fits", sky[0, :9], pixels=np.arange(9), nside=4)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky.reshape(16, 24), name="SCI")]).writeto(folder / "image.fits")
    packed = fits.CompImageHDU(sky.astype("i4").reshape(16, 24), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(folder / "packed.fits")
    return [path.read_bytes() for path in sorted(folder.glob("*.fits"))]


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to four cards with another value, keyword or place; bytes that are wrong; an end too early."""
    data = bytearray(raw)
    cards = [at for at in range(0, min(len(data), 5 * 2880), 80) if data[at + 8 : at + 10] == b"= "]
    for _ in range(rng.integers(1, 5)):
        at = int(rng.choice(cards))
        what = rng.integers(5)
        if what == 0:
            value = VALUES[rng.integers(len(VALUES))].encode("latin-1")
            data[at + 10 : at + 80] = value.rjust(20).ljust(70)[:70]
        elif what == 1:
            data[at : at + 80] = b" " * 80
        elif what == 2:
            data[at : at + 80] = data[(other := int(rng.choice(cards))) : other + 80]
        elif what == 3:
            data[at + rng.integers(80)] = rng.integers(256)
        else:
            data[at : at + 8] = bytes(data[at : at + 8]).lower()
    if rng.integers(10) == 0:
        del data[rng.integers(len(data)) :]
    return gzip.compress(bytes(data), 1) if rng.integers(10) == 0 else bytes(data)


def read_in_all_ways(path: Path) -> None:
    ways = [
        lambda: maps.read_map(path),
        lambda: maps.read_map(path, None, unit="K", order="NESTED", nside=2),
        lambda: maps.read_map(path, 0, pixels=[5, 3], dtype="i4", fill=0),
        lambda: maps.read_partial(path),
        lambda: maps.header(path),
        lambda: maps.cutout(path, (slice(0, 2),)),
        lambda: maps.info(path),
    ]
    for way in ways:
        try:
            way()
        except MapError as error:
            assert path.name in str(error)  # noqa: PT017


@pytest.mark.parametrize("count", [80, pytest.param(3000, marks=pytest.mark.nightly)])
def test_damaged_headers(tmp_path, count):
    (tmp_path / "good").mkdir()
    made = originals(tmp_path / "good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(count):
            path = tmp_path / f"{seed}.fits"
            path.write_bytes(damaged(made[seed % len(made)], np.random.default_rng(seed)))
            try:
                read_in_all_ways(path)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
            path.unlink()
