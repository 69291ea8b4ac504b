"""sunpy's samples: two base URLs and no hashes, so the author registers a folder with the files once."""

from __future__ import annotations

import re

from port import Files, Port
from tree import Tree

SAMPLE = "data/_sample.py"
TESTS = "data/tests/test_sample.py"
NEW = '''\
DATA = PackageData("sunpy", folders=["$SUNPY_SAMPLEDIR", sunpy.config.get("downloads", "sample_dir")])


def _get_sample_files(filename_list, no_download=False):
    """The paths of sample files; without a download None for those that are not here."""
    names = list(filename_list)
    if no_download:
        return [Path(DATA.get(name)) if DATA.is_available(name) else None for name in names]
    return [Path(path) for path in DATA.fetch(names)]
'''


def stand_in(tree: Tree, url: str) -> Files:
    for base in ("https://github.com/", "http://data.sunpy.org/"):
        tree.replace(SAMPLE, f"'{base}", f"'{url}")
    names = re.findall(r'^    "\w+": "([^"]+)"', tree.read(SAMPLE), flags=re.MULTILINE)
    files = {name: f"stand-in for {name}\n".encode() * 2000 for name in names}
    for name, content in files.items():
        folder = tree.site / "samples"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return {f"sunpy/data/raw/main/sunpy/v1/{name}": content for name, content in files.items()}


def port(tree: Tree, url: str) -> None:
    imports = "from pathlib import Path\n\nimport sunpy\nfrom dataferry import PackageData\n"
    tree.replace_lines(SAMPLE, "import os", "from sunpy.util.parfive_helpers", imports)
    tree.replace_lines(SAMPLE, "_BASE_URLS = (", ")", "")
    tree.replace_lines(SAMPLE, "# Reverse the dict", "    return fullpaths", NEW)
    tree.replace("data/sample.py", "def download_all(force_download=False):", "def download_all():")
    parameters = "    Parameters\n    ----------\n    force_download : `bool`"
    text = tree.read("data/sample.py")
    tree.write(
        "data/sample.py", text[: text.index(parameters)] + '    """\n    _get_sample_files(_SAMPLE_DATA.values())\n'
    )
    toml = tree.read("data/dataferry.toml")
    mirrors = f'mirrors = ["{url}sunpy/v1/"]\n'
    tree.write("data/dataferry.toml", toml.replace("strict = true\n", f"{mirrors}strict = true\n"))
    tree.write(TESTS, "")  # tests of the download functions that are gone


PORT = Port(
    title="sunpy 7.0 samples",
    requirement="sunpy[map,timeseries]==7.0.*",
    package="sunpy",
    tests=("site:sunpy/data/tests", "site:sunpy/data/data_manager/tests"),
    imports="import sunpy.data.sample",
    first="sunpy.data.sample.AIA_171_IMAGE",
    stand_in=stand_in,
    commands=(("add", "sunpy", "samples", "--dataurl", "{url}sunpy/data/raw/main/sunpy/v1/"),),
    port=port,
    also=("pytest-mock", "pytest-doctestplus", "hypothesis"),
)
