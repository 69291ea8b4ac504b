"""The pytest plugin together with others: xdist, pytest-remotedata, pytest-randomly, doctestplus."""

from __future__ import annotations

import pytest

MANY = """
    import os
    import pytest

    params = [pytest.param(n, marks=pytest.mark.package_data(f"maps/{n % 8}.dat")) for n in range(24)]

    @pytest.mark.parametrize("n", params)
    def test_one(n, data_path, package_data):
        assert data_path(f"maps/{n % 8}.dat").read_text() == str(n % 8) * 1000
        assert package_data.contents(f"maps/{n % 8}.dat", "utf-8") == str(n % 8) * 1000

    def test_elsewhere(data_path):
        assert data_path("maps/8.dat").read_text() == "8" * 1000
"""
BOTH = """
    import pytest

    @pytest.mark.remote_data
    @pytest.mark.package_data("maps/a.dat")
    def test_marked(data_path):
        assert data_path("maps/a.dat").stat().st_size == 1000

    @pytest.mark.package_data("maps/b.dat")
    def test_plain(data_path):
        assert data_path("maps/b.dat").stat().st_size == 1000

    @pytest.mark.remote_data
    def test_other():
        pass
"""


@pytest.fixture
def many(suite, need):
    need.module("xdist")
    files = {f"maps/{n}.dat": str(n).encode() * 1000 for n in range(9)}
    suite.serve(files)
    suite.declare(files)
    suite.write("test_it.py", MANY)
    return suite


def test_xdist_fetches_each_file_once(many):
    ran = many.run("-n", "3", "--junit-xml=junit.xml")
    assert ran.counts == {"passed": 25}, ran.text
    assert ran.requests == {f"maps/{n}.dat": 1 for n in range(9)}
    assert "fetching 8 files of mypkg" in ran.text
    assert "9 files: 9 fetched (0.0 MB)" in ran.text
    assert {file["tests"] for file in ran.report["files"]} == {3, 1}
    assert 'name="dataferry.host" value="mypkg:maps/7.dat"' in (many.folder / "junit.xml").read_text()


def test_xdist_respects_the_selection_and_asks_a_dead_host_once(many):
    del many.served["maps/1.dat"]
    ran = many.run("-n", "2", "-k", "0-] or test_one", "--deselect", "test_it.py::test_elsewhere")
    assert ran.counts == {"passed": 21, "skipped": 3}
    assert ran.requests == {f"maps/{n}.dat": 1 for n in range(8)}
    assert "skipped 3 tests: 'maps/1.dat' of mypkg" in ran.text
    assert len(ran.report["not_run"]) == 3


def test_xdist_with_a_cache_for_each_process(many):
    many.write(
        "conftest.py",
        """
        import os, tempfile
        def pytest_configure(config):
            os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=os.path.dirname(__file__))
            os.mkdir(os.path.join(os.environ["XDG_CACHE_HOME"], "astropy"))
        """,
    )
    many.write("test_it.py", MANY + "        from dataferry import PackageData\n")
    many.write(
        "test_own.py",
        """
        import pytest
        @pytest.mark.package_data("maps/*.dat")
        @pytest.mark.parametrize("n", range(6))
        def test_own(n):
            from dataferry import PackageData
            assert PackageData("mypkg").get(f"maps/{n}.dat").endswith(f"{n}.dat")
        """,
    )
    ran = many.run("-n", "2")
    assert ran.counts == {"passed": 31}, ran.text
    assert ran.requests == {f"maps/{n}.dat": 1 for n in range(9)}


def test_random_order(many, need):
    need.module("pytest_randomly")
    command = ["-n", "2", "-p", "randomly", "-p", "no:cacheprovider"]
    ran = many.run(*command)
    assert ran.counts == {"passed": 25}, ran.text
    assert set(ran.requests.values()) == {1}


def test_remote_data_decides_about_the_network(suite, need):
    need.module("pytest_remotedata")
    suite.write("test_it.py", BOTH)
    cold = suite.run(remotedata=True)
    assert cold.counts == {"skipped": 3} and cold.requests == {}
    assert "is not fetched: --remote-data=none" in cold.text
    assert suite.run("--remote-data=astropy", remotedata=True).requests == {}
    warm = suite.run("--remote-data=any", remotedata=True)
    assert warm.counts == {"passed": 3} and set(warm.requests) == {"maps/a.dat", "maps/b.dat"}
    # its file is here, so the test needs no network and runs
    local = suite.run(remotedata=True)
    assert local.counts == {"passed": 2, "skipped": 1} and local.requests == {}
    assert "need --remote-data option to run" in local.text


def test_strict_remote_data_blocks_sockets_and_not_local_files(suite, need):
    need.module("pytest_remotedata")
    suite.write("test_it.py", BOTH)
    suite.write("pytest.ini", "[pytest]\npythonpath = .\ndataferry_package = mypkg\nremote_data_strict = true\n")
    assert suite.run("--remote-data=any", remotedata=True).counts == {"passed": 3}
    suite.write(
        "test_it.py",
        BOTH
        + """
    def test_blocked():
        import socket
        with pytest.raises(OSError, match="not marked `remote_data`"):
            socket.create_connection(("192.0.2.1", 80), timeout=1)
    """,
    )
    assert suite.run(remotedata=True).counts == {"passed": 3, "skipped": 1}


def test_doctests_with_remote_data(suite, need):
    need.module("pytest_doctestplus")
    need.module("pytest_remotedata")
    suite.write(
        "conftest.py",
        """
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "marked.rst":
                    item.add_marker(pytest.mark.package_data("maps/b.dat"))
        """,
    )
    doc = ">>> from dataferry import PackageData\n>>> len(PackageData('mypkg').contents('maps/{}.dat')){}\n1000\n"
    suite.write("remote.rst", doc.format("a", "  # doctest: +REMOTE_DATA"))
    suite.write("marked.rst", doc.format("b", ""))
    plus = ["--doctest-plus", "--doctest-rst"]
    cold = suite.run(*plus, remotedata=True)
    assert cold.counts == {"passed": 1, "skipped": 1} and cold.requests == {}, cold.text
    warm = suite.run(*plus, "--remote-data=any", remotedata=True)
    assert warm.counts == {"passed": 2} and warm.requests == {"maps/a.dat": 1, "maps/b.dat": 1}


def test_unittest_classes_and_require(suite):
    suite.write(
        "test_it.py",
        """
        import unittest
        import pytest

        @pytest.mark.package_data("maps/a.dat")
        class TestIt(unittest.TestCase):
            def setUp(self): self.here = True
            def test_it(self): assert self.here
        """,
    )
    assert suite.run("--dataferry=offline").counts == {"skipped": 1}
    assert suite.run("--dataferry=require", env={"DATAFERRY_OFFLINE": "1"}).counts == {"failed": 1}
    assert suite.run().counts == {"passed": 1}
