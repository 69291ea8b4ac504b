"""healpy's pixel weights and windows: ``astropy.utils.data`` with a mirror, and no registry."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

SPHERE = "sphtfunc.py"
MAKE = """
import healpy as hp, numpy as np
from astropy.io import fits
from pathlib import Path
for folder in ("full_weights", "pixel_window_functions"):
    Path(folder).mkdir()
for nside in (8, 16, 32, 64, 128):
    weights = np.zeros((nside + 1) * (3 * nside + 1) // 4)
    table = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED PIXEL WEIGHTS", "D", array=weights)])
    table.header["NSIDE"], table.header["SCHEME"] = nside, "RING"
    table.writeto(f"full_weights/healpix_full_weights_nside_{nside:04d}.fits")
    window = np.exp(-np.arange(4 * nside + 1) / nside / 9)
    windows = [fits.Column(name, "D", array=window) for name in ("TEMPERATURE", "POLARIZATION")]
    fits.BinTableHDU.from_columns(windows).writeto(f"pixel_window_functions/pixel_window_n{nside:04d}.fits")
"""
CALL = """get_data_filename(
{indent}    filename, package="healpy", dataurl=DATAURL{mirror}, timeout=30
{indent})
"""
MIRROR = ", mirror=DATAURL_MIRROR"


def call(indent: int, mirror: str = MIRROR) -> str:
    return CALL.format(indent=" " * indent, mirror=mirror)


def stand_in(tree: Tree, url: str) -> Files:
    tree.replace(SPHERE, "https://healpy.github.io/", url)
    tree.replace(SPHERE, "https://github.com/healpy/healpy-data/releases/", f"{url}releases/")
    return {f"healpy-data/{name}": content for name, content in tree.make(MAKE).items()}


def port(tree: Tree, url: str) -> None:
    tree.replace(SPHERE, "from astropy.utils import data\n", "from dataferry import get_data_filename\n")
    weights = '                with data.conf.set_temp("dataurl", DATAURL), data.conf.set_temp('
    tree.replace_lines(SPHERE, weights, "                    )", "                pixel_weights_filename = " + call(16))
    tree.replace_lines(
        SPHERE, "            with data.conf.set_temp", "                data.get_pkg", " " * 12 + call(12)
    )
    windows = "            fname = data.get_pkg_data_filename"
    tree.replace_lines(SPHERE, "        with (", windows, "        fname = " + call(8, mirror=""))


PORT = Port(
    title="healpy 1.20 weights",
    requirement="healpy==1.20.*",
    package="healpy",
    tests=("test/test_pixelweights.py", "test/test_pixel_windows.py", "test/test_harmonic_ud_grade.py"),
    imports="import healpy",
    first="healpy.pixwin(32)",
    stand_in=stand_in,
    port=port,
)
