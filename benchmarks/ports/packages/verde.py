"""verde: a registry in Python, with the version in the URL."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

DATASETS = "datasets/sample_data.py"
#: Tables of the shapes that the tests expect.
MAKE = """
import numpy as np, pandas as pd
def table(name, rows, *columns):
    values = np.arange(rows * len(columns)).reshape(rows, -1)
    pd.DataFrame(values, columns=columns).to_csv(name, index=False)
three = [f"{kind}_{way}" for kind in ("velocity", "std") for way in ("north", "east", "up")]
wind = [f"wind_speed_{way}_knots" for way in ("east", "north")]
magnetic = "total_field_anomaly_nt", "height_ell_m", "line_type", "line_number"
table("baja-bathymetry.csv.xz", 82970, "longitude", "latitude", "bathymetry_m")
table("california-gps.csv.xz", 2458, "latitude", "longitude", "height", *three)
table("rio-magnetic.csv.xz", 37718, "longitude", "latitude", *magnetic)
table("texas-wind.csv", 186, "station_id", "longitude", "latitude", "air_temperature_c", *wind)
"""


def stand_in(tree: Tree, url: str) -> Files:
    tree.replace(DATASETS, "https://github.com/fatiando/verde/raw/", f"{url}fatiando/verde/raw/")
    made = tree.register(DATASETS, r'"(?P<name>[\w.-]+)": "(?P<sha256>[0-9a-f]{64})"', tree.make(MAKE))
    return {f"fatiando/verde/raw/v1.9.0/data/{name}": content for name, content in made.items()}


def port(tree: Tree, url: str) -> None:
    tree.replace(DATASETS, "import pooch\n", "from dataferry import PackageData\n")
    tree.replace(DATASETS, "from .._version import __version__\n\n", "")
    tree.replace(DATASETS, "REGISTRY = pooch.create(\n", 'REGISTRY = PackageData(\n    "verde",\n')
    tree.replace(DATASETS, '    path=pooch.os_cache("verde"),\n', "")
    tree.replace(DATASETS, "base_url=", "dataurl=")
    tree.replace(DATASETS, "{version}", "v{version}")
    tree.replace_lines(DATASETS, "    version=__version__", "    env=", '    folders=["$VERDE_DATA_DIR"],\n')
    tree.replace(DATASETS, "    registry={\n", "    files={\n")
    tree.replace(DATASETS, "REGISTRY.abspath", "REGISTRY.path")
    tree.replace(DATASETS, "REGISTRY.fetch(", "REGISTRY.get(", times=4)


PORT = Port(
    title="verde 1.9",
    requirement="verde==1.9.*",
    package="verde",
    tests=("site:verde/tests/test_datasets.py",),
    imports="from verde.datasets import fetch_texas_wind",
    first="fetch_texas_wind()",
    stand_in=stand_in,
    port=port,
    also=("cartopy", "matplotlib", "pytest-mpl"),
)
