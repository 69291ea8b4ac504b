"""The pytest plugin: which tests run, are skipped or fail, and what is fetched for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from dataferry.testing import FlippedByte, Status

FOUR = """
    import pytest

    params = [
        pytest.param(name, marks=pytest.mark.package_data(f"maps/{name}.dat"), id=id)
        for name, id in [("a", "first"), ("b", "second"), ("c", "third"), ("d", "fourth")]
    ]

    @pytest.mark.parametrize("name", params)
    def test_one(name, data_path):
        assert data_path(f"maps/{name}.dat").read_bytes() == name.encode() * 1000
"""
COMMAND = "dataferry get mypkg maps/a.dat"


def test_files_are_fetched_once_before_the_tests(suite):
    suite.write("test_it.py", FOUR)
    first, second = suite.run(), suite.run()
    assert first.counts == second.counts == {"passed": 4}
    assert first.requests == dict.fromkeys(suite.files, 1)
    assert "fetching 4 files of mypkg" in first.text and "4 files: 4 fetched (0.0 MB)" in first.text
    assert second.requests == {}
    assert "4 files: 4 from the cache" in second.text


def test_a_suite_without_markers_does_not_notice_it(suite):
    heavy = ["astropy", "numpy", "urllib3", "ssl", "dataferry.package_data", "dataferry.pytest_plugin.run"]
    suite.write("test_it.py", f"import sys\ndef test_it():\n    assert not set({heavy}) & set(sys.modules)")
    command = [sys.executable, "-m", "pytest", "-p", "dataferry"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=suite.folder, capture_output=True, text=True, env=env)
    assert "1 passed" in done.stdout and "data files" not in done.stdout, done.stdout


@pytest.mark.parametrize(
    "args", [["-k", "first or second"], ["--deselect", "test_it.py::test_one[third]", "-k", "not fourth"]]
)
def test_only_selected_tests_count(suite, args):
    suite.write("test_it.py", FOUR)
    ran = suite.run(*args)
    assert ran.counts == {"passed": 2, "deselected": 2}
    assert set(ran.requests) == {"maps/a.dat", "maps/b.dat"}


def test_last_failed_skipped_and_collected_only(suite):
    suite.write("test_it.py", FOUR.replace("name.encode()", "b'a'"))
    assert suite.run("-k", "first or second").counts == {"passed": 1, "failed": 1, "deselected": 2}
    suite.run("-k", "third", "--lf")
    suite.serve({})
    ran = suite.run("--lf")
    assert ran.counts == {"failed": 1} or ran.requests == {}, ran.text
    suite.write("test_it.py", FOUR.replace("def test_one", "@pytest.mark.skipif(True, reason='no')\n    def test_one"))
    assert suite.run().requests == {}
    assert suite.run("--collect-only").requests == {}


def test_offline_runs_what_is_here_and_skips_the_rest(suite):
    suite.write("test_it.py", FOUR)
    suite.run("-k", "second")
    ran = suite.run("--dataferry=offline")
    assert ran.counts == {"passed": 1, "skipped": 3}
    assert ran.requests == {}
    assert "'maps/a.dat' of mypkg is not on this machine and is not fetched: --dataferry=offline" in ran.text
    assert COMMAND in ran.text and "test_it.py:9" in ran.text
    by_variable = suite.run(env={"DATAFERRY_OFFLINE": "1"})
    assert by_variable.counts == {"passed": 1, "skipped": 3} and "DATAFERRY_OFFLINE=1" in by_variable.text


def test_a_host_that_is_down_skips(suite):
    suite.write("test_it.py", FOUR)
    suite.server.stop()
    ran = suite.run("-k", "first or second")
    assert ran.counts == {"skipped": 2, "deselected": 2} and ran.code == 0
    assert "is not available" in ran.text and suite.server.url in ran.text and COMMAND in ran.text


def test_require_fails_instead(suite):
    suite.write("test_it.py", FOUR + "\n    def setup_module():\n        print('set up')\n")
    suite.server.fault("maps/a.dat", Status(404))
    ran = suite.run("--dataferry=require", "-k", "first or second")
    assert ran.counts == {"passed": 1, "failed": 1, "deselected": 2}
    assert "data files are not available (--dataferry=require)" in ran.text
    assert "404" in ran.text and COMMAND in ran.text
    offline = suite.run("--dataferry=require", env={"DATAFERRY_OFFLINE": "1"})
    assert offline.counts == {"passed": 1, "failed": 3}


@pytest.mark.parametrize("fault", [FlippedByte(), None])
def test_wrong_bytes_fail(suite, fault):
    suite.write("test_it.py", FOUR)
    if fault is None:
        suite.serve({**suite.files, "maps/a.dat": b"another size"})
    else:
        suite.server.fault("maps/a.dat", fault)
    ran = suite.run("-k", "first or second")
    assert ran.counts == {"passed": 1, "failed": 1, "deselected": 2}
    assert "FAILED test_it.py::test_one[first]" in ran.text and "registered" in ran.text


def test_wrong_bytes_in_the_package_fail_without_a_network(suite):
    suite.write("test_it.py", FOUR)
    suite.write("mypkg/data/maps/a.dat", "an old one")
    ran = suite.run("--dataferry=offline", "-k", "first")
    assert ran.counts == {"failed": 1, "deselected": 3}
    assert "10 bytes instead of 1000" in ran.text


def test_names_that_mean_nothing_fail(suite):
    suite.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.package_data("maps/*.fits")
        def test_glob(): pass

        @pytest.mark.package_data("maps/e.dat")
        def test_name(): pass

        @pytest.mark.package_data("x", package="no_such_package")
        def test_package(): pass

        @pytest.mark.package_data
        def test_bare(): pass

        @pytest.mark.package_data("maps/a.dat", pakage="mypkg")
        def test_keyword(): pass
        """,
    )
    suite.declare(suite.files, head="strict = true")
    ran = suite.run()
    assert ran.counts == {"failed": 5}
    for said in (
        "matches 'maps/*.fits'",
        "did you mean",
        "no package 'no_such_package'",
        "the marker is package_data(",
    ):
        assert said in ran.text


def test_markers_of_class_and_module_add_up(suite):
    suite.write(
        "test_it.py",
        """
        import pytest
        pytestmark = pytest.mark.package_data("maps/a.dat")

        @pytest.mark.package_data("maps/[bc].dat")
        class TestIt:
            @pytest.mark.package_data("maps/d.dat", package="other")
            def test_all(self, package_data, data_path):
                assert package_data.package == "other"
                assert package_data.contents("maps/d.dat", "utf-8") == "other"
                assert data_path("maps/b.dat", package="mypkg").name == "b.dat"

        def test_one(package_data):
            assert repr(package_data) == "PackageData('mypkg')"
            assert package_data.names() == [f"maps/{n}.dat" for n in "abcd"]
            assert [p[-5:] for p in package_data.fetch(["maps/c.dat", "maps/a.dat"], deadline=60)] == ["c.dat", "a.dat"]
        """,
    )
    suite.write("other/__init__.py", "")
    suite.declare({"maps/d.dat": b"other"}, "other")
    suite.serve({**suite.files, "maps/d.dat": b"other"})
    ran = suite.run()
    assert ran.counts == {"passed": 2}, ran.text
    assert ran.requests == dict.fromkeys(suite.files, 1)


def test_the_package_around_the_test_is_meant(suite):
    suite.write("pytest.ini", "[pytest]\n")
    suite.write("mypkg/tests/__init__.py", "")
    suite.write("mypkg/tests/test_it.py", FOUR)
    env = {"PYTHONPATH": str(suite.folder)}
    elsewhere = suite.folder.parent
    ran = suite.run("--pyargs", "mypkg", "-k", "first", cwd=elsewhere, env=env, fresh=True)
    assert ran.counts == {"passed": 1, "deselected": 3}, ran.text
    suite.write("tests/test_it.py", FOUR)
    assert "names no package" in suite.run("tests", "-k", "first", env=env, fresh=True).text


def test_data_path_without_a_marker_fetches_or_skips(suite):
    suite.write("test_it.py", "def test_it(data_path):\n    assert data_path('maps/a.dat').stat().st_size == 1000")
    assert suite.run("--dataferry=offline").counts == {"skipped": 1}
    assert suite.run("--dataferry=require", env={"DATAFERRY_OFFLINE": "1"}).counts == {"failed": 1}
    ran = suite.run()
    assert ran.counts == {"passed": 1} and ran.requests == {"maps/a.dat": 1}
    assert "1 file: 1 fetched" in ran.text


def test_a_fixture_of_the_module_may_use_data_path(suite):
    suite.write(
        "test_it.py",
        """
        import pytest
        @pytest.fixture(scope="module")
        def data(data_path, package_data):
            return data_path("maps/a.dat").read_text() + package_data.contents("maps/b.dat", "utf-8")
        def test_it(data):
            assert data == "a" * 1000 + "b" * 1000
        """,
    )
    assert suite.run().counts == {"passed": 1}


def test_report_and_junit(suite):
    suite.write("test_it.py", FOUR)
    suite.write("mypkg/data/maps/b.dat", "b" * 1000)
    suite.server.fault("maps/c.dat", Status(404))
    ran = suite.run("--junit-xml=junit.xml", "-k", "first or second or third")
    report = ran.report
    assert (report["mode"], report["fetched_files"], report["fetched_bytes"]) == ("auto", 1, 1000)
    states = {file["name"]: (file["state"], file["from"], file["tests"]) for file in report["files"]}
    assert states == {
        "maps/a.dat": ("here", "host", 1),
        "maps/b.dat": ("here", "package", 1),
        "maps/c.dat": ("missing", None, 1),
    }
    (not_run,) = report["not_run"]
    assert not_run == {"test": "test_it.py::test_one[third]", "outcome": "skipped", "files": ["mypkg:maps/c.dat"]}
    properties = ET.parse(suite.folder / "junit.xml").iter("property")
    assert {(p.get("name"), p.get("value")) for p in properties} == {
        ("dataferry.host", "mypkg:maps/a.dat"),
        ("dataferry.package", "mypkg:maps/b.dat"),
        ("dataferry.missing", "mypkg:maps/c.dat"),
    }
    assert "skipped 1 test: 'maps/c.dat' of mypkg" in ran.text


def test_warnings_as_errors_do_not_stop_it(suite):
    suite.write("test_it.py", FOUR)
    ran = suite.run("-W", "error", env={"XDG_CONFIG_HOME": str(suite.folder / "not-there")}, fresh=True)
    assert ran.counts["passed"] == 4, ran.text


def test_modes_in_the_configuration(suite):
    suite.write("test_it.py", FOUR)
    suite.write("pytest.ini", "[pytest]\npythonpath = .\ndataferry_package = mypkg\ndataferry_mode = offline\n")
    assert suite.run().counts == {"skipped": 4}
    assert suite.run("--dataferry=auto").counts == {"passed": 4}
    suite.write("pytest.ini", "[pytest]\npythonpath = .\ndataferry_mode = none\n")
    assert "dataferry_mode is auto, offline or require" in suite.run().text


def test_needs_are_listed_without_a_fetch(suite):
    suite.write("test_it.py", FOUR)
    ran = suite.run("--dataferry-needs=needs.json", "-k", "second or third")
    assert ran.requests == {}
    needs = json.loads((suite.folder / "needs.json").read_text())
    assert needs == {"files": [{"package": "mypkg", "name": f"maps/{n}.dat"} for n in "bc"]}


def test_the_help_has_no_short_option():
    command = [sys.executable, "-m", "pytest", "--help", "-p", "no:cov"]
    said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}).stdout
    section = said.partition("(dataferry):")[2].partition("\n\n")[0]
    assert [line.split()[0].partition("=")[0] for line in section.splitlines() if line.startswith("  -")] == [
        "--dataferry",
        "--dataferry-report",
        "--dataferry-needs",
        "--dataferry-update",
    ]


def test_nothing_is_fetched_for_a_test_that_is_skipped_anyway(suite):
    suite.write("test_it.py", FOUR.replace("def test_one", "@pytest.mark.skip\n    def test_one"))
    before = suite.run("--collect-only").requests
    ran = suite.run()
    assert (before, ran.requests, ran.counts) == ({}, {}, {"skipped": 4}), ran.text


def test_the_summary_is_short_unless_more_is_asked_for(suite):
    files = {f"many/{number:02}.dat": b"x" * number for number in range(15)}
    suite.declare(files)
    suite.write("test_it.py", "import pytest\n@pytest.mark.package_data('many/*')\ndef test_it():\n    pass\n")
    short, long = (suite.run("--dataferry=offline", *more) for more in ((), ("-v",)))
    assert short.counts == long.counts == {"skipped": 1}
    assert "and 5 more files that are not available (-v lists them)" in short.text
    assert "many/14.dat" in long.text and "-v lists" not in long.text
    suite.serve(files)
    # astropy 7 has its cache in the home itself
    assert f"mypkg: many/14.dat <- {os.path.dirname(os.environ['XDG_CACHE_HOME'])}" in suite.run("-v").text
