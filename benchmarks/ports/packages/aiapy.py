"""aiapy, a user of ``sunpy.data.manager``: it requires five files, each with several URLs and a sha256."""

from __future__ import annotations

import hashlib
import re

from port import Files, Port
from tree import Tree

UTIL = "calibrate/util.py"
CHANNEL = "response/channel.py"
MANAGER = "data/_manager.py"
NEW_UTIL = """\
_DATA = PackageData(
    "aiapy",
    files={
        name: {"sha256": sha256, "url": urls}
        for name, (urls, sha256) in {
            "correction_table_latest": _URL_HASH_CORRECTION_TABLE["latest"],
            "error_table_latest": _URL_HASH_ERROR_TABLE["latest"],
            "pointing_table": _URL_HASH_POINTING_TABLE,
        }.items()
    },
)


"""
NEW_CHANNEL = """\
_DATA = PackageData(
    "aiapy",
    files={
        f"instrument_file_{kind}": {"sha256": sha256, "url": urls}
        for kind, (urls, sha256) in URL_HASH[VERSION_NUMBER].items()
    },
)


"""
STAND_IN = b"stand-in for a table\n" * 1000
#: The files below a mirror, and the one of another server.
FILES = (
    "sdo/aia/response/aia_V3_error_table.txt",
    "sdo/aia/response/aia_V10_20201119_190000_response_table.txt",
    "sdo/aia/response/aia_V8_fuv_fullinst.genx",
    "sdo/aia/response/aia_V8_all_fullinst.genx",
    "public/master_aia_pointing3h.csv",
)


def stand_in(tree: Tree, url: str) -> Files:
    for name in ("__init__.py", UTIL):
        tree.write(name, re.sub(r'"https://[\w.]+/(sdb/ssw/|solarsoft/|pub/ssw/)?', f'"{url}', tree.read(name)))
    for name in (UTIL, CHANNEL):
        tree.write(name, re.sub(r'"[0-9a-f]{64}"', f'"{hashlib.sha256(STAND_IN).hexdigest()}"', tree.read(name)))
    return dict.fromkeys(FILES, STAND_IN)


def port(tree: Tree, url: str) -> None:
    for name, new, before in ((UTIL, NEW_UTIL, "@manager.require"), (CHANNEL, NEW_CHANNEL, "class Channel:")):
        tree.replace(name, "from aiapy.data._manager import manager\n", "from dataferry import PackageData\n")
        text = tree.read(name)
        text = text.replace(before, new + before, 1)
        text = re.sub(r"^ *@manager\.require.*\n", "", text, flags=re.MULTILINE)
        tree.write(name, text.replace("manager.get(", "_DATA.get("))
    tree.write(MANAGER, "")


PORT = Port(
    title="aiapy 0.10",
    requirement="aiapy==0.10.*",
    package="aiapy",
    tests=("site:aiapy/response/tests/test_channel.py", "site:aiapy/calibrate/tests/test_util.py"),
    imports="from aiapy.calibrate import util",
    first="util._fetch_pointing_table()",
    stand_in=stand_in,
    port=port,
    also=("pytest-mock",),
    pytest_options=("-k", "(fuv or error or pointing) and not jsoc and not JSoC"),
)
