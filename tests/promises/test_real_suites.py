"""Suites of other packages, as released: their tests that need remote data run with the plugin.

Nothing of them is changed. A plugin of some lines says which files each marked test needs, and a ``dataferry.toml``
where they are; the files come from a copy on loopback. ``DATAFERRY_SUITE_DATA`` names a folder with checkouts of
``astropy/photutils-datasets`` and ``astropy/astropy-data``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

#: Read here, since a test sees none of the variables of dataferry.
DATA = Path(os.environ.get("DATAFERRY_SUITE_DATA", "nowhere"))

DATASETS = "https://github.com/astropy/photutils-datasets/raw/main/data/"
PORTAL = "http://data.astropy.org/photometry/"

#: What photutils 3 asks for, and the sha256 of those that are in the folder.
PHOTUTILS = {
    "isophote/M51.fits": "96efab4280ecc0c036262601de50d38aaf1a1004a16fc2f27e2eeb97a117a8df",
    "isophote/synth_highsnr.fits": "9eeb2683a716f1aa115241f25401a9b677ee9079eddfcc2788ecce433798f0df",
    "isophote/M105-S001-RGB.fits": "",
    "M6707HH.fits": "b213e11a44a23d09ff48a42165479d21ef63620531c917020b8ff6afb0997418",
    "irac_ch1_flight.fits": "883afac151a1b4385a16251d943f30345e3e5e11796ba68fa1e4ffcc5eac14b9",
    "hst_wfc3ir_f160w_simulated_starfield.fits": "",
}
NEEDS = """
    import pytest

    NEEDS = {needs}

    def pytest_collection_modifyitems(items):
        for item in items:
            if item.get_closest_marker("remote_data") is not None:
                for end, (package, names) in NEEDS.items():
                    if end in item.nodeid:
                        item.add_marker(pytest.mark.package_data(*names, package=package))
"""
PHOTUTILS_NEEDS = {
    "test_isophote.py": ("datasets", ["isophote/M51.fits"]),
    "test_fitter.py": ("datasets", ["isophote/M51.fits"]),
    "test_ellipse.py": ("datasets", ["isophote/M51.fits"]),
    "test_model.py": ("datasets", ["isophote/M105-S001-RGB.fits"]),
    "test_integrator.py": ("datasets", ["isophote/synth_highsnr.fits"]),
    "test_regression.py": ("datasets", ["isophote/synth_highsnr.fits"]),
    "test_load.py": ("portal", ["M6707HH.fits"]),
    "test_positional_kwargs.py": ("portal", ["irac_ch1_flight.fits"]),
    "test_model_helpers.py": ("portal", ["hst_wfc3ir_f160w_simulated_starfield.fits"]),
}
REPROJECT = {
    "galactic_center/gc_2mass_k.fits": "763ef344df3ac8fa80ff46f00ca1ec59946ca3f99502562d6fcfb73320b1cec3",
    "galactic_center/gc_msx_e.fits": "3687fb3763911825f981e74b6a9b82c0e618f7e592b1e0cb17e2c63164e28cd6",
    "allsky/allsky_rosat.fits": "22b77adc0bcb3c344593777b7d998361c0ea9355552bd7deb82f814e709a91b3",
}
REPROJECT_NEEDS = {
    "test_blocked_against_single": ("server", ["galactic_center/*.fits"]),
    "test_dask_array.py": ("server", ["allsky/allsky_rosat.fits"]),
}


def nobody_resolves(suite):
    """A plugin for the run that keeps the hosts of the registry from being asked: only loopback is there."""
    suite.write(
        "loopback.py",
        """
        import socket
        ask = socket.getaddrinfo
        def getaddrinfo(host, *args, **kwargs):
            if host not in {"127.0.0.1", "localhost", None}:
                raise socket.gaierror(socket.EAI_NONAME, "loopback only")
            return ask(host, *args, **kwargs)
        socket.getaddrinfo = getaddrinfo
        """,
    )


def declare(suite, package, dataurl, hashes):
    lines = [f'dataurl = "{dataurl}"\nmirrors = ["{suite.server.url}{package}/"]']
    lines += [f'[files."{name}"]\nsha256 = "{digest or "0" * 64}"' for name, digest in hashes.items()]
    suite.write(f"{package}/__init__.py", "")
    suite.write(f"{package}/data/dataferry.toml", "\n".join(lines))


def run(suite, package, *args):
    command = ["--pyargs", package, "-m", "remote_data", "-p", "loopback", "-p", "needs", "--tb=short", *args]
    # with all plugins that are installed: reproject's suite needs pytest-arraydiff
    env = {"PYTHONPATH": str(suite.folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    return suite.run(*command, "-p", "no:doctestplus", "-p", "no:randomly", remotedata=True, env=env)


@pytest.fixture
def checkout(suite, need):
    """The folder of a checkout."""

    def find(name):
        folder = DATA / name
        need.that("suite-data", folder.is_dir(), "DATAFERRY_SUITE_DATA names no folder with " + name)
        nobody_resolves(suite)
        return folder

    return find


def test_photutils(suite, need, checkout):
    need.module("photutils")
    folder = checkout("photutils-datasets") / "data"
    here = {name for name in PHOTUTILS if (folder / name).is_file()}
    suite.serve({f"{package}/{name}": folder / name for package in ("datasets", "portal") for name in here})
    declare(suite, "datasets", DATASETS, PHOTUTILS)
    declare(suite, "portal", PORTAL, PHOTUTILS)
    suite.write("needs.py", NEEDS.format(needs=PHOTUTILS_NEEDS))
    check(suite, "photutils")


def test_reproject(suite, need, checkout):
    need.module("reproject")
    folder = checkout("astropy-data")
    suite.serve({f"server/{name}": folder / name for name in REPROJECT})
    declare(suite, "server", need.module("astropy.utils.data").conf.dataurl, REPROJECT)
    suite.write("needs.py", NEEDS.format(needs=REPROJECT_NEEDS))
    check(suite, "reproject")


def check(suite, package):
    cold = run(suite, package, "-n", "2")
    ran = run(suite, package, "--remote-data=any", "-n", "2")
    assert ran.counts.keys() <= {"passed", "skipped"} and ran.counts["passed"] > cold.counts.get("passed", 0)
    missing = {file["name"] for file in ran.report["files"] if file["state"] == "missing"}
    assert all(n == 1 for name, n in ran.requests.items() if name.partition("/")[2] not in missing), ran.requests
    # the files are here now, so their tests run without --remote-data
    warm = run(suite, package, "-n", "2")
    assert warm.requests == {} and "failed" not in warm.counts
    assert warm.counts["passed"] > cold.counts.get("passed", 0)
    assert all(file["from"] == "cache" for file in warm.report["files"] if file["state"] == "here")
