"""Make the data files of mypkg: a sky map at two resolutions and a table of bands.

The bytes are the same on every machine: random numbers come from SHAKE-128, and only operations that IEEE 754 rounds
exactly are used.

    python tools/make_data.py <folder>            # what goes to the hosts and what is bundled
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

BANDS = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: band, datatype: string}
# - {name: center_frequency, unit: GHz, datatype: float64, description: Center of the bandpass}
# - {name: fwhm, unit: arcmin, datatype: float64, description: Full width of the beam at half maximum}
# schema: astropy-2.0
band center_frequency fwhm
LF1 27.0 91.0
LF2 39.0 63.0
MF1 93.0 30.0
MF2 145.0 17.0
HF1 225.0 11.0
HF2 280.0 9.0
"""


def noise(label: str, count: int) -> np.ndarray:
    """Uniform numbers in [-1, 1) that depend on the label only, shape (count,)."""
    integers = np.frombuffer(hashlib.shake_128(label.encode()).digest(4 * count), dtype="<u4")
    return integers / 2.0**31 - 1.0


def cascade(label: str, nside: int, strength: float) -> np.ndarray:
    """A field with structure on all scales, shape (12 nside**2,), NESTED.

    In NESTED order the four pixels below pixel p are 4 p ... 4 p + 3, so a finer map is its parent and a bit more.
    """
    order = nside.bit_length() - 1
    field = noise(f"{label} 0", 12)
    for level in range(1, order + 1):
        field = np.repeat(field, 4) + strength**level * noise(f"{label} {level}", 12 * 4**level)
    return field


def sine_of_latitude(nside: int) -> np.ndarray:
    """The z of the pixel centers, shape (12 nside**2,), NESTED."""
    pixel = np.arange(12 * nside**2)
    face, within = pixel // nside**2, pixel % nside**2
    x, y = np.zeros_like(pixel), np.zeros_like(pixel)
    for bit in range(nside.bit_length() - 1):
        x |= (within >> (2 * bit) & 1) << bit
        y |= (within >> (2 * bit + 1) & 1) << bit
    ring = (face // 4 + 2) * nside - x - y - 1
    north = 1 - ring**2 / (3 * nside**2)
    south = (4 * nside - ring) ** 2 / (3 * nside**2) - 1
    belt = (2 * nside - ring) * 2 / (3 * nside)
    return np.select([ring < nside, ring > 3 * nside], [north, south], belt)


def dust(nside: int) -> list[np.ndarray]:
    """I, Q and U of a dusty sky in MJy/sr, each of shape (12 nside**2,), NESTED."""
    height = sine_of_latitude(nside) / 0.12
    density = 2.5 + cascade("density", nside, 0.7)
    intensity = 0.2 * density * density * (0.02 + 1 / (1 + height * height))
    return [intensity, 0.08 * intensity * cascade("Q", nside, 0.7), 0.08 * intensity * cascade("U", nside, 0.7)]


def write_map(path: Path, fields: list[np.ndarray], nside: int) -> None:
    """Write a HEALPix map with one column for each field."""
    columns = [
        fits.Column(name, "E", unit="MJy/sr", array=field.astype(np.float32))
        for name, field in zip(["I_STOKES", "Q_STOKES", "U_STOKES"], fields, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns, name="DUST")
    table.header["PIXTYPE"] = "HEALPIX"
    table.header["ORDERING"] = "NESTED"
    table.header["COORDSYS"] = "G"
    table.header["NSIDE"] = nside
    table.header["FIRSTPIX"] = 0
    table.header["LASTPIX"] = 12 * nside**2 - 1
    table.header["INDXSCHM"] = "IMPLICIT"
    table.header["POLCCONV"] = "COSMO"
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def main(folder: Path) -> None:
    """Write all files below a folder."""
    for nside in 16, 64, 128:
        write_map(folder / "maps" / f"dust_{nside:03}.fits", dust(nside), nside)
    (folder / "bands.ecsv").write_text(BANDS, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
