"""The data files: which are installed, and where dataferry finds them."""

import shutil

import pytest

from dataferry import Offline
from mypkg import DATA

BUNDLED = ["bands.ecsv", "maps/dust_016.fits"]


@pytest.fixture(autouse=True)
def nothing_but_the_package(monkeypatch, tmp_path):
    """Use no network, an empty cache, and no folder of this machine."""
    for variable in "DATAFERRY_DATA", "MYPKG_DATA", "WORK", "ASTROPY_CACHE_DIR":
        monkeypatch.delenv(variable, raising=False)
    for variable in "XDG_CACHE_HOME", "XDG_CONFIG_HOME":
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")


@pytest.mark.parametrize("name", BUNDLED)
def test_installed_with_the_package(name):
    """Small files are found in the package itself."""
    used = [step.kind for step in DATA.where(name).steps if step.found]
    assert used == ["package"]


def test_bundled_bytes():
    """Each bundled file is the registered one."""
    assert {name: step.found for name, step in DATA.verify(BUNDLED)} == dict.fromkeys(BUNDLED, True)


def test_a_folder_of_the_user(monkeypatch, tmp_path):
    """``MYPKG_DATA`` comes before the package."""
    folder = tmp_path / "my-data"
    (folder / "maps").mkdir(parents=True)
    shutil.copy(DATA.get("maps/dust_016.fits"), folder / "maps")
    monkeypatch.setenv("MYPKG_DATA", str(folder))
    assert DATA.get("maps/dust_016.fits") == str(folder / "maps" / "dust_016.fits")


def test_without_a_network():
    """The error has the command to run where there is a network."""
    with pytest.raises(Offline, match=r"dataferry get mypkg maps/dust_064\.fits"):
        DATA.get("maps/dust_064.fits")
