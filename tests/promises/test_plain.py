"""The plain wrapper: folders, then astropy's own way."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from astropy.utils import data as astropy_data

from dataferry import BadName, FileUnavailable, Offline, PackageData, RegistryError, RemoteData, get_data_filename
from dataferry.testing import Cut, NeverAnswers, RangeServer, Reset, Status

pytestmark = pytest.mark.usefixtures("astropy_leaks")
NAME, BYTES = "maps/a.fits", b"some bytes\n" * 100


@pytest.fixture
def server():
    with RangeServer({NAME: BYTES, "b.txt": b"b"}) as running:
        yield running


@pytest.fixture
def package(make_package):
    return make_package(bundled={"small.txt": b"small\n"}, register_bundled=False)


def get(name, server, package, **options):
    return get_data_filename(name, package=package, dataurl=server.url, show_progress=False, **options)


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "dataferry"]


def test_each_place_in_turn_and_the_log_says_which(server, package, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dataferry")
    monkeypatch.setenv("MY_FOLDER", str(tmp_path / "there"))
    folders = [tmp_path / "gone", "${MY_FOLDER}"]
    path = get(NAME, server, package, folders=folders)
    assert Path(path).read_bytes() == BYTES and os.path.basename(path) == "contents"
    assert said(caplog)[-1] == f"{NAME}: fetched from {server.url}"
    assert get(NAME, server, package, folders=folders) == path
    assert said(caplog)[-1] == f"{NAME}: found in astropy's cache"
    assert len(server.requests) == 1
    assert Path(get("small.txt", server, package)).read_text() == "small\n"
    assert said(caplog)[-1] == f"small.txt: bundled with {package}"
    near = tmp_path / "there" / NAME
    near.parent.mkdir(parents=True)
    near.write_bytes(b"x")
    assert get(NAME, server, package, folders=folders) == str(near)
    assert said(caplog)[-1] == f"{NAME}: found in the folder {tmp_path / 'there'}"


def test_the_settings_of_astropy_are_as_before(server, package):
    before = (astropy_data.conf.dataurl, astropy_data.conf.dataurl_mirror, astropy_data.conf.remote_timeout)
    get(NAME, server, package, timeout=60)
    with pytest.raises(FileUnavailable, match="Not Found"):
        get("none", server, package)
    assert before == (astropy_data.conf.dataurl, astropy_data.conf.dataurl_mirror, astropy_data.conf.remote_timeout)


def test_a_mirror_is_asked_and_astropys_own_server_never(server, package, monkeypatch):
    """Every connection is seen; none goes anywhere but to the two servers."""
    import socket

    called = set()
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, at: (called.add(at[1]), connect(self, at))[1])
    with RangeServer({NAME: BYTES}) as mirror:
        server.fault("*", Status(404))
        assert Path(get(NAME, server, package, mirror=mirror.url)).read_bytes() == BYTES
        assert len(mirror.requests) == 1
        with pytest.raises(FileUnavailable) as caught:
            get("none.fits", server, package, mirror=mirror.url)
        ports = {int(url.rstrip("/").rpartition(":")[2]) for url in (server.url, mirror.url)}
    assert called == ports
    assert [place for place, _ in caught.value.tried][-2:] == [f"{server.url}none.fits", f"{mirror.url}none.fits"]


@pytest.mark.parametrize("fault", [Status(404), Status(503), Cut(10), Reset(10), NeverAnswers()], ids=repr)
def test_every_failure_of_astropy_is_one_error(server, package, fault):
    server.fault("*", fault)
    with pytest.raises(FileUnavailable) as caught:
        get(NAME, server, package, timeout=0.5)
    assert caught.value.tried[-1][0] == server.url + NAME
    assert caught.value.tried[-1][1]


def test_threads_with_two_dataurls_never_get_each_others_file(package, tmp_path):
    """astropy's settings are of the whole process; unlocked, this mixes files."""
    threads = threading.active_count()  # libraries of other tests keep some
    with (
        RangeServer({f"{i}": b"one" for i in range(40)}) as one,
        RangeServer({f"{i}": b"two" for i in range(40)}) as two,
    ):
        before = astropy_data.conf.dataurl

        def ask(i):
            server, content = (one, b"one") if i % 2 else (two, b"two")
            return Path(get(f"{i // 2}", server, package)).read_bytes() == content

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(80)))
        assert astropy_data.conf.dataurl == before
    assert threading.active_count() < threads + 20


def test_offline_is_answered_at_once_but_the_cache_still_is_used(server, package, monkeypatch):
    get(NAME, server, package)
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    assert get(NAME, server, package)
    with pytest.raises(Offline, match="DATAFERRY_OFFLINE=1"):
        get("b.txt", server, package)
    monkeypatch.delenv("DATAFERRY_OFFLINE")
    with astropy_data.conf.set_temp("allow_internet", False), pytest.raises(Offline, match="allow_internet"):
        get("b.txt", server, package)
    assert len(server.requests) == 1


def test_bad_input(server, package, make_package):
    for name in ("../x", "/etc/passwd", "", "a\0", "hash/0123"):
        with pytest.raises(BadName, match="name"):
            get(name, server, package)
    for name in ("with space.fits", "ü.fits"):
        with pytest.raises(BadName, match="register the file"):
            get(name, server, package)
    with pytest.raises(BadName, match="must end with a slash"):
        get_data_filename(NAME, package=package, dataurl=server.url[:-1])
    with pytest.raises(BadName, match="mirror"):
        get(NAME, server, package, mirror="ftp://x/")
    with pytest.raises(RegistryError, match="no package 'no_such_package'"):
        get(NAME, server, "no_such_package")


def test_credentials_are_never_printed(server, package, caplog):
    caplog.set_level(logging.INFO, "dataferry")
    url = server.url.replace("//", "//user:topsecret@")
    with pytest.raises(FileUnavailable) as caught:
        get_data_filename("none", package=package, dataurl=url, show_progress=False)
    assert "topsecret" not in f"{caught.value}{said(caplog)}"


def test_the_drop_in_class(server, package, tmp_path, monkeypatch, make_package):
    (tmp_path / "packages" / package / "data/dataferry.toml").unlink()
    with RangeServer({"only/there.txt": b"t"}) as mirror:
        assert Path(RemoteData(package, server.url, mirror=mirror.url).get("only/there.txt")).read_bytes() == b"t"
    data = RemoteData(package, server.url, folders=[tmp_path / "gone"], env="MADE_DATA")
    path = data.get(NAME)
    assert Path(path).read_bytes() == BYTES
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "b.txt").write_bytes(b"mine")
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    assert data.get("b.txt") == str(tmp_path / "own" / "b.txt")
    assert data.get(str(tmp_path / "own" / "b.txt")) == str(tmp_path / "own" / "b.txt")
    with pytest.raises(FileUnavailable, match="no such file"):
        data.get(str(tmp_path / "own" / "none"))
    registered = make_package({NAME: BYTES}, head=f'dataurl = "{server.url}"')
    assert RemoteData(registered).get(NAME).endswith("/a.fits")
    with pytest.raises(BadName, match="leave dataurl= out"):
        RemoteData(registered, server.url).get(NAME)


def test_a_package_that_cannot_be_imported(server, package, tmp_path):
    (tmp_path / "packages" / package / "__init__.py").write_text("raise RuntimeError('no licence')")
    with pytest.raises(RegistryError, match=f"astropy cannot use package '{package}': no licence"):
        get("b.txt", server, package)
    (tmp_path / "packages" / package / "data/dataferry.toml").write_text(f'dataurl = "{server.url}"')
    with pytest.raises(RegistryError, match="no licence"):
        PackageData(package).get("b.txt")
