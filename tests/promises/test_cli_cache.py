"""`dataferry cache`: what is kept, and that only what nobody names any more goes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from astropy.utils.data import download_file, is_url_in_cache

from dataferry import PackageData
from dataferry.testing import RangeServer

FILES = {"maps/a.fits": b"a" * 5000, "maps/b.fits": b"b" * 300}


@pytest.fixture
def server():
    with RangeServer(FILES | {"plain.txt": b"plain"}) as running:
        yield running


@pytest.fixture
def package(make_package, server, command):
    name = make_package(FILES, {"small.txt": b"small\n"}, f'dataurl = "{server.url}"\n')
    assert command("get", name, "*").exit_code == 0
    return name


def toml_of(package: str, tmp_path: Path) -> Path:
    return tmp_path / "packages" / package / "data" / "dataferry.toml"


def forget(package: str, tmp_path: Path, name: str) -> None:
    """A new version of the package has the file no more."""
    path = toml_of(package, tmp_path)
    path.write_text(path.read_text().replace(f'"{name}"', '"another.fits"'))


def kept(command) -> list[str]:
    return [file["name"] for file in json.loads(command("cache", "list", "--json").stdout)["files"]]


def test_a_file_of_a_url_belongs_to_no_package(command, server):
    assert command("get", server.url_of("plain.txt")).exit_code == 0
    assert command("cache", "list").stdout.splitlines()[1].endswith("plain.txt  (fetched by its URL)")
    prune = command("cache", "prune", "--yes")
    assert prune.stdout == "nothing to remove\n"
    assert prune.stderr == ""
    assert "plain.txt" in command("cache", "prune", "--uninstalled", "--yes").stdout
    assert kept(command) == []


def test_list_and_size(command, package, tmp_path):
    result = command("cache", "list")
    assert result.stdout.splitlines()[1:] == [
        f"  5.0 kB  {package:<12}  maps/a.fits",
        f"   300 B  {package:<12}  maps/b.fits",
    ]
    assert result.stderr == "2 files, 5.3 kB\n"
    assert command("cache", "list", "another").stdout == ""
    file = json.loads(command("cache", "list", "--json", package).stdout)["files"][0]
    assert file.pop("path").endswith("/maps/a.fits")
    assert file == {"package": package, "name": "maps/a.fits", "size": 5000, "state": "registered"}
    assert f"  5.3 kB  {package} (2 files)" in command("cache", "size").stdout
    sizes = json.loads(command("cache", "size", "--json").stdout)
    assert sizes["packages"] == [{"package": package, "files": 2, "bytes": 5300}]
    assert sizes["unfinished"] == {"files": 0, "bytes": 0}


def test_an_empty_cache_is_no_error(command):
    assert command("cache", "list").exit_code == 0
    assert "in all" in command("cache", "size").stdout
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert command("cache", "clear", "-y").stdout == "nothing to remove\n"


def test_clear_frees_the_space_in_astropys_cache(command, package, server, home):
    download_file(server.url_of("plain.txt"), cache=True, show_progress=False)
    result = command("cache", "clear", package, "*a.fits", "--yes")
    assert result.stdout.endswith("removed 1 file, 5.0 kB freed\n")
    assert kept(command) == ["maps/b.fits"]
    assert not is_url_in_cache(server.url_of("maps/a.fits"))
    assert is_url_in_cache(server.url_of("maps/b.fits"))
    assert is_url_in_cache(server.url_of("plain.txt"))
    assert command("cache", "clear", "--yes").exit_code == 0
    assert kept(command) == []
    assert not list(home.glob(f".cache/astropy/dataferry/**/{package}*")), "an empty folder is left"
    assert is_url_in_cache(server.url_of("plain.txt"))
    assert sum(p.stat().st_size for p in home.rglob("*") if p.is_file() and b"a" * 5000 in p.read_bytes()) == 0
    assert command("get", package, "maps/a.fits").exit_code == 0


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_clear_asks(command, package, answer):
    result = command("cache", "clear", input=answer)
    assert "Remove 2 files? [y/N]" in result.stdout
    assert len(kept(command)) == 2
    assert "2 files would be removed" in command("cache", "clear", "-n").stdout
    assert len(kept(command)) == 2
    assert command("cache", "clear", input="y\n").exit_code == 0
    assert kept(command) == []


def test_clear_takes_what_was_unpacked_along(command, make_package, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inside.txt", b"i" * 70_000)
    files = {"x.zip": (tmp_path / "x.zip").read_bytes()}
    with RangeServer(files) as server:
        package = make_package(files, head=f'dataurl = "{server.url}"\n')
        folder = Path(PackageData(package).unpack("x.zip"))
    assert (folder / "inside.txt").is_file()
    assert command("cache", "clear", package, "--yes").exit_code == 0
    assert not folder.exists()


def test_a_cache_that_only_one_package_chose_is_listed_and_cleared(command, make_package, tmp_path, monkeypatch):
    """With the files that have no stamp, and those of a package that is gone, but no file of the user's."""
    chosen = tmp_path / "chosen"
    monkeypatch.setenv("ONLY_CACHE", str(chosen))
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"\ncache_env = "ONLY_CACHE"\n')
        paths = [Path(path) for path in PackageData(package).fetch()]
    assert all(chosen in path.parents for path in paths)
    own = chosen / "run-20240131/maps/mine.fits"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert kept(command) == list(FILES)
    shutil.rmtree(chosen / "stamps")
    assert kept(command) == list(FILES)
    assert command("cache", "clear", "--yes").exit_code == 0
    assert not any(path.exists() for path in paths)
    assert own.read_bytes() == b"mine"


def test_a_chosen_cache_lists_files_of_packages_that_are_gone(command, make_package, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFERRY_CACHE", str(tmp_path / "chosen"))
    with RangeServer(FILES) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"\n')
        PackageData(package).fetch()
    shutil.rmtree(tmp_path / "packages" / package)
    assert kept(command) == list(FILES)


def test_prune_takes_what_the_registry_dropped(command, package, server, tmp_path):
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    forget(package, tmp_path, "maps/a.fits")
    assert "(no longer registered)" in command("cache", "list").stdout
    result = command("cache", "prune", "-y")
    assert "maps/a.fits" in result.stdout
    assert kept(command) == ["maps/b.fits"]
    assert not is_url_in_cache(server.url_of("maps/a.fits"))


def test_prune_takes_files_of_an_old_dataurl(command, package, server, tmp_path):
    path = toml_of(package, tmp_path)
    path.write_text(path.read_text().replace(server.url, "https://new.example/v2/"))
    assert "removed 2 files" in command("cache", "prune", "-y").stdout


def test_prune_keeps_files_of_a_package_that_has_only_mirrors(command, make_package, server):
    name = make_package(FILES, {}, f'mirrors = ["{server.url}"]\n')
    assert command("get", name, "*").exit_code == 0
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert "no longer registered" not in command("cache", "list").stdout


def test_prune_keeps_files_of_packages_of_other_environments(command, package, tmp_path):
    shutil.rmtree(tmp_path / "packages" / package)
    result = command("cache", "prune", "-y")
    assert result.stdout == "nothing to remove\n"
    assert f"kept: files of {package}, not installed here" in result.stderr
    assert "removed 2 files" in command("cache", "prune", "-y", "--uninstalled").stdout


def test_prune_keeps_files_where_the_registry_cannot_be_read(command, package, tmp_path):
    toml_of(package, tmp_path).write_text("dataurl = \n")
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert "its registry cannot be read" in command("cache", "list").stdout


def test_prune_keeps_what_was_never_registered(command, package):
    assert command("get", package, "plain.txt").exit_code == 0
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert "plain.txt  (never registered)" in command("cache", "list").stdout


def test_an_entry_that_another_package_names_stays(command, package, make_package, server, tmp_path):
    other = make_package(FILES, {}, f'dataurl = "{server.url}"\n')
    asked = len(server.requests)
    assert command("get", other, "maps/a.fits").exit_code == 0
    assert len(server.requests) == asked
    forget(package, tmp_path, "maps/a.fits")
    assert "removed 1 file, 0 B freed" in command("cache", "prune", "-y").stdout
    assert command("--offline", "get", other, "maps/a.fits").exit_code == 0


def test_links_to_nothing_go(command, package, server):
    from astropy.utils.data import clear_download_cache

    clear_download_cache(server.url_of("maps/b.fits"))
    assert "    gone  " in command("cache", "list").stdout
    assert "removed 1 file, 0 B freed" in command("cache", "prune", "-y").stdout
    assert kept(command) == ["maps/a.fits"]


def test_old_unfinished_downloads_go(command, home):
    old, new = (home / ".cache/dataferry/incoming" / (letter * 64) for letter in "ab")
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "ranges").write_bytes(b'#{"name": "maps/big.fits", "size": 1000}\n0 400\n')
        (folder / "bytes").write_bytes(bytes(1000))
    os.utime(old / "ranges", (1e9, 1e9))
    assert "400 B  unfinished" in command("cache", "prune", "-n").stdout
    assert "   800 B  unfinished downloads (2)" in command("cache", "size").stdout
    assert "removed 0 files and 1 unfinished" in command("cache", "prune", "-y").stdout
    assert not old.exists()
    assert new.exists()
    assert command("cache", "prune", "-y", "--days", "0").exit_code == 0
    assert not new.exists()


def test_what_killed_runs_left_goes_unless_it_is_in_use(command, home):
    from dataferry.publish.state import Checkpoint

    book, busy = (Checkpoint(home / "mypkg/data/dataferry.toml", f"figshare:{n}") for n in (1, 2))
    root = book.home.parent
    assert busy.acquire()
    clones = [root / f"git/.dataferry-01234567-{n}-89abcdef.git" for n in (0, 1)]
    folders = [*clones, root / "incoming/check-x1y2z3w4"]
    folders += [root / "publish" / note.folder.name for note in (book, busy)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "something").write_bytes(bytes(1000))
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n", "all of it is young"
    for folder in folders:
        os.utime(folder / "something", (1e9, 1e9))
        os.utime(folder, (1e9, 1e9))
    (root / "publish/rates.json").write_text("{}")
    (folders[1] / "something").write_bytes(bytes(1000))  # a run uses this clone
    said = command("cache", "prune", "-n").stdout
    assert f"  1.0 kB  clone         git/{clones[0].name}\n" in said
    assert "  1.0 kB  work folder   incoming/check-x1y2z3w4\n" in said
    assert f"  1.0 kB  upload notes  publish/{book.folder.name}\n" in said
    assert "0 files and 3 left by stopped runs would be removed" in said
    assert "3.0 kB  left by runs that were stopped (3)" in command("cache", "size").stdout
    assert json.loads(command("cache", "size", "--json").stdout)["left_over"] == {"folders": 3, "bytes": 3000}
    assert "removed 0 files and 3 left by stopped runs, 3.0 kB freed" in command("cache", "prune", "-y").stdout
    busy.release()
    assert [folder.exists() for folder in folders] == [False, True, False, False, True]
    assert (root / "publish/rates.json").exists()
    assert command("cache", "list").exit_code == 0


def test_nothing_is_listed_twice_where_two_rules_of_the_cache_agree(package):
    """XDG_CACHE_HOME is ~/.cache here, as on many desktops; a process that has not yet loaded astropy sees both."""
    code = "from dataferry.cache.layout import cache_folders as f; print(len(f()) - len(set(f())))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_private_files_of_killed_runs_go_when_they_are_old(command, package, server, home):
    data = PackageData(package, show_progress=False)
    root = Path(data.path).parent
    half = root / f"unpacked/{Path(data.path).name}/x.zip/all-1.2.3.unpacking"
    half.mkdir(parents=True)
    link = root / "incoming/link-0123456789ab"
    for path in (half / "a.fits", link):
        path.write_bytes(bytes(1000))
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n", "all of it is young"
    for path in (half, link):
        os.utime(path, (1e9, 1e9))
    assert "2 left by stopped runs, 2.0 kB freed" in command("cache", "prune", "-y").stdout
    assert not half.exists() and not link.exists()
    assert kept(command) == sorted(FILES)


def test_files_of_a_package_without_a_toml_stay(command, make_package, server, tmp_path):
    """It declares them in Python, which only it can run."""
    package = make_package()
    toml_of(package, tmp_path).unlink()
    [(name, content), *_] = FILES.items()
    declared = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    PackageData(package, files=declared, dataurl=server.url, show_progress=False).get(name)
    assert command("cache", "prune", "-y").stdout == "nothing to remove\n"
    assert kept(command) == [name]


def test_no_cache_can_be_written(command, home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("DATAFERRY_CACHE", str(home / "file/cache"))
    result = command("cache", "dir")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "no cache can be written" in result.stderr
