"""A cache that the user, the package or the call chose: plain files, and nothing of it in astropy's cache."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest

from dataferry import CacheError, PackageData, SettingsError, retrieve
from dataferry.testing import RangeServer

FILES = {"maps/dust.fits": b"SIMPLE" + b" " * 3000, "notes.txt": b"some notes"}


@pytest.fixture
def server():
    with RangeServer(FILES) as server:
        yield server


@pytest.fixture
def make(make_package, server):
    return lambda head="": make_package(FILES, head=f'dataurl = "{server.url}"\n{head}')


def config(home: Path, text: str) -> None:
    path = home / ".config/dataferry/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kept(folder: Path) -> set[str]:
    """The files of packages in a cache, by their names."""
    views = [path for path in folder.glob("*-????????/**/*") if path.is_file()]
    assert not any(path.is_symlink() for path in views)
    return {"/".join(path.relative_to(folder).parts[1:]) for path in views}


@pytest.mark.parametrize("how", ["argument", "variable", "package", "config"])
def test_downloads_are_kept_there(make, server, home, tmp_path, monkeypatch, how):
    cache = tmp_path / "cache"
    package = make('cache_env = "MYPKG_CACHE"')
    if how == "variable":
        monkeypatch.setenv("DATAFERRY_CACHE", str(cache))
    elif how == "package":
        monkeypatch.setenv("MYPKG_CACHE", str(cache))
    elif how == "config":
        config(home, f'cache = "{cache}"')
    data = PackageData(package, cache=cache if how == "argument" else None, show_progress=False)
    paths = data.fetch()
    assert [Path(path).read_bytes() for path in paths] == list(FILES.values())
    assert all(path.startswith(f"{cache}/{package}-") for path in paths)
    assert data.path == os.path.dirname(paths[1])
    assert kept(cache) == set(FILES)
    assert not list(home.rglob("contents"))
    sent = len(server.requests)
    again = pickle.loads(pickle.dumps(data))
    assert again.fetch() == paths and again.is_available("notes.txt")
    assert len(server.requests) == sent
    assert all(step.found for _, step in again.verify())


def test_the_nearest_wins(make, home, tmp_path, monkeypatch):
    package = make('cache_env = "MYPKG_CACHE"')
    config(home, f'cache = "{tmp_path}/config"')
    assert PackageData(package).get("notes.txt").startswith(f"{tmp_path}/config/")
    monkeypatch.setenv("MYPKG_CACHE", f"{tmp_path}/package")
    data = PackageData(package)
    assert data.get("notes.txt").startswith(f"{tmp_path}/package/")
    monkeypatch.setenv("DATAFERRY_CACHE", f"{tmp_path}/variable")
    assert data.get("notes.txt").startswith(f"{tmp_path}/variable/"), "also of an object that is there"
    assert PackageData(package, cache=tmp_path / "call").get("notes.txt").startswith(f"{tmp_path}/call/")
    monkeypatch.setenv("DATAFERRY_CACHE", "")
    assert "/astropy/" in data.get("notes.txt"), "an empty one is astropy's, whatever else is configured"
    where = PackageData(package, cache=tmp_path / "call").where("notes.txt")
    assert [step.origin for step in where.steps if step.found] == ["the call"]


def test_a_damaged_file_is_fetched_again(make, tmp_path):
    data = PackageData(make(), cache=tmp_path / "cache", show_progress=False)
    path = Path(data.get("notes.txt"))
    path.write_bytes(b"damaged...")
    assert data.contents("notes.txt") == FILES["notes.txt"]


def test_what_is_not_registered_is_refreshed(make_package, tmp_path):
    files = {"new.txt": b"one"}
    with RangeServer(files) as server:
        package = make_package(head=f'dataurl = "{server.url}"')
        data = PackageData(package, cache=tmp_path / "cache", show_progress=False)
        path = data.get("new.txt", refresh=True)
        assert path.startswith(f"{tmp_path}/cache/") and Path(path).read_bytes() == b"one"
        assert PackageData(package, cache=tmp_path / "cache").get("new.txt") == path
        assert data.get("new.txt", refresh=True) == path
        files["new.txt"] = b"three"
        assert Path(data.get("new.txt", refresh=True)).read_bytes() == b"three"
        assert [request.status for request in server.requests] == [200, 304, 200]


@pytest.mark.parametrize("known", [None, "md5", "sha256"])
def test_retrieve_keeps_it_there(server, tmp_path, monkeypatch, known):
    monkeypatch.setenv("DATAFERRY_CACHE", str(tmp_path / "cache"))
    digest = known and f"{known}:{hashlib.new(known, FILES['notes.txt']).hexdigest()}"
    path = retrieve(server.url + "notes.txt", digest, progress=False)
    assert path.startswith(f"{tmp_path}/cache/retrieve-") and path.endswith("/notes.txt")
    sent = len(server.requests)
    assert retrieve(server.url + "notes.txt", digest, progress=False) == path
    assert len(server.requests) == sent


def test_archives_are_unpacked_there(make_package, tmp_path):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside.txt", "inside")
    with RangeServer({"a.zip": buffer.getvalue()}) as server:
        package = make_package({"a.zip": buffer.getvalue()}, head=f'dataurl = "{server.url}"')
        folder = PackageData(package, cache=tmp_path / "cache", show_progress=False).unpack("a.zip")
    assert folder.startswith(f"{tmp_path}/cache/")
    assert (Path(folder) / "inside.txt").read_text() == "inside"


@pytest.mark.parametrize(("value", "why"), [("relative", "relative"), ("$NOT_SET/cache", r"\$NOT_SET is not set")])
def test_a_folder_that_is_none(make, monkeypatch, value, why):
    package = make()
    monkeypatch.setenv("DATAFERRY_CACHE", value)
    with pytest.raises(SettingsError, match=rf"DATAFERRY_CACHE: the cache .* cannot be used: .*{why}"):
        PackageData(package).get("notes.txt")


def test_a_folder_that_cannot_be_written(make, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATAFERRY_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=rf"the cache {tmp_path}/file \(DATAFERRY_CACHE\) cannot be written"):
        PackageData(make(), show_progress=False).get("notes.txt")


def test_the_commands_look_there(make, command, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DATAFERRY_CACHE", str(cache))
    (cache / "somebody's" / "own").mkdir(parents=True)
    (cache / "somebody's" / "own" / "file").touch()
    package = make()
    path = command("get", package, "notes.txt").stdout.strip()
    assert path.startswith(str(cache))
    assert command("cache", "dir").stdout.strip() == str(cache)
    assert path in command("cache", "list", "--json").stdout and "own" not in command("cache", "list").stdout
    assert str(cache) in command("doctor").stdout
    assert command("cache", "clear", package, "--yes").exit_code == 0
    assert not Path(path).exists() and (cache / "somebody's" / "own" / "file").exists()


def test_the_commands_look_where_the_variable_of_a_package_leads(make, command, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("MYPKG_CACHE", str(cache))
    package = make('cache_env = "MYPKG_CACHE"')
    path = command("get", package, "notes.txt").stdout.strip()
    assert path.startswith(str(cache))
    assert command("cache", "dir", package).stdout.strip() == str(cache) != command("cache", "dir").stdout.strip()
    assert json.loads(command("doctor", package, "--json").stdout)["package"]["cache"] == str(cache)
    [file] = json.loads(command("cache", "list", "--json").stdout)["files"]
    assert (file["path"], file["state"]) == (path, "registered")
    assert str(cache) in json.loads(command("cache", "size", "--json").stdout)["folders"]
    assert command("cache", "prune", "--yes").stdout == "nothing to remove\n"
    assert command("cache", "clear", package, "--yes").exit_code == 0
    assert not Path(path).exists()


def test_the_commands_look_where_a_program_kept_files(make, server, command, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    path = PackageData(make(), cache=cache, show_progress=False).get("notes.txt")
    assert command("cache", "list").stdout == ""
    monkeypatch.setenv("DATAFERRY_CACHE", str(cache))
    unverified = retrieve(server.url + "notes.txt", progress=False)
    files = json.loads(command("cache", "list", "--json").stdout)["files"]
    assert [file["path"] for file in files] == [path, unverified]


def test_the_commands_leave_what_else_lies_in_the_folder(make, command, tmp_path, monkeypatch):
    """A user's results and repositories, whose names look like those that dataferry gives."""
    cache = tmp_path / "scratch"
    monkeypatch.setenv("DATAFERRY_CACHE", str(cache))
    path = command("get", make(), "notes.txt").stdout.strip()
    mine = [cache / name for name in ("run-20240131/map.fits", "git/work.git/HEAD", "incoming/check-all/a.fits")]
    for file in mine:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"mine")
        for changed in (file, file.parent):
            os.utime(changed, (1e9, 1e9))
    assert command("cache", "size").stdout.splitlines()[0].endswith("(1 file)")
    assert command("cache", "prune", "--uninstalled", "--yes").stdout == "nothing to remove\n"
    assert command("cache", "clear", "--yes").exit_code == 0
    assert not Path(path).exists()
    assert [file.read_bytes() for file in mine] == [b"mine"] * 3
