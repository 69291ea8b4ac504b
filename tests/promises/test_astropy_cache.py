"""astropy's cache is the cache: what either side keeps, the other finds."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import astropy
import numpy as np
import pytest
from astropy.config import get_cache_dir_path
from astropy.utils import data as astropy_data

from dataferry import DataferryError, FileUnavailable, PackageData, maps
from dataferry.testing import NeverAnswers, RangeServer, Status

SEVEN_HERE = astropy.__version__.startswith("7.")
NAME, RIGHT = "maps/a.fits", b"right bytes\n" * 100


@pytest.fixture
def server():
    with RangeServer({NAME: RIGHT}) as running:
        yield running


@pytest.fixture
def package(make_package, server):
    return make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"')


def idiom(server, package):
    """What packages do today."""
    with (
        astropy_data.conf.set_temp("dataurl", server.url),
        astropy_data.conf.set_temp("dataurl_mirror", server.url),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return astropy_data.get_pkg_data_filename(NAME, package=package, show_progress=False)


def test_what_the_plain_idiom_cached_is_found_without_network(package, server):
    theirs = idiom(server, package)
    assert len(server.requests) == 1
    server.fault("*", Status(500))
    ours = PackageData(package).get(NAME)
    assert os.path.samefile(ours, theirs) and ours.endswith("/a.fits")
    assert len(server.requests) == 1


def test_what_dataferry_fetched_is_found_by_astropy(package, server):
    ours = PackageData(package).get(NAME)
    url = server.url + NAME
    server.fault("*", Status(500))
    assert astropy_data.is_url_in_cache(url)
    assert os.path.samefile(astropy_data.download_file(url, cache=True, sources=[]), ours)
    assert os.path.samefile(idiom(server, package), ours)
    assert url in astropy_data.get_cached_urls()
    astropy_data.check_download_cache()
    assert len(server.requests) == 1


def test_the_key_is_the_canonical_url_even_when_a_mirror_answered(make_package, server):
    with RangeServer({NAME: RIGHT}) as mirror:
        package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"\nmirrors = "{mirror.url}"')
        server.fault("*", Status(404))
        PackageData(package).get(NAME)
    assert astropy_data.is_url_in_cache(server.url + NAME)
    assert not astropy_data.is_url_in_cache(mirror.url + NAME)


def test_a_wrong_file_of_the_plain_idiom_is_replaced(package, server, tmp_path):
    """astropy keeps a login page for good; dataferry does not take it, and puts the right file in its place."""
    page = tmp_path / "page"
    page.write_text("<html>log in</html>")
    astropy_data.import_file_to_cache(server.url + NAME, str(page))
    step = next(s for s in PackageData(package).where(NAME).steps if s.kind == "cache")
    assert not step.found and "bytes instead of 1200" in step.note
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT
    assert Path(idiom(server, package)).read_bytes() == RIGHT


def test_a_cleared_cache_is_a_miss(package, server):
    data = PackageData(package)
    data.get(NAME)
    astropy_data.clear_download_cache(server.url + NAME)
    assert PackageData(package).where(NAME).path is None
    assert Path(data.get(NAME)).read_bytes() == RIGHT
    assert len(server.requests) == 2


def place(kind, home, monkeypatch):
    """Set up one of the places of astropy's cache, and return where an entry must appear."""
    if kind == "ASTROPY_CACHE_DIR":
        (home / "own").mkdir()
        monkeypatch.setenv("ASTROPY_CACHE_DIR", str(home / "own"))
        return home / "own"
    if kind == "XDG_CACHE_HOME":
        return home / ".cache/astropy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    if kind == "legacy":
        (home / ".astropy/cache").mkdir(parents=True)
        return home / ".astropy/cache"
    return home / ".cache/astropy"


@pytest.mark.parametrize("kind", ["ASTROPY_CACHE_DIR", "XDG_CACHE_HOME", "legacy", "home"])
def test_every_place_of_the_cache_is_honoured(kind, package, home, monkeypatch):
    expected = place(kind, home, monkeypatch)
    if SEVEN_HERE:  # it has rules of its own, and does not know the variable
        expected = get_cache_dir_path()
    assert get_cache_dir_path() == expected
    path = PackageData(package).get(NAME)
    assert Path(path).resolve().is_relative_to(expected / "download/url")
    assert Path(path).is_relative_to(expected / "dataferry")
    assert (
        kind != "legacy" or SEVEN_HERE or not (home / ".cache/astropy").exists()
    )  # that would orphan the whole legacy cache
    code = f"import sys, dataferry; print(dataferry.PackageData({package!r}).get({NAME!r}))"
    if not (SEVEN_HERE and kind == "ASTROPY_CACHE_DIR"):  # only astropy knows that it passes the variable over
        code += "; assert 'astropy' not in sys.modules"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DATAFERRY_OFFLINE": "1"}
    again = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert os.path.samefile(again.stdout.strip(), path)


@pytest.mark.skipif(SEVEN_HERE, reason="astropy 7 has other rules")
@pytest.mark.parametrize("variable", ["ASTROPY_CACHE_DIR", "XDG_CACHE_HOME"])
def test_a_folder_has_one_spelling_whether_or_not_astropy_is_imported(variable, package, home, monkeypatch):
    (home / "own").mkdir()
    monkeypatch.setenv(variable, f"{home}//own/./")
    path = PackageData(package).get(NAME)
    code = f"import dataferry; print(dataferry.PackageData({package!r}).get({NAME!r}))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DATAFERRY_OFFLINE": "1"}
    for before in ("", "import astropy.config; "):
        run = [sys.executable, "-c", before + code]
        assert subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout.strip() == path


def test_a_temporary_cache_is_honoured(package, tmp_path, server):
    from astropy.config import set_temp_cache

    (tmp_path / "t").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        temporary = set_temp_cache(str(tmp_path / "t"))
    with temporary:
        inside = PackageData(package).get(NAME)
        assert Path(inside).is_relative_to(tmp_path / "t")
    outside = PackageData(package).get(NAME)
    assert not Path(outside).is_relative_to(tmp_path / "t")
    assert len(server.requests) == 2


def read_only(need, folder):
    need.that("mount", os.geteuid() == 0, "only root mounts a folder read-only")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True, check=False)
    need.that("mount", done.returncode == 0, done.stderr.decode())


@pytest.mark.skipif(SEVEN_HERE, reason="astropy 7 does not know ASTROPY_CACHE_DIR")
def test_a_read_only_cache_falls_back_to_ones_own(need, package, home, monkeypatch, server):
    (home / "shared").mkdir()
    read_only(need, home / "shared")
    try:
        monkeypatch.setenv("ASTROPY_CACHE_DIR", str(home / "shared"))
        path = PackageData(package).get(NAME)
        assert Path(path).is_relative_to(home / ".cache/dataferry") and Path(path).read_bytes() == RIGHT
        assert PackageData(package).get(NAME) == path
        assert len(server.requests) == 1
    finally:
        subprocess.run(["umount", str(home / "shared")], check=True)


def test_a_read_only_cache_that_holds_the_file_is_used(need, package, home, monkeypatch, server):
    first = PackageData(package).get(NAME)
    cache = Path(first).parents[3]
    done = subprocess.run(["mount", "--bind", str(cache), str(cache)], capture_output=True, check=False)
    need.that("mount", done.returncode == 0, done.stderr.decode())
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(cache)], check=True)
        monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
        assert PackageData(package).get(NAME) == first
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_without_any_home_a_file_is_kept_for_the_process(need, package, tmp_path):
    """No HOME and no entry in the password file: there astropy itself finds no cache."""
    code = f"""
import warnings, dataferry
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    path = dataferry.PackageData({package!r}, show_progress=False).get({NAME!r})
print(path, len(open(path, "rb").read()), *(w.message for w in caught if w.category is RuntimeWarning))
"""
    need("setpriv")
    need.that("another user", os.geteuid() == 0, "only root becomes a user without a home")
    env = {k: v for k, v in os.environ.items() if k not in {"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    # a user that nobody knows, who still may read this interpreter wherever it lies
    nobody = ["setpriv", "--reuid=54321", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    done = subprocess.run([*nobody, sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path, size, warning = done.stdout.split(maxsplit=2)
    assert path.endswith("/a.fits") and size == "1200" and "ASTROPY_CACHE_DIR" in warning
    assert not Path(path).exists()


@pytest.mark.skipif(SEVEN_HERE, reason="astropy 7 does not know ASTROPY_CACHE_DIR")
def test_the_shared_cache_of_a_group_is_readable_by_it(package, home, monkeypatch):
    """astropy makes entries for the user alone; dataferry follows the umask."""
    (home / "group").mkdir()
    monkeypatch.setenv("ASTROPY_CACHE_DIR", str(home / "group"))
    before = os.umask(0o002)
    try:
        path = Path(PackageData(package).get(NAME)).resolve()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o664
    assert path.parent.stat().st_mode & 0o777 == 0o775


@pytest.fixture(scope="module")
def astropy_seven(tmp_path_factory, need):
    """A folder with astropy 7, taken from the package index; what it depends on is here."""
    folder = tmp_path_factory.mktemp("seven")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-compile",
            "--target",
            folder,
            "astropy>=7,<8",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    need.that("astropy 7", done.returncode == 0, f"it cannot be installed: {done.stderr[-300:]}")
    return folder


SEVEN = """
import sys, warnings
warnings.simplefilter("ignore")
import astropy
assert astropy.__version__.startswith("7."), astropy.__version__
from astropy.utils import data
from dataferry import PackageData
url, package, name, direction = sys.argv[1:]
if direction == "out":
    ours = PackageData(package, show_progress=False).get(name)
    assert data.is_url_in_cache(url + name)
with data.conf.set_temp("dataurl", url), data.conf.set_temp("dataurl_mirror", url):
    theirs = data.get_pkg_data_filename(name, package=package, show_progress=False)
if direction == "in":
    ours = PackageData(package, show_progress=False).get(name)
import os
assert os.path.samefile(ours, theirs), (ours, theirs)
data.check_download_cache()
print(ours)
"""


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("xdg", [True, False])
def test_both_directions_with_astropy_seven(direction, xdg, astropy_seven, package, server, monkeypatch):
    if not xdg:
        monkeypatch.delenv("XDG_CACHE_HOME")
    here = str(Path(__file__).resolve().parents[2])
    site = [p for p in sys.path if p.endswith("site-packages")]
    packages = str(Path(PackageData(package).registry.path).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(astropy_seven), here, packages, *site])}
    done = subprocess.run(
        [sys.executable, "-c", SEVEN, server.url, package, NAME, direction],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/a.fits")
    assert len(server.requests) == 1
    found = PackageData(package, show_progress=False)  # and astropy 8 finds what 7 kept, where both use the same place
    if xdg:
        assert Path(found.get(NAME)).read_bytes() == RIGHT
        assert len(server.requests) == 1


@pytest.mark.nightly
@pytest.mark.usefixtures("astropy_leaks")
def test_astropys_own_tests_pass_after_dataferry_used_the_cache(need, package, home, tmp_path):
    need.that("astropy's tests", importlib.util.find_spec("astropy.utils.tests.test_data"), "they are not installed")
    PackageData(package).get(NAME)
    with pytest.raises(FileUnavailable):
        PackageData(package).get("none.fits")
    command = [sys.executable, "-m", "pytest", "--pyargs", "astropy.utils.tests.test_data", "-q", "-x"]
    command += ["-p", "no:cacheprovider", "-o", "markers=slow", "--rootdir", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


READ = """
import sys
import dataferry

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
path = dataferry.PackageData({package!r}).get({name!r})
print(path, sum(file.endswith(("/contents", "/a.fits")) for file in opened))
"""


def test_a_verified_entry_is_not_read_again(package):
    """A second process trusts the stamp and reads no byte of the file."""
    path = PackageData(package).get(NAME)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DATAFERRY_OFFLINE": "1"}
    code = READ.format(package=package, name=NAME)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [path, "0"]
    Path(path).write_bytes(b"x" * 1200)
    again = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "sha256 is" in again.stderr


def settings_of_astropy():
    return {name: getattr(astropy_data.conf, name) for name in astropy_data.conf}


def test_what_the_engine_does_changes_no_setting_of_astropy(make_package, tmp_path, monkeypatch, case, quay):
    """Seen before, after, and by other threads at every progress."""
    before, during = settings_of_astropy(), []
    maps.write_map(tmp_path / "sky.fits", np.arange(12 * 16**2, dtype="f4"))
    sky = (tmp_path / "sky.fits").read_bytes()
    here = quay()
    with RangeServer({NAME: RIGHT, "sky.fits": sky}) as server:
        files = {NAME: RIGHT, "sky.fits": sky, "gone.fits": b"gone"}
        data = PackageData(
            make_package(files, head=f'dataurl = "{server.url}"\nmirrors = ["figshare:1?server={server.url}"]'),
            show_progress=lambda now: during.append(settings_of_astropy()),
        )
        data.read_map("sky.fits", pixels=[3], remote=True)
        data.get(NAME)
        data.fetch(["sky.fits"])
        for fails in (data.get, data.fetch, lambda name: data.read_map(name, pixels=[3], remote=True)):
            with pytest.raises(DataferryError):
                fails("gone.fits")
        assert settings_of_astropy() == before
    case.publish({"c.fits": RIGHT}, "quay:a")
    here.server.fault("*", Status(500))
    with pytest.raises(DataferryError):
        case.publish({"d.fits": RIGHT + b"d"}, "quay:a", wait=0)
    assert settings_of_astropy() == before
    assert during and all(seen == before for seen in during)


@pytest.mark.parametrize(
    ("ours", "theirs", "holds"), [("", 0.4, "no answer in 0.4 s"), ("timeout = 0.3\n", 600, "no answer in 0.3 s")]
)
def test_a_server_that_hangs_is_given_up_after_astropys_timeout(ours, theirs, holds, make_package, server):
    """The package's own ``timeout`` comes first."""
    server.fault("*", NeverAnswers())
    package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"\n{ours}')
    with astropy_data.conf.set_temp("remote_timeout", theirs), pytest.raises(FileUnavailable, match=holds):
        PackageData(package, show_progress=False).get(NAME)
