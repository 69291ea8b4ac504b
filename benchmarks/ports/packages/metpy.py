"""MetPy: a pooch registry as text, and a folder of a checkout that comes first."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

COOKBOOK = "cbook.py"
REGISTRY = "static-data-manifest.txt"
STATIC = "Unidata/MetPy/raw/v1.7.1/staticdata"
DATA = """\
# A git checkout has the data beside the package, and TEST_DATA_DIR names another folder.
DATA = PackageData('metpy', folders=['$TEST_DATA_DIR', Path(__file__).parents[2] / 'staticdata'])
"""


def stand_in(tree: Tree, url: str) -> Files:
    tree.replace(COOKBOOK, "https://github.com/", url)
    made = tree.register(REGISTRY, r"^(?P<name>\S+) (?P<sha256>[0-9a-f]{64})$", {})
    return {f"{STATIC}/{name}": content for name, content in made.items()}


def port(tree: Tree, url: str) -> None:
    tree.replace(COOKBOOK, "import pooch\n", "from dataferry import PackageData\n")
    tree.replace(COOKBOOK, "import os\n", "")
    tree.replace(COOKBOOK, "\nfrom . import __version__\n", "")
    tree.replace_lines(COOKBOOK, "pooch_kwargs = {", "POOCH.load_registry", DATA)
    tree.replace(COOKBOOK, "POOCH.fetch", "DATA.get")


PORT = Port(
    title="MetPy 1.7",
    requirement="metpy==1.7.1",
    package="metpy",
    tests=("tests/test_cbook.py", "tests/io/test_metar.py", "tests/io/test_text.py"),
    imports="from metpy.cbook import get_test_data",
    first="get_test_data('GFS_test.nc', as_file_obj=False)",
    stand_in=stand_in,
    commands=(
        ("add", "metpy", "--from", f"metpy/{REGISTRY}", "--dataurl", "{url}Unidata/MetPy/raw/v{version}/staticdata/"),
    ),
    port=port,
    also=("pytest-mpl",),
)
