"""photutils' datasets: two servers, no hashes, and files that are bundled; its author registers a folder once."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

LOAD, TESTS = "datasets/load.py", "datasets/tests/test_load.py"
SERVER, MIRROR = "photometry/", "photutils-datasets/raw/main/data/"
MAKE = """\
import numpy as np
from astropy.io import fits

for name in ("irac_ch1_flight", "irac_ch2_flight", "M6707HH", "hst_wfc3ir_f160w_simulated_starfield"):
    fits.PrimaryHDU(np.ones((100, 100))).writeto(f"{name}.fits")
"""
NEW = """\
    if location not in {'local', 'remote', 'photutils-datasets'}:
        msg = f'Invalid location: {location}'
        raise ValueError(msg)
    return DATA.get(filename, progress=None if show_progress else False)
"""


def stand_in(tree: Tree, url: str) -> Files:
    for name in (LOAD, TESTS):
        tree.replace(name, "http://data.astropy.org/", url)
        tree.replace(name, "https://github.com/astropy/", url)
    files = tree.make(MAKE)
    for name, content in files.items():
        path = tree.site / "hosted" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return {f"{SERVER}{name}": content for name, content in files.items() if not name.startswith("hst")} | {
        f"{MIRROR}{name}": content for name, content in files.items()
    }


def port(tree: Tree, url: str) -> None:
    imports = "\nfrom dataferry import PackageData\n"
    tree.replace_lines(LOAD, "from urllib.error", "from urllib.error", "")
    tree.replace_lines(
        LOAD, "from astropy.utils.data", "                                is_url_in_cache", imports.lstrip()
    )
    tree.replace(LOAD, "\n\ndef _get_path(", "\nDATA = PackageData('photutils.datasets')\n\n\ndef _get_path(")
    tree.replace_lines(LOAD, "    datasets_url = (", "    return path", NEW)
    toml = tree.read("datasets/data/dataferry.toml")
    tree.write("datasets/data/dataferry.toml", toml.replace("strict =", f'mirrors = ["{url}{MIRROR}"]\nstrict ='))
    # what the tests patch is gone, and with it the choice of a server
    tree.replace_lines(TESTS, "def test_get_path_photutils_datasets", "            assert mock_dl.call_count == 2", "")
    tree.replace(TESTS, "from urllib.error import URLError\n", "")


PORT = Port(
    title="photutils 3.0 datasets",
    requirement="photutils==3.0.*",
    package="photutils",
    tests=("site:photutils/datasets/tests",),
    imports="from photutils.datasets import load",
    first="load.load_irac_psf(1)",
    stand_in=stand_in,
    commands=(
        ("add", "photutils.datasets", "photutils/datasets/data"),
        ("add", "photutils.datasets", "hosted", "--dataurl", f"{{url}}{SERVER}"),
    ),
    port=port,
    also=("pytest-astropy-header", "pytest-remotedata", "pytest-doctestplus", "scipy"),
)
