"""scikit-image: a registry in Python, files with URLs of their own, bundled files, and names that its tests import."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

FETCHERS = "data/_fetchers.py"
REGISTRY = "data/_registry.py"
MAKE = """
import numpy as np
from pathlib import Path
from skimage import io
Path("data").mkdir()
shapes = {
    "eagle.png": (2019, 1826), "brain.tiff": (10, 256, 256), "cells3d.tif": (60, 2, 256, 256),
    "kidney.tif": (16, 512, 512, 3), "lily.tif": (922, 922, 4), "skin.jpg": (64, 64, 3),
    "pivchallenge-B-B001_1.tif": (512, 512), "pivchallenge-B-B001_2.tif": (512, 512),
}
for name, shape in shapes.items():
    io.imsave(f"data/{name}", np.zeros(shape, np.uint8), check_contrast=False)
"""
NEW = '''\
def file_hash(fname, alg="sha256"):
    """Calculate the hash of a given file."""
    with open(fname, "rb") as file:
        return hashlib.file_digest(file, alg).hexdigest()


_files = {name: {"sha256": sha256} for name, sha256 in registry.items()}
for _name, _url in registry_urls.items():
    _files[_name]["url"] = _url
_image_fetcher = PackageData(
    "skimage",
    files=_files,
    dataurl="https://github.com/scikit-image/scikit-image/raw/v{version}/tests/skimage/",
    folders=["$SKIMAGE_DATADIR", _DISTRIBUTION_DIR],
    cache=os.environ.get("SKIMAGE_DATADIR"),
)
data_dir = osp.join(_image_fetcher.path, "data")
'''


def bundled(tree: Tree) -> Files:
    """What the wheel has keeps its hash."""
    return {f"data/{path.name}": path.read_bytes() for path in (tree.folder / "data").iterdir() if path.is_file()}


def stand_in(tree: Tree, url: str) -> Files:
    tree.replace(FETCHERS, '"https://github.com/', f'"{url}', times=4)
    made = tree.register(REGISTRY, r'"(?P<name>[^"]+)": "(?P<sha256>[0-9a-f]{64})"', bundled(tree) | tree.make(MAKE))
    files = {f"scikit-image/scikit-image/raw/v0.26.0/tests/skimage/{name}": made[name] for name in made}
    urls = tree.urls(REGISTRY)
    for name, target in urls.items():
        path = target.partition("://")[2]
        tree.replace(REGISTRY, f'"{target}"', f'"{url}{path}"')
        files[path] = made[name]
    return files


def port(tree: Tree, url: str) -> None:
    tree.replace(FETCHERS, "import numpy as np\nimport shutil\n", "import hashlib\n\nimport numpy as np\n")
    tree.replace(FETCHERS, "from .. import __version__\n", "from dataferry import FileUnavailable, PackageData\n")
    tree.replace_lines(FETCHERS, "try:", "_image_fetcher, data_dir", NEW.replace("https://github.com/", url))
    tree.replace_lines(FETCHERS, "def _ensure_cache_dir", "        shutil.copy2", "")
    known = "    registry[data_filename]  # a KeyError for an unknown name\n"
    tree.replace_lines(FETCHERS, "    expected_hash = ", "    _ensure_cache_dir(target_dir=cache_dir)", known)
    tree.replace(FETCHERS, "        cached_file_path = _image_fetcher.fetch(data_filename)\n", "")
    tree.replace(FETCHERS, "        return cached_file_path\n", "        return _image_fetcher.get(data_filename)\n")
    tree.replace(FETCHERS, "    except ConnectionError as err:", "    except FileUnavailable as err:")
    tree.replace_lines(
        FETCHERS,
        "    if _image_fetcher is None:",
        "        _image_fetcher.path = old_dir",
        "    folder = osp.expanduser(directory) if directory else _image_fetcher.path\n"
        '    _image_fetcher.copy("*", to=folder)\n',
    )


PORT = Port(
    title="scikit-image 0.26",
    requirement="scikit-image==0.26.0",
    package="skimage",
    tests=("tests/skimage/data/test_data.py",),
    imports="import skimage.data",
    first="skimage.data.vortex()",
    stand_in=stand_in,
    port=port,
    also=("pooch", "pytest-pretty"),
)
