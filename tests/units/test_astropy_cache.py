"""astropy's cache from inside: how an entry gets in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from astropy.utils import data as astropy_data

from dataferry.cache.astropy_cache import astropy_timeout, drop_entry, entry_path, put_entry, replace_entry
from dataferry.cache.layout import url_key

NAME, RIGHT = "maps/a.fits", b"right bytes\n" * 100
URL = "https://host.example/data/" + NAME


def test_an_entry_is_moved_in_not_copied(home):
    incoming = home / ".cache/astropy/dataferry/incoming"
    incoming.mkdir(parents=True)
    file = incoming / "file"
    file.write_bytes(RIGHT)
    inode = file.stat().st_ino
    cache = str(home / ".cache/astropy")
    kept = put_entry(cache, url_key(URL), URL, str(file))
    assert os.stat(kept).st_ino == inode and not file.exists()
    assert entry_path(cache, url_key(URL)) == kept
    file.write_bytes(b"other")
    assert put_entry(cache, url_key(URL), URL, str(file)) is None  # the first one's entry stays
    assert file.read_bytes() == b"other" and Path(kept).read_bytes() == RIGHT
    with open(kept, "rb") as reader:
        replace_entry(kept, str(file))
        assert reader.read() == RIGHT
    assert Path(kept).read_bytes() == b"other"
    drop_entry(kept)
    assert not astropy_data.is_url_in_cache(URL)
    assert [path.name for path in (home / ".cache/astropy/download").iterdir()] == ["url"]


@pytest.mark.parametrize("url", ["HTTP://127.0.0.1:9/a/", "http://LOCALHOST:9/a/"])
def test_a_url_that_astropy_normalises_is_kept_under_astropys_key(url, home):
    (home / ".cache/astropy").mkdir(parents=True)
    file = home / ".cache/astropy/file"
    file.write_bytes(RIGHT)
    put_entry(str(home / ".cache/astropy"), url_key(url + NAME), url + NAME, str(file))
    assert astropy_data.is_url_in_cache(url.lower() + NAME)


def test_the_timeout_that_nobody_changed_is_dataferrys_own():
    assert astropy_timeout() is None
    with astropy_data.conf.set_temp("remote_timeout", 45):
        assert astropy_timeout() == 45


PLACES = """
import json, os, sys, warnings
from dataferry.cache.layout import cache_folders

warnings.simplefilter("ignore")
cases = json.loads(sys.argv[1])

def places():
    for case in cases:
        os.environ |= case
        yield cache_folders()

before = list(places())
import astropy.config
print([case for case, mine, theirs in zip(cases, before, places(), strict=True) if mine != theirs])
"""


def test_the_rule_which_cache_is_meant_is_astropys(tmp_path):
    """Every case of the variables and of folders in a home, before and after astropy has been imported."""
    (tmp_path / "own").mkdir()
    (tmp_path / "xdg").mkdir()
    cases = []
    for number, (own, xdg, legacy, new) in enumerate(
        product(
            ["", f"{tmp_path}/own", f"{tmp_path}/gone"],
            ["", f"{tmp_path}/xdg", f"{tmp_path}/gone", "xdg"],
            *2 * [[0, 1]],
        )
    ):
        user = tmp_path / str(number)
        user.mkdir()
        if legacy:
            (user / ".astropy/cache").mkdir(parents=True)
        if new:
            (user / ".cache/astropy").mkdir(parents=True)
        cases.append({"HOME": str(user), "ASTROPY_CACHE_DIR": own, "XDG_CACHE_HOME": xdg})
    done = subprocess.run(
        [sys.executable, "-c", PLACES, json.dumps(cases)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
