"""``sunpy.data.manager``: what it requires by hash comes from `retrieve`, without a database and a downloader."""

from __future__ import annotations

import hashlib

from port import Files, Port
from tree import Tree

DATA = "data/__init__.py"
FOLDER = "data/data_manager"
MANAGER, CACHE, DOWNLOADER = f"{FOLDER}/manager.py", f"{FOLDER}/cache.py", f"{FOLDER}/downloader.py"
TESTS = f"{FOLDER}/tests"
FETCH = '''\
    def fetch(self, urls, sha_hash, namespace=''):
        """
        Returns the path of a file with a known SHA-256 hash, and downloads it if it is not here.
        """
        path = self._cache_dir / (namespace + urls[0].rpartition('/')[2])
        if path.is_file() and hash_file(path) != sha_hash:
            warn_user("Hashes do not match, the file will be redownloaded (could be tampered/corrupted)")
        try:
            return Path(self._retrieve(urls[0], path.name, known_hash=f'sha256:{sha_hash}', mirrors=urls[1:]))
        except DataferryError as e:
            raise RuntimeError(str(e)) from e

    def _retrieve(self, url, name, **options):
        return retrieve(url, name=name, folder=self._cache_dir, progress=None, opener=self._opener, **options)

'''
DOWNLOAD = """\
            path.unlink(missing_ok=True)
            self._retrieve(url, path.name)
"""
STORAGE = "def storage(tmp_path):\n    storage = mocks.Downloads(tmp_path)"
NEW_CACHE = "Cache(InMemStorage(), tmp_path, opener=downloader)"
BRANCH = """\
        else:
            known = self._file_cache.get(name, {}).get(self._namespace)
            if known and not pathlib.Path(known).is_file():
                warn_user("Requested file appears to missing and will be redownloaded.")
            file_path = self._cache.fetch(urls, sha_hash, self._namespace)
"""
MOCKS = '''\
import io

# This is the hash of file containing just the character 'a'
MOCK_HASH = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


class MockDownloader:
    """
    An opener.
    """

    def __init__(self):
        self.times_called = 0
        self.last_called_url = ''

    def __call__(self, url):
        self.times_called += 1
        self.last_called_url = url
        return io.BytesIO(b"a")


class Downloads:
    """
    The files in the folder of a manager, oldest first.
    """

    def __init__(self, folder):
        self._folder = folder

    @property
    def _store(self):
        paths = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        return [{'file_path': str(path)} for path in paths if path.is_file()]


def write_to_test_file(path, contents):
    with open(path, 'w') as f:
        f.write(contents)
'''


USE = """\
from sunpy.data import manager


@manager.require("table", ["{url}table.txt", "{url}copy.txt"], "{sha256}")
def table():
    return manager.get("table")
"""


def stand_in(tree: Tree, url: str) -> Files:
    content = b"stand-in for a table\n" * 1000
    tree.write("data/_table.py", USE.format(url=url, sha256=hashlib.sha256(content).hexdigest()))
    return {"table.txt": content}


def port(tree: Tree, url: str) -> None:
    tree.write(DOWNLOADER, "")
    tree.replace(f"{FOLDER}/__init__.py", "from sunpy.data.data_manager.downloader import ParfiveDownloader\n", "")
    tree.replace(DATA, "from sunpy.data.data_manager.downloader import ParfiveDownloader\n", "")
    tree.replace(DATA, "(\n        ParfiveDownloader(),", "(")
    tree.replace(DATA, "(\n    ParfiveDownloader(),", "(")
    _port_cache(tree)
    tree.replace_lines(MANAGER, "        else:", "                    file_path = details['file_path']", BRANCH)
    tree.replace_lines(MANAGER, "    def _cache_has_file", "        return False", "")
    _port_tests(tree)


def _port_cache(tree: Tree) -> None:
    tree.replace(CACHE, "units as u\n", "units as u\nfrom dataferry import DataferryError, retrieve\n")
    opener = "    opener: callable, optional\n        Opens a URL in place of dataferry.\n"
    tree.replace_lines(CACHE, "    downloader: Implementation", "        Downloader object", opener)
    tree.replace(CACHE, "self, downloader, storage, cache_dir", "self, storage, cache_dir")
    tree.replace(CACHE, "expiry=10*u.day)", "expiry=10*u.day, opener=None)")
    tree.replace(CACHE, "self._downloader = downloader", "self._opener = opener")
    tree.replace(CACHE, "            self._downloader.download(url, path)\n", DOWNLOAD)
    tree.replace(CACHE, "    def _has_expired(", FETCH + "    def _has_expired(")


def _port_tests(tree: Tree) -> None:
    """Fixtures, and what was about the database and parfive; URLs and hashes become such as exist."""
    tree.write(f"{TESTS}/test_downloader.py", "")
    tree.write(f"{TESTS}/mocks.py", MOCKS)
    fixtures, tests = f"{TESTS}/conftest.py", f"{TESTS}/test_manager.py"
    tree.replace(fixtures, "def storage():\n    storage = InMemStorage()", STORAGE)
    tree.replace(fixtures, "DataManager(Cache(downloader, storage, tmp_path))", f"DataManager({NEW_CACHE})", times=2)
    tree.replace(fixtures, "cache = Cache(downloader, storage, tmp_path)", f"cache = {NEW_CACHE}")
    tree.replace(fixtures, "Cache(downloader, sqlstorage, tmp_path)", NEW_CACHE.replace("InMemStorage()", "sqlstorage"))
    tree.replace(fixtures, "['url1/test_file', 'url2']", "['http://example.com/test_file', 'http://example.org/1']")
    tree.replace(f"{TESTS}/test_cache.py", "cache._downloader.", "cache._opener.", times=3)
    tree.replace(tests, "f'file://{folder}/another_file'], MOCK_HASH", "'http://example.com/b'], MOCK_HASH", times=2)
    tree.replace(tests, "['url1'], 'wrong_hash'", "['http://example.com/test_file'], '0' * 64")
    tree.replace_lines(tests, "def test_wrong_hash_error", "        foo()", "")
    tree.replace_lines(tests, "    # Change hash of the above file", "    storage._store[0]['file_hash']", "")
    tree.replace_lines(tests, "        # New file entry is stored", "        assert len(storage._store) == 1", "")
    tree.replace("conftest.py", "(\n        ParfiveDownloader(),", "(")
    tree.replace("conftest.py", "    from sunpy.data.data_manager.downloader import ParfiveDownloader\n", "")


PORT = Port(
    title="sunpy 7.0 manager",
    requirement="sunpy[map,timeseries]==7.0.*",
    package="sunpy",
    tests=("site:sunpy/data/data_manager/tests",),
    imports="from sunpy.data import _table",
    first="_table.table()",
    stand_in=stand_in,
    port=port,
    also=("pytest-mock", "pytest-doctestplus", "hypothesis"),
)
