"""The pytest plugin: a typing mistake is a failure that offers what was meant, never a skip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData

MARKED = """
    import pytest

    @pytest.mark.{marker}
    def test_one():
        pass

    def test_other():
        pass
"""

MISTAKES = {
    "package_data('maps/a.dta')": ["'maps/a.dta'", "not registered", "'maps/a.dat'"],
    "package_data('maps/aa.dat', 'maps/b.dat')": ["'maps/aa.dat'", "not registered", "'maps/a.dat'"],
    "package_data('map/*.dat')": ["'map/*.dat'", "matches", "'maps/*.dat'"],
    "package_data('maps/a.dat', pakage='mypkg')": ["no argument 'pakage'", "package='mypkg'"],
    "package_data('maps/a.dat', package='mypgk')": ["mypgk"],
    "package_data()": ["package_data('name or glob', ..., package='mypkg')"],
    "package_data(3)": ["package_data('name or glob', ..., package='mypkg')"],
    "pakage_data('maps/a.dat')": ["'pakage_data'", "'package_data'"],
    "packagedata('maps/a.dat')": ["'packagedata'", "'package_data'"],
}


@pytest.mark.parametrize("marker", MISTAKES)
def test_a_mistake_in_a_marker_is_a_failure(marker: str, suite: Any) -> None:
    suite.write("test_it.py", MARKED.format(marker=marker))
    ran = suite.run("-W", "ignore::pytest.PytestUnknownMarkWarning")
    assert ran.counts == {"passed": 1, "failed": 1}, ran.text
    for words in MISTAKES[marker]:
        assert words in ran.text
    assert ran.requests == {}


@pytest.mark.parametrize("mode", ["offline", "require", "auto"])
def test_a_name_that_is_not_registered_fails_in_every_mode(mode: str, suite: Any) -> None:
    suite.write("test_it.py", MARKED.format(marker="package_data('maps/z.dat')"))
    suite.serve({"maps/z.dat": b"served and not registered"})
    ran = suite.run(f"--dataferry={mode}")
    assert ran.counts == {"passed": 1, "failed": 1}, ran.text
    assert ran.requests == {}


def test_a_fixture_that_is_asked_for_another_name_fails(suite: Any) -> None:
    suite.write("test_it.py", "def test_it(data_path):\n    data_path('maps/a.dta')\n")
    ran = suite.run()
    assert ran.counts == {"failed": 1}, ran.text
    assert "'maps/a.dat'" in ran.text


def test_workers_say_the_same(suite: Any, need: Any) -> None:
    need.module("xdist")
    suite.write("test_it.py", MARKED.format(marker="package_data('maps/a.dta')"))
    ran = suite.run("-n", "2")
    assert ran.counts == {"passed": 1, "failed": 1}, ran.text
    assert "'maps/a.dat'" in ran.text


#: A test that imports astropy only while it runs, and asks for its file as its package would.
LATE = """
    import os
    import pytest

    @pytest.mark.package_data("maps/a.dat")
    def test_it(data_path):
        import astropy.config
        from dataferry import PackageData

        assert os.path.samefile(PackageData("mypkg").get("maps/a.dat"), data_path("maps/a.dat"))
"""


@pytest.mark.parametrize("where", ["home", "XDG"])
def test_what_the_plugin_finds_offline_the_package_finds(where: str, suite: Any, home: Path, monkeypatch: Any) -> None:
    """The two agree which cache is used, whatever has been imported by then."""
    suite.write("test_it.py", LATE)
    with monkeypatch.context() as patch:
        if where == "home":
            patch.delenv("XDG_CACHE_HOME")
        data = PackageData("mypkg", registry=suite.folder / "mypkg/data/dataferry.toml", show_progress=False)
        assert data.get("maps/a.dat").startswith(str(home))
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    ran = suite.run("--dataferry=offline", env={"XDG_CACHE_HOME": str(elsewhere)} if where == "home" else {})
    assert "failed" not in ran.counts, ran.text
    assert sum(ran.counts.values()) == 1


ANY = """
    def test_it(package_data):
        assert open(package_data.get("maps/z.dat")).read() == "served"
"""


def test_the_object_of_a_package_takes_names_as_its_get_does(suite: Any) -> None:
    """Names that are not registered come by the plain wrapper, unless the registry is strict."""
    suite.write("test_it.py", ANY)
    suite.serve({"maps/z.dat": b"served"})
    ran = suite.run("-W", "ignore::UserWarning")
    assert (ran.counts, ran.requests) == ({"passed": 1}, {"maps/z.dat": 1}), ran.text
    suite.declare(suite.files, head="strict = true")
    ran = suite.run()
    assert ran.counts == {"failed": 1}, ran.text
    before_the_summary = ran.text.partition("short test summary")[0]  # which is cut, but where CI is set
    assert before_the_summary.count("did you mean 'maps/d.dat'") == 2, "in the failure and in the report"


def test_a_cache_that_cannot_be_written_is_named(suite: Any) -> None:
    suite.write("test_it.py", MARKED.format(marker="package_data('maps/a.dat')"))
    ran = suite.run(env={"DATAFERRY_CACHE": str(suite.folder / "pytest.ini/cache")})
    assert ran.counts == {"passed": 1, "failed": 1}, ran.text
    assert "pytest.ini/cache (DATAFERRY_CACHE) cannot be written" in ran.text
