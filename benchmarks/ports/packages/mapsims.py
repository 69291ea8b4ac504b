"""mapsims: a class over ``astropy.utils.data``, as of pysm3 and so_pysm_models, and no registry."""

from __future__ import annotations

import gzip

from port import Files, Port
from tree import Tree

UTILS = "utils.py"
#: The index has no so-noise-models, and the import of mapsims needs one.
NOISE_MODELS = "class SO_Noise_Calculator_Public_v3_1_1: pass\n"


def stand_in(tree: Tree, url: str) -> Files:
    (tree.site / "so_models_v3.py").write_text(NOISE_MODELS)
    tree.replace(UTILS, "https://portal.nersc.gov/", url, times=2)
    hitmap = gzip.compress(b"a stand-in for a hit map" * 4000, mtime=0)
    return {"project/sobs/so_mapsims_data/v0.2/healpix/ST0_UHF1.fits.gz": hitmap}


def port(tree: Tree, url: str) -> None:
    tree.replace(UTILS, "from astropy.utils import data\n", "import dataferry\n")
    tree.replace(UTILS, "class RemoteData:", "class RemoteData(dataferry.RemoteData):")
    tree.replace_lines(
        UTILS,
        "        self.data_url = _DATAURL",
        "        self.data_folders",
        '        super().__init__("mapsims", _DATAURL(healpix, version), _PREDEFINED_DATA_FOLDERS(healpix, version))\n',
    )
    tree.replace_lines(UTILS, "    def get(self, filename)", "        return map_out", "")


PORT = Port(
    title="mapsims 2.6",
    requirement="mapsims==2.6.*",
    package="mapsims",
    tests=("site:mapsims/tests",),
    imports="from mapsims.utils import RemoteData",
    first="RemoteData(version='v0.2', healpix=True).get('ST0_UHF1.fits.gz')",
    stand_in=stand_in,
    port=port,
    also=("astropy", "healpy", "pysm3", "pixell", "toml", "pyyaml"),
    without_dependencies=True,
)
