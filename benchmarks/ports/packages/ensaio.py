"""ensaio: files with an md5 alone, at a DOI and at a release of GitHub; no registry, but calls of ``retrieve``."""

from __future__ import annotations

import hashlib
import re

from port import Files, Port
from tree import Tree

FETCHERS = "_fetchers.py"
STAND_IN = b"stand-in for a table\n" * 1000
NEW = '''\
def _fetch(fname, version):
    """The path of a data file of one version, from its DOI or from GitHub."""
    entry = REGISTRY[fname][f"v{version}"]
    first, second = (f"{entry[source]}/{fname}" for source in ("doi", "url"))
    if os.environ.get("ENSAIO_DATA_FROM_GITHUB", "").lower() == "true":
        first, second = second, first
    return Path(retrieve(first, entry["hash"], mirrors=[second], folder=locate() / f"v{version}"))
'''
LOCATE = '    return Path(os.environ.get("ENSAIO_DATA_DIR", "~/.cache/ensaio")).expanduser()\n'


def stand_in(tree: Tree, url: str) -> Files:
    tree.write(FETCHERS, tree.read(FETCHERS).replace("https://github.com/", url))
    tree.write(FETCHERS, re.sub(r"md5:[0-9a-f]{32}", f"md5:{hashlib.md5(STAND_IN).hexdigest()}", tree.read(FETCHERS)))
    pattern = r'^    "([^"]+)": \{$|"url": "http://[^/]+/([^"]+)"'
    files, name = {}, ""
    for found, path in re.findall(pattern, tree.read(FETCHERS), flags=re.MULTILINE):
        name = found or name
        if path:
            files[f"{path}/{name}"] = STAND_IN
    return files


def port(tree: Tree, url: str) -> None:
    tree.replace(FETCHERS, "import pooch\n", "from dataferry import retrieve\n")
    tree.replace_lines(FETCHERS, "def _repository", "    return repository", NEW)
    tree.replace_lines(FETCHERS, "def _sanitize_url", "    return url", "")
    tree.replace_lines(FETCHERS, "    return _repository(fname=", "    return _repository(fname=", LOCATE)
    text = tree.read(FETCHERS)
    tree.write(FETCHERS, text.replace("Path(_repository(fname, version).fetch(fname))", "_fetch(fname, version)"))


PORT = Port(
    title="ensaio",
    requirement="ensaio",
    package="ensaio",
    tests=(),
    imports="import os; os.environ['ENSAIO_DATA_FROM_GITHUB'] = 'true'; import ensaio",
    first="ensaio.fetch_osborne_magnetic(version=1)",
    stand_in=stand_in,
    port=port,
)
