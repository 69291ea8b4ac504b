"""scipy.datasets: a registry in Python, and a fetcher whose folder its tests read."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

FETCHERS = "datasets/_fetchers.py"
DOWNLOAD = "datasets/_download_all.py"
UTILS = "datasets/_utils.py"
REGISTRY = "datasets/_registry.py"
MAKE = """
import bz2, pickle
import numpy as np
with open("ascent.dat", "wb") as file:
    pickle.dump(np.zeros((512, 512), np.uint8).tolist(), file)
with open("ecg.dat", "wb") as file:
    np.savez(file, ecg=np.zeros(108000, np.uint16))
with open("face.dat", "wb") as file:
    file.write(bz2.compress(np.zeros(768 * 1024 * 3, np.uint8).tobytes()))
"""
NEW = """\
data_fetcher = PackageData(
    "scipy",
    cache="~/.cache/scipy-data",
    folders=["~/.cache/scipy-data"],
    files={name: {"sha256": registry[name], "url": registry_urls[name]} for name in registry},
    dataurl="https://github.com/scipy/",
)


def fetch_data(dataset_name, data_fetcher=data_fetcher):
    # The "get" method returns the full path to the downloaded data file.
    return data_fetcher.get(dataset_name)
"""
ALL = """\
    if path is None:
        data_fetcher.fetch()
    else:
        data_fetcher.copy("*", to=path)
"""


def stand_in(tree: Tree, url: str) -> Files:
    made = tree.register(REGISTRY, r'"(?P<name>[^"]+)": "(?P<sha256>[0-9a-f]{64})"', tree.make(MAKE))
    tree.replace(REGISTRY, "https://", url, times=3)
    return {address.removeprefix(url): made[name] for name, address in tree.urls(REGISTRY).items()}


def port(tree: Tree, url: str) -> None:
    tree.replace(FETCHERS, "import sys\n\n", "")
    tree.replace(FETCHERS, "from ._registry import", "from dataferry import PackageData\nfrom ._registry import")
    tree.replace_lines(FETCHERS, "try:", "    return data_fetcher.fetch", NEW)
    tree.replace_lines(DOWNLOAD, "try:", "    pooch = None", "")
    fetcher = "from ._fetchers import data_fetcher\n"
    tree.replace_lines(DOWNLOAD, "if __package__ is None", "    from . import _registry", fetcher)
    tree.replace_lines(DOWNLOAD, "    if pooch is None:", "                       fname=dataset_name", ALL)
    tree.replace(DOWNLOAD, "                        default=pooch.os_cache('scipy-data'),\n", "")
    tree.replace_lines(UTILS, "try:", "    platformdirs = None", "")
    cache = "        from ._fetchers import data_fetcher\n        cache_dir = data_fetcher.path\n"
    tree.replace_lines(UTILS, "        if platformdirs is None:", "        cache_dir = platformdirs", cache)


PORT = Port(
    title="scipy 1.17 datasets",
    requirement="scipy==1.17.*",
    package="scipy",
    tests=("site:scipy/datasets/tests/test_data.py",),
    imports="from scipy import datasets",
    first="datasets.ascent()",
    stand_in=stand_in,
    port=port,
    also=("pooch",),
)
