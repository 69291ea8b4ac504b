"""dataferry where the functions of POSIX and links are missing, and on a file system of Windows.

``tests/servers/windows`` has a standard library as Windows has it, for the modules of dataferry alone. What is left out
below makes symbolic links, forks or FIFOs itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData
from dataferry.testing import RangeServer

Run = Callable[..., subprocess.CompletedProcess[str]]


SHA = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
#: More files than run everywhere: what they ask of the platform others ask as well.
MORE = "cache_key check cli_bad_input credentials host_example hosts_interface maps_values maps_write testing_contract"


@pytest.fixture
def without_posix(repository: Path) -> Run:
    """Run Python with the standard library of Windows, and with the packages that this test has made."""
    windows = str(repository / "tests" / "servers" / "windows")

    def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([windows, *sys.path])}
        return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("promises", "tests"),
    [
        ("archives cache_folder plain registry retrieve", 120),
        pytest.param(MORE, 400, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
    ids=["few", "more"],
)
def test_promises_without_posix(repository: Path, without_posix: Run, promises: str, tests: int) -> None:
    files = [str(repository / "tests" / "promises" / f"test_{name}.py") for name in promises.split()]
    done = without_posix("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, cwd=repository)
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > tests


def test_names_that_windows_cannot_have(without_posix: Run, tmp_path: Path) -> None:
    paths = {
        "maps/dust.fits": "maps/dust.fits",
        "one:two*.fits": "one%3Atwo%2A.fits",
        "con/NUL.fits": "%63on/%4EUL.fits",
        "ends./in a dot.": "ends%2E/in a dot%2E",
        "50%.fits": "50%25.fits",
        "console.txt": "console.txt",
    }
    with RangeServer(dict.fromkeys(paths, b"data")) as server:
        registry = registered(tmp_path, server.url, *paths)
        code = (
            "import dataferry\n"
            f"data = dataferry.PackageData('mypkg', registry={registry!r}, show_progress=False)\n"
            f"for name in {list(paths)}:\n    print(data.get(name), data.contents(name))"
        )
        done = without_posix("-c", code)
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stderr
    for line, path in zip(lines, paths.values(), strict=True):
        assert line.endswith(f"/{path} b'data'")


def registered(folder: Path, url: str, *names: str) -> str:
    """Write a registry of files that hold ``data``."""
    path = folder / "dataferry.toml"
    files = [f'[files."{name}"]\nsize = 4\nsha256 = "{SHA}"' for name in names]
    path.write_text("\n".join([f'dataurl = "{url}"', *files]))
    return str(path)


def test_clones_are_pruned_and_no_warning_is_left(without_posix: Run, home: Path, make_package: Any) -> None:
    clone = home / ".cache/astropy/dataferry/git/.dataferry-01234567-0-89abcdef.git"
    with RangeServer({"a.txt": b"data"}) as server:
        package = make_package({"a.txt": b"data"}, head=f'dataurl = "{server.url}"')
        code = f"import dataferry; dataferry.PackageData({package!r}, show_progress=False).get('a.txt')"
        done = without_posix("-X", "dev", "-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    clone.mkdir(parents=True)
    os.utime(clone, (1e9, 1e9))
    done = without_posix("-m", "dataferry", "cache", "prune", "-y")
    assert done.returncode == 0 and "1 left by stopped run" in done.stdout, done.stderr
    assert not clone.exists()


def test_a_folder_is_not_published_to(without_posix: Run, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "a.txt").write_bytes(b"data")
    registered(tmp_path, "https://data.example.org/", "a.txt")
    host = f"folder:{tmp_path}/www?url=https://data.example.org/"
    words = ["publish", "a.txt", "--package", str(tmp_path), "--to", host]
    done = without_posix("-m", "dataferry", *words, cwd=tmp_path)
    assert done.returncode != 0 and "Windows lacks the rights" in done.stderr, done.stderr
    assert "publish from Linux or macOS" in done.stderr and not any((tmp_path / "www").iterdir())


@pytest.mark.parametrize("chosen", [False, True])
def test_a_path_that_is_longer_than_windows_takes(
    without_posix: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    name = "/".join(["folder"] * 27) + "/name.fits"
    with RangeServer({name: b"data"}) as server:
        registry = registered(tmp_path, server.url, name)
        code = (
            "import dataferry\n"
            f"data = dataferry.PackageData('mypkg', registry={registry!r}, show_progress=False)\n"
            f"print(open(data.get({name!r})).read())"
        )
        if chosen:
            monkeypatch.setenv("DATAFERRY_CACHE", str(tmp_path / "cache"))
        done = without_posix("-c", code)
        problem = r"CacheError: .*a path of \d+ characters, and Windows takes 259 .*; set DATAFERRY_CACHE to"
        assert re.search(problem, done.stderr), done.stderr
        short = Path(tempfile.mkdtemp(dir="/tmp", prefix="d"))
        try:
            monkeypatch.setenv("DATAFERRY_CACHE", str(short))
            done = without_posix("-c", code)
            assert done.stdout == "data\n", done.stderr
        finally:
            shutil.rmtree(short)


def test_hard_links_where_symbolic_ones_need_a_right(without_posix: Run, make_package: Any) -> None:
    def run(*words: str) -> list[str]:
        done = without_posix(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with RangeServer({"maps/a.fits": b"one", "maps/b.fits": b"other"}) as server:
        package = make_package({"maps/a.fits": b"one", "maps/b.fits": b"other"}, head=f'dataurl = "{server.url}"')
        code = f"""
from astropy.utils.data import is_url_in_cache
from dataferry import PackageData
data = PackageData({package!r}, show_progress=False)
print(*data.fetch(), is_url_in_cache({server.url + "maps/a.fits"!r}), data.where("maps/b.fits"), sep="\\n")
"""
        first, second, in_astropy, *_ = run("-c", code)
        assert in_astropy == "True" and first.endswith("/maps/a.fits") and Path(second).read_bytes() == b"other"
        assert not Path(first).is_symlink() and Path(first).stat().st_nlink == 2, "it takes no space twice"
        again = run("-c", code)
        assert again[:2] == [first, second] and any("verified earlier" in line for line in again)
        assert len(server.requests) == 2
    run("-m", "dataferry", "cache", "clear", package, "maps/a.fits", "--yes")
    assert not Path(first).exists() and Path(second).stat().st_nlink == 2
    assert run("-c", code.replace("*data.fetch()", "0, 0"))[2] == "False", "the entry is gone as well"


@contextlib.contextmanager
def cache_on_an_image(need: Any, folder: Path, make: list[str], mount: list[str], *, loop: bool) -> Iterator[Path]:
    """A cache on a file system in a file, mounted through FUSE."""
    need.that("mount", os.geteuid() == 0, "only root mounts")
    make[0], mount[0] = need(make[0]), need(mount[0])
    image, place = folder / "image", folder / "mounted"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run([*make, str(image)], check=True, capture_output=True)
    with contextlib.ExitStack() as stack:
        device = str(image)
        if loop:
            found = subprocess.run(["losetup", "-f", "--show", device], capture_output=True, text=True)
            if found.returncode:
                pytest.skip("there are no loop devices")
            device = found.stdout.strip()
            stack.callback(subprocess.run, ["losetup", "-d", device], check=False)
        if subprocess.run([*mount, device, str(place)], capture_output=True).returncode:
            pytest.skip("there is no FUSE")
        stack.callback(subprocess.run, ["umount", "-l", str(place)], check=True)
        (place / "cache").mkdir()
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("ASTROPY_CACHE_DIR", str(place / "cache"))
        environment.setenv("XDG_CACHE_HOME", str(place / "cache"))
        yield place / "cache"


@pytest.fixture
def exfat(need: Any, tmp_path: Path) -> Iterator[Path]:
    """A cache on exFAT: no links, no rights, and capitals are small letters."""
    with cache_on_an_image(need, tmp_path, ["mkfs.exfat"], ["mount.exfat-fuse"], loop=True) as cache:
        yield cache


def test_a_cache_without_links_or_capitals(exfat: Path, make_package: Any) -> None:
    files = {f"maps/{n}.fits": os.urandom(5000 + n) for n in range(20)} | {"large.bin": os.urandom(9_000_000)}
    with RangeServer(files) as server:
        package = make_package(files, head=f'dataurl = "{server.url}"')
        for _ in range(2):
            paths = PackageData(package, show_progress=False).fetch(list(files))
            assert [Path(path).read_bytes() for path in paths] == list(files.values())
            assert all(
                path.startswith(str(exfat)) and path.endswith(name) for path, name in zip(paths, files, strict=True)
            )
        assert len({request.name for request in server.requests}) == len(files)
        assert sum(request.sent for request in server.requests) < 1.1 * sum(map(len, files.values()))


@pytest.fixture
def ntfs(need: Any, tmp_path: Path) -> Iterator[Path]:
    """A cache on NTFS as Windows mounts it: capitals are small letters, and some names are refused."""
    mount = ["lowntfs-3g", "-o", "ignore_case,windows_names"]
    with cache_on_an_image(need, tmp_path, ["mkfs.ntfs", "-q", "-F", "-Q"], mount, loop=False) as cache:
        yield cache


@pytest.mark.parametrize("chosen", [False, True])
def test_hard_links_where_capitals_are_small_letters(
    without_posix: Run, ntfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    files = {"maps/a.fits": b"small", "maps/A.fits": b"large", "con/one:two.fits": b"other"}
    if chosen:
        monkeypatch.setenv("DATAFERRY_CACHE", str(ntfs / "chosen"))
    lines = [f'[files."{name}"]\nsha256 = "{hashlib.sha256(content).hexdigest()}"' for name, content in files.items()]
    with RangeServer(files) as server:
        registry = tmp_path / "dataferry.toml"
        registry.write_text("\n".join([f'dataurl = "{server.url}"', *lines]))
        code = (
            "import dataferry\n"
            f"data = dataferry.PackageData('mypkg', registry={str(registry)!r}, show_progress=False)\n"
            "print(*data.fetch(), sep='\\n')\n"
            "assert all(step.found for _, step in data.verify())"
        )
        for _ in range(3):
            done = without_posix("-c", code)
            paths = [Path(line) for line in done.stdout.splitlines()]
            assert [path.read_bytes() for path in paths] == list(files.values()), done.stderr
            assert all(path.is_relative_to(ntfs) and not path.is_symlink() for path in paths)
        assert len(server.requests) == len(files)
    done = without_posix("-m", "dataferry", "cache", "clear", "--yes")
    assert done.returncode == 0, done.stderr
    # this driver lists all names in small letters, so dataferry does not know its own in a folder of the user's
    assert not any(path.exists() for path in paths if path.name.islower())
