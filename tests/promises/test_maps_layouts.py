"""Maps of every layout, made at random, read as healpy reads them, to the bit."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataferry import maps

UNSEEN = -1.6375e30
CODES = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "u1": "B"}


@dataclass
class Made:
    """A map as it is put into a file."""

    nside: int
    nested: bool
    dtype: str
    fields: int
    per_row: int
    strange: bool
    partial: bool
    scaled: bool
    packed: bool
    seed: int
    said: bool = True

    def values(self, count: int, rng: np.random.Generator) -> np.ndarray:
        if self.dtype[0] != "f":
            limits = np.iinfo(self.dtype)
            return rng.integers(max(limits.min, -(2**40)), min(limits.max, 2**40), count).astype(self.dtype)
        values = rng.standard_normal(count).astype(self.dtype)
        if self.strange:
            where = rng.random(count)
            values[where < 0.2] = UNSEEN
            values[(where >= 0.2) & (where < 0.25)] = np.float64(UNSEEN) * (1 + 3e-6)
            values[(where >= 0.25) & (where < 0.3)] = np.nan
            values[(where >= 0.3) & (where < 0.33)] = np.inf
            values[(where >= 0.33) & (where < 0.36)] = -np.inf
            values[(where >= 0.36) & (where < 0.38)] = -0.0
            values[(where >= 0.38) & (where < 0.4)] = -1.7e30
        return values

    def write(self, folder: Path) -> Path:
        rng = np.random.default_rng(self.seed)
        npix = 12 * self.nside**2
        code, columns = CODES[self.dtype], []
        count, per_row = npix, self.per_row
        if self.partial:
            pixels = np.sort(rng.choice(npix, max(1, npix // 3), replace=False))
            count, per_row = pixels.size, 1
            columns.append(fits.Column("PIXEL", "J", array=pixels))
        for k in range(self.fields):
            values = self.values(count, rng)
            form = f"{per_row}{code}" if per_row > 1 else code
            values = values.reshape(-1, per_row) if per_row > 1 else values
            columns.append(fits.Column(f"F{k}", form, array=values, unit="mK"))
        table = fits.BinTableHDU.from_columns(columns)
        if self.said:
            table.header["ORDERING"] = "NESTED" if self.nested else "RING"
        table.header["PIXTYPE"] = "HEALPIX"
        table.header["NSIDE"] = self.nside
        table.header["INDXSCHM"] = "EXPLICIT" if self.partial else "IMPLICIT"
        path = folder / "made.fits"
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
        if self.scaled and self.dtype in ("i2", "i4", "f4", "f8"):
            # over what is stored: astropy would scale back
            last = self.fields + self.partial
            fits.setval(path, f"TSCAL{last}", value=0.25, ext=1)
            fits.setval(path, f"TZERO{last}", value=-3.5, ext=1)
        if self.packed:
            path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
            path = path.with_suffix(".fits.gz")
        return path


@st.composite
def made(draw: st.DrawFn) -> Made:
    nside = draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]))
    lengths = (1, 2, 3, 12, 48, 192, 1024, 12 * nside, 12 * nside**2)
    return Made(
        nside=nside,
        nested=draw(st.booleans()),
        dtype=draw(st.sampled_from(list(CODES))),
        fields=draw(st.integers(1, 4)),
        per_row=draw(st.sampled_from([n for n in lengths if 12 * nside**2 % n == 0])),
        strange=draw(st.booleans()),
        partial=draw(st.booleans()),
        scaled=draw(st.booleans()),
        packed=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    theirs = np.asarray(theirs)
    assert ours.dtype == theirs.dtype.newbyteorder("=")
    assert ours.dtype.isnative
    assert ours.shape == theirs.shape
    bits = f"u{ours.dtype.itemsize}"
    np.testing.assert_array_equal(ours.view(bits), theirs.astype(ours.dtype).view(bits))


anyhow = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@anyhow
@given(made=made(), nest=st.sampled_from([False, True, None]), data=st.data())
def test_every_layout_reads_as_healpy_reads_it(tmp_path, made, nest, data):
    hp = pytest.importorskip("healpy")
    path = made.write(tmp_path)
    order = {False: "RING", True: "NESTED", None: "file"}[nest]
    field = data.draw(st.integers(0, made.fields - 1))
    same_bits(maps.read_map(path, field, order=order).value, hp.read_map(path, field, nest=nest))
    dtype = data.draw(st.sampled_from(["f4", "f8"]))
    fields = tuple(range(made.fields))
    ours = maps.read_map(path, fields, order=order, dtype=dtype).value
    with np.errstate(over="ignore"):
        same_bits(ours, np.atleast_2d(hp.read_map(path, fields, nest=nest, dtype=np.dtype(dtype).type)))


@anyhow
@given(made=made(), other=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), nest=st.booleans())
def test_every_resolution_is_ud_grades(tmp_path, made, other, nest):
    hp = pytest.importorskip("healpy")
    made.scaled = made.scaled and made.dtype[0] == "f"
    path = made.write(tmp_path)
    theirs = hp.read_map(path, 0, nest=made.nested, dtype=None)
    theirs = theirs.astype(theirs.dtype.newbyteorder("="))
    if theirs.dtype.kind in "iu" and other < made.nside:
        theirs = theirs.astype("f8")  # healpy's means of integers are integers, and overflow
    pair = {True: "NESTED", False: "RING"}
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = hp.ud_grade(theirs, other, order_in=pair[made.nested], order_out=pair[nest])
    same_bits(maps.read_map(path, 0, nside=other, order=pair[nest]).value, theirs)


@anyhow
@given(made=made(), nest=st.booleans(), data=st.data())
def test_a_piece_of_the_sky_is_that_piece_of_the_map(tmp_path, made, nest, data):
    path = made.write(tmp_path)
    order = "NESTED" if nest else "RING"
    nside = data.draw(st.sampled_from([max(1, made.nside // 4), made.nside, min(256, made.nside * 2)]))
    whole = maps.read_map(path, None, order=order, nside=nside).value
    npix = whole.shape[1]
    rng = np.random.default_rng(made.seed)
    first = int(rng.integers(0, npix))
    for pixels in (
        slice(first, min(npix, first + npix // 10 + 1)),
        rng.integers(0, npix, 50),
        np.sort(rng.choice(npix, npix // 5, replace=False)),
        [],
        np.arange(npix - 1, -1, -1) if npix < 5000 else [npix - 1, 0],
    ):
        piece = maps.read_map(path, None, order=order, nside=nside, pixels=pixels).value
        np.testing.assert_array_equal(piece, whole[:, pixels if isinstance(pixels, slice) else np.asarray(pixels, int)])


@anyhow
@given(made=made(), nest=st.booleans())
def test_pixels_and_values_of_a_map(tmp_path, made, nest):
    path = made.write(tmp_path)
    order = "NESTED" if nest else "RING"
    pixels, values = maps.read_partial(path, order=order, dtype="f8")
    again = np.full(12 * made.nside**2, UNSEEN)
    again[pixels] = values.value
    np.testing.assert_array_equal(again, maps.read_map(path, order=order, dtype="f8").value)
