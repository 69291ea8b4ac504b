"""`dataferry doctor`: what is found on this machine, and nothing written or asked."""

from __future__ import annotations

import json
import re

import pytest
from astropy.config import get_cache_dir_path

from dataferry.testing import RangeServer


@pytest.fixture
def package(make_package, tmp_path):
    with RangeServer({}) as server:
        (tmp_path / "shared").mkdir()
        head = f'dataurl = "{server.url}"\nmirrors = ["https://ann:secret@mirror.example/x/"]\nenv = "MADE_DATA"\n'
        folders = f'[folders]\nany = ["{tmp_path}/shared", "/no/such/folder", "$NOT_SET/x"]\n'
        yield make_package({"a.fits": b"aa"}, {"b.fits": b"b"}, head + folders)
        assert server.requests == []


def test_doctor_reads_well(command, package, home, monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://ann:secret@proxy.example:3128")
    monkeypatch.setenv("NERSC_HOST", "perlmutter")
    before = {str(path) for path in home.rglob("*")}
    result = command("doctor", package)
    assert result.exit_code == 0
    text = result.stdout
    assert re.match(r"dataferry \S+\n  with      python 3\.\d+\.\d+, astropy \d", text)
    for line in (
        f"  astropy's {get_cache_dir_path()} (writable, ",
        f"  spare     {home}/.cache/dataferry (writable, ",
        "  offline   no\n",
        "  proxy     https_proxy=http://proxy.example:3128\n",
        f"  file      {home}/.config/dataferry/config.toml (not there)\n",
        "  site      nersc, perlmutter\n",
        f"Package {package}\n",
        "  files     2, 3 B\n",
        "  mirror    https://mirror.example/x/\n",
        "  variable  MADE_DATA\n",
        f"  folder    {tmp_path}/shared (there; dataferry.toml, any)\n",
        "  folder    /no/such/folder (no such file or directory; dataferry.toml, any)\n",
        "  folder    $NOT_SET/x ($NOT_SET is not set; dataferry.toml, any)\n",
    ):
        assert line in text
    assert "secret" not in text
    after = {str(path) for path in home.rglob("*") if not {"astropy", ".astropy"} & set(path.parts)}
    assert after <= before  # but for the folders that astropy makes for itself


def test_doctor_as_json(command, package, home):
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text("offline = true\n")
    found = json.loads(command("doctor", "--json", package).stdout)
    assert set(found) == {
        *("versions", "extras", "caches", "offline", "proxies", "hosts"),
        *("config_files", "environment", "sites", "package", "problems"),
    }
    assert found["offline"] == f"offline = true in {home}/.config/dataferry/config.toml"
    assert found["config_files"][0] == {"path": f"{home}/.config/dataferry/config.toml", "read": True}
    assert set(found["extras"]) >= {"demo", "maps"}
    assert found["package"]["files"] == 2
    assert found["problems"] == []


def test_doctor_names_problems(command, home, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "maybe")
    result = command("doctor", "no_such_package")
    assert result.exit_code == 4
    assert "problem: DATAFERRY_OFFLINE is 1 or 0, not 'maybe'" in result.stdout
    assert "problem: there is no package 'no_such_package' here" in result.stdout


@pytest.mark.filterwarnings("ignore:XDG_CACHE_HOME is set")
def test_doctor_says_that_no_cache_can_be_written(command, home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file" / "x"))
    monkeypatch.setenv("HOME", str(home / "file"))
    result = command("doctor")
    assert result.exit_code == 5
    assert "no cache can be written" in result.stdout
    assert "ASTROPY_CACHE_DIR" in result.stdout
