"""geodatasets: a registry in JSON, of which the package makes that of pooch; most files are zipped shapefiles."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from typing import Any

from port import Files, Port
from tree import Tree

API, LIB, DATABASE = "api.py", "lib.py", "json/database.json"
DATA = """\
DATA = PackageData(
    "geodatasets",
    files={value["filename"]: {"sha256": value["hash"], "url": value["url"]} for value in flat.values()},
)
"""
PATH = """\
        from .api import DATA

        if "members" in self.keys():
            files = sorted(map(str, Path(DATA.unpack(self.filename, self.members)).rglob("*.*")))
            shapefiles = [f for f in files if f.endswith(".shp")]
            return (shapefiles or files)[0]

        return DATA.get(self.filename)
"""
FETCH = """\
    for n in name:
        _ = data.query_name(n).path
"""


def zipped(members: list[str]) -> bytes:
    """An archive with these files; a member without a suffix is a folder."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member in members:
            archive.writestr(member if "." in member else f"{member}/map.shp", f"stand-in for {member}\n" * 100)
    return file.getvalue()


def stand_in(tree: Tree, url: str) -> Files:
    files: Files = {}

    def visit(items: dict[str, Any]) -> None:
        for item in items.values():
            if "url" not in item:
                visit(item)
                continue
            name = item["filename"]
            files[name] = zipped(item["members"]) if "members" in item else f"stand-in for {name}\n".encode() * 100
            item |= {"url": url + name, "hash": hashlib.sha256(files[name]).hexdigest()}

    database = json.loads(tree.read(DATABASE))
    visit(database)
    tree.write(DATABASE, json.dumps(database))
    return files


def port(tree: Tree, url: str) -> None:
    tree.replace(API, "import pooch\n", "from dataferry import PackageData\n")
    tree.replace_lines(API, "registry = {", ")", DATA)
    tree.replace_lines(API, "    for n in name:", "            _ = CACHE.fetch(data.query_name(n).filename)", FETCH)
    tree.replace(
        LIB, "from typing import Callable\n\nimport pooch\n", "from pathlib import Path\nfrom typing import Callable\n"
    )
    tree.replace_lines(LIB, "        from .api import CACHE", "        return CACHE", PATH)
    for name in ("tests/test_api.py", "tests/test_lib.py"):
        text = (
            tree.read(name)
            .replace("import pooch\n", "")
            .replace("import pytest\n", "import pytest\nfrom geodatasets.api import DATA\n", 1)
        )
        tree.write(name, re.sub(r'pooch\.os_cache\("geodatasets"\)', "Path(DATA.path)", text))


PORT = Port(
    title="geodatasets 2026.11",
    requirement="geodatasets==2026.11.*",
    package="geodatasets",
    tests=("site:geodatasets/tests/test_api.py", "site:geodatasets/tests/test_lib.py"),
    imports="import geodatasets",
    first="geodatasets.get_path('nybb')",
    stand_in=stand_in,
    port=port,
)
