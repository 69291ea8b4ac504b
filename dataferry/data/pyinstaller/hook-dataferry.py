"""PyInstaller: what an application needs that no import of it shows, and the data folders of its packages."""

from __future__ import annotations

import os
from typing import Any

from PyInstaller.utils.hooks import collect_data_files, collect_entry_point

datas, hiddenimports = collect_entry_point("dataferry.hosts")
datas += collect_data_files("dataferry")


def hook(hook_api: Any) -> None:
    """Take the data folder of each package of the application that declares data."""
    for node in hook_api.graph.iter_graph():
        for place in getattr(node, "packagepath", None) or ():
            data = os.path.join(place, "data")
            if os.path.isfile(os.path.join(data, "dataferry.toml")):
                hook_api.add_datas([(data, os.path.join(*node.identifier.split("."), "data"))])
