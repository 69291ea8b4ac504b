"""The fixtures of the pytest plugin: an isolated cache, and results compared with registered files."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

ISOLATED = """
    import os, subprocess, sys
    import pytest
    from astropy.utils.data import clear_download_cache, download_file, is_url_in_cache
    from dataferry import PackageData

    DATA = PackageData("mypkg")

    def urls():
        return [DATA.registry.dataurl + f"maps/{n}.dat" for n in "ab"]

    @pytest.mark.package_data("maps/a.dat")
    def test_isolated(isolated_cache, data_path):
        a, b = urls()
        assert DATA.get("maps/a.dat").startswith(str(isolated_cache))
        assert open(download_file(a, cache=True, sources=[])).read() == "a" * 1000
        assert DATA.get("maps/b.dat").startswith(str(isolated_cache))
        code = "from dataferry import PackageData; print(PackageData('mypkg').get('maps/b.dat'))"
        env = {**os.environ, "PYTHONPATH": "."}
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert said.stdout.strip() == DATA.get("maps/b.dat")
        clear_download_cache(a)
        assert not is_url_in_cache(a)

    def test_after():
        a, b = urls()
        assert is_url_in_cache(a) and not is_url_in_cache(b)
"""


def test_isolated_cache_reads_the_users_and_keeps_for_itself(suite):
    suite.write("test_it.py", ISOLATED)
    ran = suite.run()
    assert ran.counts == {"passed": 2}, ran.text
    assert ran.requests == {"maps/a.dat": 1, "maps/b.dat": 1}
    again = suite.run()
    assert again.counts == {"passed": 2} and again.requests == {"maps/b.dat": 1}


def as_fits(value):
    file = io.BytesIO()
    hdu = fits.PrimaryHDU(value) if isinstance(value, np.ndarray) else value
    hdu.writeto(file)
    return file.getvalue()


def as_npy(value):
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def as_ecsv(table):
    file = io.StringIO()
    table.write(file, format="ascii.ecsv")
    return file.getvalue().encode()


@pytest.fixture
def baselines(suite):
    image = np.arange(12.0, dtype=">f4").reshape(3, 4)
    table = QTable({"l": [1, 2, 3], "cl": np.array([0.5, np.nan, 2.0])})
    files = {
        "base/i.fits": as_fits(image),
        "base/t.fits": as_fits(fits.BinTableHDU(table)),
        "base/x.npy": as_npy(image),
    }
    files["base/t.ecsv"] = as_ecsv(table)
    suite.serve(files)
    suite.declare(files)
    suite.write(
        "test_it.py",
        """
        import os
        import numpy as np
        import pytest
        from astropy import units as u
        from astropy.table import QTable, Table

        WRONG = float(os.environ.get("WRONG", 0))
        IMAGE = np.arange(12.0).reshape(3, 4) + WRONG
        TABLE = QTable({"l": [1, 2, 3], "cl": np.array([0.5, np.nan, 2.0]) + WRONG})

        @pytest.mark.parametrize("name", ["base/i.fits", "base/x.npy"])
        def test_array(assert_matches_data, name):
            assert_matches_data(IMAGE, name, rtol=1e-6)

        @pytest.mark.parametrize("name", ["base/t.fits", "base/t.ecsv"])
        def test_table(assert_matches_data, name):
            assert_matches_data(TABLE, name, rtol=1e-6)
            assert_matches_data(Table(TABLE), name)
        """,
    )
    return suite


def test_results_are_compared(baselines):
    good = baselines.run()
    assert good.counts == {"passed": 4}, good.text
    bad = baselines.run(env={"WRONG": "1e-3"})
    assert bad.counts == {"failed": 4}
    assert "the result differs from 'base/t.ecsv' of mypkg" in bad.text
    assert "Max absolute difference" in bad.text and "column 'cl'" in bad.text
    assert "pytest --dataferry-update test_it.py::test_array[base/i.fits]" in bad.text


def test_update_writes_what_differs_into_a_folder(baselines):
    declared = baselines.folder / "mypkg/data/dataferry.toml"
    before = declared.read_text()
    baselines.run()
    unchanged = baselines.run("--dataferry-update")
    assert unchanged.counts == {"passed": 4} and not (baselines.folder / "dataferry-update").exists()
    baselines.write(
        "test_new.py",
        "import numpy as np\ndef test_new(assert_matches_data):\n    assert_matches_data(np.ones(3), 'base/new.npy')",
    )
    ran = baselines.run("--dataferry-update", "-n", "2", env={"WRONG": "1"})
    assert ran.counts == {"passed": 5}, ran.text
    new = baselines.folder / "dataferry-update/mypkg"
    written = {path.relative_to(new).as_posix() for path in new.rglob("*.*")}
    assert written == {"base/i.fits", "base/t.fits", "base/x.npy", "base/t.ecsv", "base/new.npy"}
    assert np.array_equal(np.load(new / "base/x.npy"), np.arange(1.0, 13.0).reshape(3, 4))
    assert '+[files."base/new.npy"]' in ran.text and "-sha256 =" in ran.text
    assert f"dataferry add --replace mypkg {new}" in ran.text
    assert declared.read_text() == before and ran.requests == {}
    assert len(ran.report["updated"]) == 5


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("np.arange(12.0)", "the shape is (12,), not (3, 4)"),
        ("IMAGE * u.K", "the unit is K, not None"),
        ("TABLE", "QTable is compared with ndarray"),
    ],
)
def test_other_kinds_differ(baselines, value, said):
    text = (baselines.folder / "test_it.py").read_text()
    baselines.write("test_it.py", text.replace("(IMAGE, name", f"({value}, name"))
    ran = baselines.run("-k", "test_array and fits")
    assert ran.counts["failed"] == 1 and said in ran.text


def test_a_baseline_that_cannot_be_had_skips(baselines):
    ran = baselines.run("--dataferry=offline", "--dataferry-update")
    assert ran.counts == {"skipped": 4}


UNITS = """
    import numpy as np
    import pytest
    from astropy import units as u
    from astropy.io import fits
    from astropy.table import QTable

    IMAGE = np.arange(4.0) * u.K

    def test_units(assert_matches_data):
        assert_matches_data(IMAGE.to(u.mK), "base/i.fits.gz")
        with pytest.raises(AssertionError, match="not convertible"):
            assert_matches_data(np.arange(4.0) * u.m, "base/i.fits.gz")

    def test_hdus(assert_matches_data):
        assert_matches_data(fits.HDUList([fits.PrimaryHDU(np.ones(3))]), "base/h.fit")

    @pytest.mark.parametrize("name", ["base/t.npy", "base/x.txt"])
    def test_forms(assert_matches_data, name):
        assert_matches_data(QTable({"a": [1]}), name)
"""


def test_units_and_hdus_are_kept(suite):
    suite.write("test_it.py", UNITS)
    ran = suite.run("--dataferry-update", "-k", "units")
    assert ran.counts == {"failed": 1, "deselected": 3}, "an update writes what is given, also a wrong unit"
    ran = suite.run("--dataferry-update", "-k", "hdus or forms")
    assert ran.counts == {"passed": 1, "failed": 2, "deselected": 1}, ran.text
    assert "a table is kept as .ecsv or .fits" in ran.text
    assert "only .fits, .npy and .ecsv files are compared" in ran.text
    hdu = fits.PrimaryHDU(np.arange(4.0))
    hdu.header["BUNIT"] = "K"
    files = {"base/i.fits.gz": gzip.compress(as_fits(hdu))}
    files["base/h.fit"] = (suite.folder / "dataferry-update/mypkg/base/h.fit").read_bytes()
    suite.serve(files)
    suite.declare(files)
    ran = suite.run("-k", "units or hdus")
    assert ran.counts == {"passed": 2, "deselected": 2}, ran.text
