"""`dataferry demo` as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def demo(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("dataferry")
    return subprocess.run(
        [program, "demo"], cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def redacted(tmp_path_factory, need):
    """One run: the folder with the picture, a home of the user's that is full of traps, and what was printed."""
    for library in ("healpy", "matplotlib"):
        need.module(library)
    folder = tmp_path_factory.mktemp("demo")
    home = tmp_path_factory.mktemp("users-home")
    (home / ".config/dataferry").mkdir(parents=True)
    (home / ".config/dataferry/config.toml").write_text("offline = true\n")
    before = sorted(home.rglob("*"))
    run = demo(
        folder,
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        XDG_CACHE_HOME=str(home / ".cache"),
        DATAFERRY_OFFLINE="1",
        http_proxy="http://127.0.0.1:9/",
    )
    # matplotlib keeps its fonts there, astropy 7 makes a folder for its configuration
    theirs = {"matplotlib", "astropy", ".astropy"}
    after = sorted(path for path in home.rglob("*") if path.name != ".cache" and not theirs & set(path.parts))
    assert after == before
    return folder, run


def test_it_ends_well_and_fits_a_screen(redacted):
    _, run = redacted
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert len(lines) <= 60
    # the picture's path is the user's own
    assert max(len(line) for line in lines if "dataferry-demo.png" not in line) <= 80
    assert "\x1b" not in run.stdout


def test_each_place_answers_once(redacted):
    _, run = redacted
    steps = re.split(r"^  \d  ", run.stdout, flags=re.MULTILINE)[1:]
    assert len(steps) == 8
    package, folder, cache, primary, mirror, refused, published, drawn = steps
    assert "where: folder: not there > package: verified now" in package
    assert "where: folder: verified now" in folder
    assert "where: folder, package: not there > cache: verified now" in cache
    assert "primary, mirror: would be asked" in primary
    assert "then:  primary: sent 3.2 MB, verified" in primary
    assert "a second get finds it in the cache" in primary
    assert "then:  primary: no connection > mirror: sent 403 kB, verified" in mirror
    assert "is not available from any place" in refused
    assert " ".join(refused.split()).count("sha256 is not the registered one") == 2
    assert "dataferry where mypkg" in refused
    assert "fetched back anonymously, verified > registered" in published
    assert "a user's get" in published
    assert "drawn: maps/" in drawn
    for step in steps[:5]:
        assert re.search(r"\d (us|ms|s)$", step.splitlines()[0])


def test_it_says_what_to_try_next(redacted):
    _, run = redacted
    end = run.stdout.partition("That was")[2]
    assert len(re.findall(r"^  \d\. ", end, flags=re.MULTILINE)) == 6
    for command in ("dataferry add", "dataferry publish", "dataferry where", "dataferry doctor"):
        assert command in end


def test_the_picture_shows_the_map(redacted, need):
    folder, _ = redacted
    assert [path.name for path in folder.iterdir()] == ["dataferry-demo.png"]
    image = need.module("matplotlib.image").imread(folder / "dataferry-demo.png")
    assert image.shape[0] >= 300
    assert image.shape[1] >= 500
    assert len({tuple(pixel) for pixel in image[::7, ::7].reshape(-1, image.shape[2])}) > 100


def test_a_missing_extra_is_named(tmp_path, need):
    need.module("healpy")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'healpy' else real(name, package)\n"
    )
    run = demo(tmp_path, PYTHONPATH=str(tmp_path))
    assert run.returncode == 5
    assert run.stdout == ""
    assert run.stderr == "error: this needs healpy, which is not installed: pip install 'dataferry[demo]'\n"
