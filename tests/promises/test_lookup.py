"""Nearest first: overrides, folders, the package, astropy's cache, hosts; and the right bytes or an error."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataferry import (
    BadName,
    FetchErrors,
    FileUnavailable,
    Offline,
    PackageData,
    RegistryError,
    SettingsError,
    UnknownFile,
)
from dataferry.testing import Cut, IgnoresRange, LfsPointer, LoginPage, NeverAnswers, RangeServer, Stall, Status

NAME, RIGHT, WRONG = "maps/a.fits", b"right bytes\n" * 100, b"wrong bytes\n" * 100


@pytest.fixture
def server():
    with RangeServer({NAME: RIGHT, "maps/b.fits": b"b" * 500, "c.txt": b"text\n"}) as running:
        yield running


@pytest.fixture
def package(make_package, server):
    return make_package(
        {NAME: RIGHT, "maps/b.fits": b"b" * 500},
        {"small.txt": b"small\n"},
        f'dataurl = "{server.url}"\nenv = "MADE_DATA"\n[folders]\nany = "${{MADE_ANY}}"\n',
    )


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kinds(where):
    return [(step.kind, step.found) for step in where.steps]


def test_each_place_comes_before_the_next(package, server, tmp_path, monkeypatch, home):
    """Fill the places from the farthest to the nearest; each new one answers."""
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT
    assert len(server.requests) == 1
    declared = put(tmp_path / "declared", NAME, RIGHT)
    monkeypatch.setenv("MADE_ANY", str(tmp_path / "declared"))
    assert PackageData(package).get(NAME) == str(declared)
    put(home / ".config/dataferry", "config.toml", f'[folders]\nany = "{tmp_path}/users"\n'.encode())
    users = put(tmp_path / "users" / package, NAME, RIGHT)
    assert PackageData(package).get(NAME) == str(users)
    general = put(tmp_path / "general" / package, NAME, RIGHT)
    monkeypatch.setenv("DATAFERRY_DATA", f"{tmp_path}/nothing{os.pathsep}{tmp_path}/general")
    assert PackageData(package).get(NAME) == str(general)
    own = put(tmp_path / "own", NAME, RIGHT)
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    assert PackageData(package).get(NAME) == str(own)
    called = put(tmp_path / "called", NAME, RIGHT)
    assert PackageData(package, folders=[tmp_path / "called"]).get(NAME) == str(called)
    mine = put(tmp_path / "mine", "other_name.fits", WRONG)
    assert PackageData(package, folders=[tmp_path / "called"], overrides={NAME: mine}).get(NAME) == str(mine)
    assert len(server.requests) == 1


def test_a_bundled_file_needs_no_host_and_comes_before_the_cache(package, server):
    data = PackageData(package)
    assert data.get("small.txt").endswith(f"{package}/data/small.txt")
    assert kinds(data.where("small.txt"))[-3:] == [("package", True), ("cache", False), ("host", False)]
    assert not server.requests


def test_a_path_carries_the_name_and_stays_good_after_a_second_get(package, server):
    data = PackageData(package)
    path = data.get(NAME)
    assert path.endswith(f"/{NAME}") and os.path.isabs(path)
    assert data.get(NAME) == PackageData(package).get(NAME) == path
    assert data.contents(NAME) == RIGHT
    assert data.contents("small.txt", encoding="ascii") == "small\n"
    with data.open(NAME) as file:
        assert file.read(5) == b"right"
    with pytest.raises(ValueError, match="reading only"):
        data.open(NAME, "r+b")
    assert len(server.requests) == 1


@pytest.mark.parametrize("what", ["size", "sha256"])
def test_a_wrong_file_in_a_folder_is_skipped_and_named(package, server, tmp_path, monkeypatch, caplog, what):
    bad = put(tmp_path / "own", NAME, WRONG if what == "sha256" else RIGHT[:-1])
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    with caplog.at_level(logging.WARNING, "dataferry"):
        assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT
    assert str(bad) in caplog.text
    assert ("sha256 is" if what == "sha256" else "1199 bytes instead of 1200") in caplog.text
    step = PackageData(package).where(NAME).steps[0]
    assert (step.kind, step.found, step.place) == ("folder", False, str(bad))


@pytest.mark.parametrize("what", ["folder", "fifo", "link to nothing"])
def test_what_is_no_file_in_a_folder_is_skipped_and_named(package, tmp_path, monkeypatch, caplog, what):
    bad = tmp_path / "own" / NAME
    bad.parent.mkdir(parents=True)
    if what == "folder":
        bad.mkdir()
    elif what == "fifo":
        os.mkfifo(bad)
    else:
        bad.symlink_to("nowhere")
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    data = PackageData(package)
    with caplog.at_level(logging.WARNING, "dataferry"):
        assert Path(data.get(NAME)).read_bytes() == RIGHT
    assert f"{bad} is skipped" in caplog.text
    assert {step.place: step.found for _, step in data.verify(NAME)}[str(bad)] is False


def test_a_file_that_changes_under_its_stamp_is_noticed(package, tmp_path, monkeypatch, server):
    own = put(tmp_path / "own", NAME, RIGHT)
    os.utime(own, (1_000_000_000, 1_000_000_000))  # settled, so that it is stamped
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    data = PackageData(package)
    assert data.get(NAME) == str(own)
    assert "verified earlier" in str(PackageData(package).where(NAME))
    own.write_bytes(WRONG)
    assert data.get(NAME) != str(own)
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT


def test_a_file_that_just_changed_is_not_stamped(package, tmp_path, monkeypatch):
    """Within the resolution of its times it could change again unseen."""
    put(tmp_path / "own", NAME, RIGHT)
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    PackageData(package).get(NAME)
    assert "verified now" in str(PackageData(package).where(NAME))


@pytest.fixture
def large(make_package, tmp_path):
    """A file of more than 1 GiB with another sha256 than is registered, in a folder of its package."""
    name, size = "big.bin", (1 << 30) + 1
    package = make_package(
        head=f'[files."{name}"]\nsize = {size}\nsha256 = "{"0" * 64}"\n[folders]\nany="{tmp_path}/own"'
    )
    big = put(tmp_path / "own", name, b"")
    os.truncate(big, size)
    return package, name, big


def test_a_file_over_one_gib_in_a_folder_is_hashed_only_on_demand(large, home):
    package, name, big = large
    assert PackageData(package).get(name) == str(big)
    (home / ".config/dataferry").mkdir()
    (home / ".config/dataferry/config.toml").write_text('verify = "always"')
    with pytest.raises(FileUnavailable, match=r"big\.bin: sha256 is"):
        PackageData(package).get(name)


@pytest.mark.nightly
def test_verify_hashes_a_file_over_one_gib(large):
    package, name, _ = large
    [(_, step)] = PackageData(package).verify(name)
    assert not step.found and "sha256 is" in step.note


def test_a_purged_file_is_looked_for_again(package, tmp_path, server):
    own = put(tmp_path / "own", NAME, RIGHT)
    data = PackageData(package, folders=[tmp_path / "own"])
    assert data.get(NAME) == str(own)
    own.unlink()  # a scratch purge leaves the empty folders behind
    assert Path(data.get(NAME)).read_bytes() == RIGHT
    shutil.rmtree(Path(data.get(NAME)).parents[2])
    assert Path(data.get(NAME)).read_bytes() == RIGHT


FOLDERS = {
    "a file": "not a folder",
    "a dangling link": "a link to a folder that is not there",
    "nothing": "no such file",
    "a relative path": "relative",
    "an unset variable": r"\$NOT_SET_AT_ALL is not set",
    "an unknown user": "no such user",
}


@pytest.mark.parametrize(("what", "why"), FOLDERS.items(), ids=FOLDERS)
def test_a_folder_that_cannot_be_used_is_explained_and_skipped(package, tmp_path, monkeypatch, server, what, why):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "rel", NAME, RIGHT)
    written = {
        "a file": f"{tmp_path}/file",
        "a dangling link": f"{tmp_path}/dangling",
        "nothing": f"{tmp_path}/gone",
        "a relative path": "rel",
        "an unset variable": "${NOT_SET_AT_ALL}/x",
        "an unknown user": "~no_such_user_here/x",
    }[what]
    monkeypatch.setenv("MADE_DATA", written)
    where = PackageData(package).where(NAME)
    assert where.path is None
    assert re.search(why, where.steps[0].note)
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT


def test_an_unreadable_folder_is_explained(need, package, tmp_path, monkeypatch, server, home):
    need.that("another user", os.geteuid() != 0 or hasattr(os, "seteuid"), "permissions do not bind this user")
    PackageData(package).where(NAME)  # what is imported late may be unreadable for the other user
    put(tmp_path / "own", NAME, RIGHT)
    (tmp_path / "own").chmod(0)
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "own"))
    root = os.geteuid() == 0
    if root:
        for folder in (home, *home.iterdir()):
            folder.chmod(0o755)
        for parent in [tmp_path, *tmp_path.parents]:
            if parent.stat().st_mode & 0o001 == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        os.seteuid(65534)
    try:
        step = PackageData(package).where(NAME).steps[0]
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "own").chmod(0o700)
    assert "permission denied" in step.note.lower()


@pytest.mark.usefixtures("astropy_leaks")
def test_the_current_directory_is_never_a_place(package, tmp_path, monkeypatch):
    put(tmp_path / "here", "only_here.fits", b"x")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DATAFERRY_DATA", os.pathsep)
    monkeypatch.setenv("MADE_DATA", "")
    with pytest.raises(FileUnavailable):
        PackageData(package).get("only_here.fits")


def test_offline_is_answered_with_the_command_to_run_elsewhere(package, monkeypatch, server):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline) as caught:
        PackageData(package).get(NAME)
    assert "DATAFERRY_OFFLINE=1" in str(caught.value)
    assert f"dataferry get {package} {NAME}" in str(caught.value)
    assert not server.requests
    monkeypatch.setenv("DATAFERRY_OFFLINE", "0")
    PackageData(package).get(NAME)
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    assert PackageData(package).get(NAME)
    monkeypatch.setenv("DATAFERRY_OFFLINE", "perhaps")
    with pytest.raises(SettingsError, match="DATAFERRY_OFFLINE is 1 or 0, not 'perhaps'"):
        PackageData(package).get(NAME)


def test_a_command_names_the_registry_only_if_it_is_apart(package, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline) as caught:
        PackageData(package).get(NAME)
    assert "--registry" not in str(caught.value)
    apart = tmp_path / "apart.toml"
    shutil.copy(PackageData(package).registry.path, apart)
    with pytest.raises(Offline) as caught:
        PackageData(package, registry=apart).get(NAME)
    assert f"dataferry get {package} {NAME} --registry {apart}" in str(caught.value)


def test_a_folder_of_sys_path_in_another_spelling_is_the_same(package, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    monkeypatch.setattr("sys.path", [f"{tmp_path}/packages/..//packages", *sys.path[1:]])
    with pytest.raises(Offline) as caught:
        PackageData(package).get(NAME)
    assert "--registry" not in str(caught.value)
    assert [failure.place.partition(" ")[0] for failure in caught.value.failures].count("package") == 1


def test_astropys_own_switch_is_honoured(package, server):
    from astropy.utils.data import conf

    with conf.set_temp("allow_internet", False), pytest.raises(Offline, match="allow_internet is False"):
        PackageData(package).get(NAME)
    assert not server.requests


def test_an_error_names_every_place_in_order(package, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MADE_DATA", str(tmp_path / "gone"))
    server.fault("*", Status(404))
    with pytest.raises(FileUnavailable) as caught:
        PackageData(package).get(NAME)
    places = [place.partition(" ")[0].partition(":")[0] for place, _ in caught.value.tried]
    assert places == ["folder", "folder", "package", "astropy's", "http"]
    assert "404" in caught.value.tried[-1][1]
    assert [failure.kind for failure in caught.value.failures] == ["error", "error", "absent", "absent", "absent"]
    assert f"dataferry where {package} {NAME}" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "word"), [(LoginPage(), "HTML"), (LfsPointer(), "git-lfs"), (Cut(100), "cut"), (Status(202), "202")]
)
def test_what_is_not_the_file_never_enters_the_cache(make_package, server, fault, word):
    package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"\ntimeout = 2')  # and so short pauses
    server.fault("*", fault)
    with pytest.raises(FileUnavailable, match=word):
        PackageData(package).get(NAME)
    assert PackageData(package).where(NAME).path is None
    server.heal()
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT


def test_a_mirror_answers_when_the_primary_does_not(make_package, server):
    with RangeServer({NAME: RIGHT}) as mirror:
        head = f'dataurl = "{server.url}"\nmirrors = ["nosuch:1", "{mirror.url}"]\n'
        package = make_package({NAME: RIGHT}, head=head)
        server.fault("*", Status(503))
        data = PackageData(package)
        assert Path(data.get(NAME)).read_bytes() == RIGHT
        assert len(mirror.requests) == 1
        assert data.arrivals[NAME][:2] == (mirror.url_of(NAME), len(RIGHT))
    steps = PackageData(package).where(NAME).steps
    assert any("no host is installed for nosuch:" in step.note for step in steps)


def test_credentials_of_a_dataurl_are_never_printed(make_package, server):
    url = server.url.replace("//", "//user:topsecret@")
    package = make_package({NAME: RIGHT}, head=f'dataurl = "{url}"')
    server.fault("*", Status(403))
    with pytest.raises(FileUnavailable) as caught:
        PackageData(package).get(NAME)
    assert "topsecret" not in f"{caught.value}{caught.value!r}{PackageData(package).where(NAME)}"


def test_an_unregistered_file_of_a_shared_folder_lies_below_the_packages_name(package, server, tmp_path, monkeypatch):
    """A bare name there could be any package's, and nothing proves its bytes."""
    monkeypatch.setenv("DATAFERRY_DATA", str(tmp_path / "shared"))
    put(tmp_path / "shared", "extra.txt", b"of another package")
    step = PackageData(package).where("extra.txt").steps[0]
    assert (step.place, step.found) == (str(tmp_path / "shared" / package / "extra.txt"), False)
    with pytest.raises(FileUnavailable):
        PackageData(package).get("extra.txt")
    own = put(tmp_path / "shared" / package, "extra.txt", b"of this one")
    assert PackageData(package).get("extra.txt") == str(own)


@pytest.mark.usefixtures("astropy_leaks")
def test_an_unregistered_name_is_left_to_the_plain_wrapper_or_refused(package, server):
    data = PackageData(package)
    path = data.get("c.txt")
    assert Path(path).read_bytes() == b"text\n" and path.endswith("/c.txt")
    with pytest.raises(FileUnavailable, match=r"registered are 'maps/a\.fits'"):
        data.get("maps/aa.fits")
    strict = PackageData(package, strict=True)
    with pytest.raises(UnknownFile, match=r"did you mean 'maps/a\.fits'"):
        strict.get("maps/aa.fits")
    with pytest.raises(UnknownFile, match="did you mean"):
        strict.where("maps/aa.fits")


def test_a_file_that_is_not_registered_is_refreshed_only_if_it_changed(make_package):
    files = {"news.txt": b"one\n"}
    with RangeServer(files) as server:
        data = PackageData(make_package(head=f'dataurl = "{server.url}"'), show_progress=False)
        first = data.get("news.txt", refresh=True)
        assert Path(first).read_bytes() == b"one\n" and first.endswith("/news.txt")
        assert data.get("news.txt", refresh=True) == first
        assert [(r.status, r.sent) for r in server.requests] == [(200, 4), (304, 0)]
        with open(first, "rb") as reader:
            files["news.txt"] = b"three\n"
            assert Path(data.get("news.txt", refresh=True)).read_bytes() == b"three\n"
            assert reader.read() == b"one\n"
        assert Path(data.get("news.txt")).read_bytes() == b"three\n"
        assert len(server.requests) == 3
        server.fault("*", Status(404))
        with pytest.raises(FileUnavailable, match="404"):
            data.get("news.txt", refresh=True)
        assert Path(data.get("news.txt")).read_bytes() == b"three\n"


def test_a_host_without_etags_sends_a_refreshed_file_each_time(make_package, python_http, tmp_path):
    news = put(tmp_path / "www", "news.txt", b"one\n")
    data = PackageData(make_package(head=f'dataurl = "{python_http(tmp_path / "www").url}"'), show_progress=False)
    for content in (b"one\n", b"two\n", b"two\n"):
        news.write_bytes(content)
        assert Path(data.get("news.txt", refresh=True)).read_bytes() == content


def test_a_registered_file_is_never_asked_for_again(package, server):
    data = PackageData(package)
    assert data.get(NAME) == data.get(NAME, refresh=True)
    assert len(server.requests) == 1


def test_without_a_dataurl_there_is_nobody_to_ask(make_package):
    package = make_package({NAME: RIGHT})
    with pytest.raises(FileUnavailable, match="declares neither a dataurl nor mirrors"):
        PackageData(package).get(NAME)
    with pytest.raises(FileUnavailable, match="no host that can be used"):
        PackageData(package).header(NAME, remote=True)
    with pytest.raises(UnknownFile, match="did you mean"):
        PackageData(package).get("maps/aa.fits")


def test_what_nobody_can_verify_is_not_opened(package):
    with pytest.raises(UnknownFile):
        PackageData(package).get("c.txt", opener=pytest.fail)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\\b", "a\0", "", "%2e%2e/x"])
def test_a_bad_name_is_refused_before_any_look(package, name):
    data = PackageData(package)
    for call in (data.get, data.where, data.open, data.contents, data.fetch):
        with pytest.raises(BadName, match="name"):
            call(name)


@pytest.mark.parametrize("name", [3, None, b"small.txt"])
def test_what_is_no_name_is_named_in_the_error(package, name, tmp_path):
    data = PackageData(package)
    [entry] = [entry for entry in os.scandir(tmp_path) if entry.name == "packages"]
    for wrong in (name, entry):
        with pytest.raises(BadName, match=f"a name is a string, not {type(wrong).__name__}"):
            data.get(wrong)
    with pytest.raises(BadName, match="a name is a string, not DirEntry"):
        data.fetch(entry)


def test_fetch_gives_paths_in_order_and_one_failure_stops_nothing(package, server):
    data = PackageData(package, show_progress=False)
    paths = data.fetch(["small.txt", "maps/*.fits", NAME])
    assert [Path(p).name for p in paths] == ["small.txt", "a.fits", "b.fits"]
    shutil.rmtree(Path(paths[1]).parents[3])
    server.fault(NAME, Status(404))
    with pytest.raises(FetchErrors, match="1 of 3 files") as caught:
        PackageData(package, show_progress=False).fetch()
    [error] = caught.value.exceptions
    assert isinstance(error, FileUnavailable) and error.name == NAME
    assert set(caught.value.paths) == {"small.txt", "maps/b.fits"}
    with pytest.raises(UnknownFile, match="nothing/"):
        data.fetch("nothing/*")


def test_names_and_globs(package):
    data = PackageData(package)
    assert data.names() == [NAME, "maps/b.fits", "small.txt"]
    assert data.names("*.txt") == ["small.txt"]


def test_verify_hashes_again_what_is_here(package, server):
    data = PackageData(package)
    path = data.get(NAME)
    assert [(name, step.found) for name, step in data.verify(NAME)] == [(NAME, True)]
    stat = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"R")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the stamp cannot see this
    assert data.get(NAME) == path
    [(_, step)] = data.verify(NAME)
    assert not step.found and "sha256 is" in step.note
    assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT


def test_many_threads_ask_once(package, server):
    data = PackageData(package, show_progress=False)
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(data.get, [NAME] * 64))
    assert len(paths) == 1 and len(server.requests) == 1


def test_a_registry_apart_from_any_package(tmp_path, server):
    import hashlib

    toml = f'dataurl = "{server.url}"\n[files."{NAME}"]\nsha256 = "{hashlib.sha256(RIGHT).hexdigest()}"\n'
    registry = put(tmp_path / "apart", "dataferry.toml", toml.encode())
    data = PackageData("some_survey", registry=registry)
    assert data.contents(NAME) == RIGHT
    server.fault("*", Status(404))
    shutil.rmtree(Path(data.get(NAME)).parents[3])
    with pytest.raises(FileUnavailable, match=f"dataferry where some_survey {NAME} --registry {registry}"):
        PackageData("some_survey", registry=registry).get(NAME)
    with pytest.raises(RegistryError, match="no package 'some_survey'"):
        PackageData("some_survey").get(NAME)


def test_an_override_of_the_users_configuration(package, tmp_path, home):
    mine = put(tmp_path, "mine.fits", WRONG)
    config = put(
        home / ".config/dataferry", "config.toml", f'[packages.{package}.files."{NAME}"]\npath = "{mine}"'.encode()
    )
    assert PackageData(package).get(NAME) == str(mine)
    where = PackageData(package).where(NAME)
    assert where.steps[0][0:3] == ("override", str(mine), str(config))
    assert "taken as it is" in where.steps[0].note
    mine.unlink()
    with pytest.raises(FetchErrors, match="1 of 2 files") as caught:
        PackageData(package, show_progress=False).fetch([NAME, "small.txt"])
    assert str(config) in str(caught.value)
    assert list(caught.value.paths) == ["small.txt"]


def test_the_users_mirror_is_nearer_than_the_authors_hosts(package, server, home):
    with RangeServer({NAME: RIGHT}) as near:
        put(home / ".config/dataferry", "config.toml", f'[packages.{package}]\nmirrors = "{near.url}"'.encode())
        assert Path(PackageData(package).get(NAME)).read_bytes() == RIGHT
        assert len(near.requests) == 1
    assert not server.requests


def test_offline_a_misspelt_name_is_recognised(package, monkeypatch):
    monkeypatch.setenv("DATAFERRY_OFFLINE", "1")
    with pytest.raises(Offline, match=r"not registered in .*registered are 'maps/a\.fits'"):
        PackageData(package).get("maps/aa.fits")


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "offline = 3": "offline is true or false, not 3",
        "ofline = true": r"unknown key ofline; did you mean 'offline'\?",
        'verify = "never"': 'verify is "once" or "always"',
        "[folders]\nany = 3": "folders is a string or a list of strings",
        "x = ": "not valid TOML",
        "[packages.p]\nfoldrs = 3": r"packages\.p\.foldrs; did you mean 'folders'",
        '[packages.p.files."a"]\nx = 3': "the path to use instead",
        "hosts = { h = 3 }": r"hosts\.h is a table",
        "[hosts.h]\ntokn = 'x'": r"unknown key hosts\.h\.tokn; did you mean 'token'",
        "[hosts.h]\nconnections = '8'": r"hosts\.h\.connections is a whole number of 1 or more, not '8'",
        "[hosts.h]\nconnections = 0": r"hosts\.h\.connections is a whole number of 1 or more, not 0",
        "[hosts.h]\nrate = '1M'": r"hosts\.h\.rate is a number of bytes a second above 0, not '1M'",
        "[hosts.h]\nrate = -5": r"hosts\.h\.rate is a number of bytes a second above 0, not -5",
        "[hosts.h]\nrate = nan": r"hosts\.h\.rate is a number of bytes a second above 0, not nan",
        "[hosts.h]\nca_bundle = 3": r"hosts\.h\.ca_bundle is a string, not 3",
        "[hosts.h]\nclient_cert = ['a']": r"hosts\.h\.client_cert is a string or \[certificate, key\], not \['a'\]",
        "[hosts.h]\npassword = 12345": r"hosts\.h\.password is a string, not of type int$",
        "sites.x = 3": r"sites\.x is a table with env or hostname, not 3",
        "[sites.x]\nenv = { A = 1 }": r"sites\.x\.env\.A is a string, not 1",
        "[sites.x]\nhostname = [1]": r"sites\.x\.hostname is a string or a list of strings, not \[1\]",
        "[sites.x]\nhosts = ['a']": r"unknown key sites\.x\.hosts",
    }.items(),
)
def test_a_mistake_in_the_configuration_names_file_and_key(package, home, text, says):
    config = put(home / ".config/dataferry", "config.toml", text.encode())
    with pytest.raises(SettingsError, match=says) as caught:
        PackageData(package).get("small.txt")
    assert str(caught.value).startswith(str(config))


def test_where_reads_as_a_table(package, server):
    text = str(PackageData(package).where(NAME))
    assert text.splitlines()[0].startswith(f"{NAME} (1200 bytes, sha256 ")
    assert "would be asked" in text and server.url_of(NAME) in text
    assert PackageData(package).where(NAME).as_dict()["steps"][-1]["kind"] == "host"


def test_one_deadline_for_all_files_and_what_came_is_kept(make_package):
    big, small = os.urandom(3_000_000), b"s" * 500
    with RangeServer({"big.bin": big, "small.bin": small}) as server:
        server.fault("big.bin", Stall(1_500_000), IgnoresRange())
        package = make_package({"big.bin": big, "small.bin": small}, head=f'dataurl = "{server.url}"\ntimeout = 600\n')
        data = PackageData(package, show_progress=False)
        with pytest.raises(FetchErrors) as caught:
            data.fetch(deadline=5)
        assert list(caught.value.paths) == ["small.bin"]
        [error] = caught.value.exceptions
        assert error.failures[-1].kind == "deadline"
        assert error.failures[-1].reason == "the deadline of 5 s has passed"
        server.heal()
        assert Path(data.get("big.bin", deadline=60)).read_bytes() == big
        assert data.arrivals["big.bin"].moved_bytes < len(big)


def test_a_deadline_is_named_as_it_was_given(make_package):
    with RangeServer({NAME: RIGHT}) as server:
        server.fault("*", Stall())
        package = make_package({NAME: RIGHT}, head=f'dataurl = "{server.url}"')
        with pytest.raises(FileUnavailable) as caught:
            PackageData(package).get(NAME, deadline=0.7)
        reasons = {failure.reason for failure in caught.value.failures if failure.kind == "deadline"}
        assert reasons == {"the deadline of 0.7 s has passed"}


def test_a_deadline_holds_for_what_is_not_registered(package, server, astropy_leaks):
    server.fault("c.txt", NeverAnswers())
    with pytest.raises(FileUnavailable):
        PackageData(package, show_progress=False).get("c.txt", deadline=1)
    server.fault("c.txt", Stall(2))
    with pytest.raises(FileUnavailable, match="the deadline of 1 s has passed"):
        PackageData(package, show_progress=False).get("c.txt", refresh=True, deadline=1)


def test_a_callback_gets_the_progress(package, server, capsys):
    told, also = [], []
    data = PackageData(package, show_progress=told.append)
    data.get(NAME)
    assert told[-1].finished
    assert (told[-1].files_done, told[-1].done_bytes) == (1, len(RIGHT))
    del told[:]
    data.fetch("maps/b.fits", progress=also.append)
    assert (also[-1].finished, also[-1].files_total) == (True, 1)
    assert not told
    data.fetch("c.txt", progress=also.append)
    assert capsys.readouterr() == ("", "")
