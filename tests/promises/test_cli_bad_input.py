"""Bad input on the command line: a dataferry error that names the place, no traceback, nothing changed on disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from dataferry.testing import RangeServer

SHA = "a" * 64


def disk(*folders: Path) -> dict[str, object]:
    """Everything below some folders: kind, mode, time and bytes."""
    found: dict[str, object] = {}
    for top in folders:
        for path in [top, *top.rglob("*")]:
            stat = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            found[str(path)] = stat.st_mode, stat.st_ino, stat.st_mtime_ns if content else 0, content
    return found


@pytest.fixture
def unchanged(tmp_path, home):
    """Check that a test leaves package, home and caches as they were once `unchanged()` is called."""
    before: list[dict[str, object]] = []

    def now() -> None:
        before.append(disk(tmp_path, home))

    yield now
    assert disk(tmp_path, home) == before[0]


@pytest.fixture
def package(make_package):
    with RangeServer({}) as server:
        yield make_package(
            {"maps/a.fits": b"a"}, {"small.txt": b"small\n"}, f'strict = true\ndataurl = "{server.url}"\n'
        )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../etc/passwd", "holds '..'"),
        ("maps/../../x", "holds '..'"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("maps\\a.fits", "backslash"),
        ("maps/a\0.fits", "control character"),
        ("maps/a\x1b]0;x.fits", "control character"),
        ("maps/a\n.fits", "control character"),
        ("", "empty"),
        ("maps//a.fits", "empty part"),
        ("x" * 300, "300 bytes"),
        ("y/" * 600 + "z", "1201 bytes"),
        (unicodedata.normalize("NFD", "é.fits"), "decomposed"),
        (" a.fits", "space"),
        ("a.fits ", "space"),
        ("%2e%2e/x", "percent escape"),
        ("a.fits#x", "'?' and '#'"),
        ("\udcff.fits", "half a character"),
    ],
)
@pytest.mark.parametrize("verb", ["get", "where"])
def test_a_name_that_is_not_legal(command, package, unchanged, verb, name, reason):
    unchanged()
    result = command(verb, package, name)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert reason in result.stderr
    assert "\x1b" not in result.stderr
    assert len(result.stderr) < 400


@pytest.mark.parametrize("name", ["a b.fits", unicodedata.normalize("NFC", "é.fits"), "地図.fits"])
def test_odd_names_that_are_legal(command, make_package, name):
    package = make_package({}, {name: b"x"})
    result = command("get", package, name)
    assert result.exit_code == 0
    assert Path(result.stdout.rstrip("\n")).name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mpas*", "dataferry.toml: no name matches this pattern"),
        ("maps", "did you mean 'maps/*' or 'maps/a.fits'?"),
    ],
)
def test_a_glob_without_a_match_and_a_folder(command, package, unchanged, name, reason):
    unchanged()
    result = command("get", package, name)
    assert result.exit_code == 2
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["fetch", "mypkg", "a.fits"], "No such command 'fetch'. Did you mean get?"),
        (["upload", "a.fits"], "Did you mean publish?"),
        (["ls", "mypkg"], "Did you mean list?"),
        (["get", "mypkg"], "Name the files, or '*' for all: 'dataferry list mypkg' shows the names."),
        (["get", "my-pkg", "a.fits"], "Give the name that Python imports."),
        (["publish", "a.fits", "--to", "data.example.org/v1/"], "a web server begins with https://"),
        (["get", "data.example.org:8080/v1/a.fits"], "a web server begins with https://"),
    ],
)
def test_what_people_type(command, tmp_path, monkeypatch, args, reason):
    monkeypatch.chdir(tmp_path)
    for path in "mypkg/__init__.py", "mypkg/data/dataferry.toml", "a.fits":
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    result = command(*args)
    assert result.exit_code in {2, 4}
    assert reason in " ".join(result.stderr.split())


def test_an_unknown_name_offers_close_ones(command, package, unchanged):
    unchanged()
    result = command("get", package, "maps/a.fit", "small.txt")
    assert result.exit_code == 2
    assert "did you mean 'maps/a.fits'?" in result.stderr
    assert "dataferry.toml" in result.stderr
    result = command("get", package, "nothing/*")
    assert result.exit_code == 2
    assert "'nothing/*' is not registered" in result.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dataurl = \n", "line 1"),
        ("dataurl = 3\n", "line 1: dataurl is a string"),
        ("timeout = -1\n", "line 1: timeout is a number"),
        ("\nmirorrs = []\n", "line 2: unknown key 'mirorrs'; did you mean 'mirrors'?"),
        ('\n\n[files."a"]\nsha256 = "abc"\n', "line 3: sha256 of 'a' is 64 hexadecimal digits"),
        (f'[files."a"]\nsize = -1\nsha256 = "{SHA}"\n', "line 1: size of 'a' is a number of bytes"),
        (f'[files."a"]\nsize = "1"\nsha256 = "{SHA}"\n', "line 1: size of 'a' is a number of bytes"),
        (f'[files."a"]\nsha256 = "{SHA}"\n\n[files."a"]\nsha256 = "{SHA}"\n', "line 4"),
        (f'[files."../a"]\nsha256 = "{SHA}"\n', "line 1: '../a' is not a legal name"),
        ('[files]\n"a" = 3\n', "line 2: the entry of 'a' is a table"),
        ('dataurl = "https://h.example/x"\n', "line 1: dataurl 'https://h.example/x' must end with a slash"),
        ('dataurl = "https://h.example/x/?a=secret"\n', "line 1: dataurl 'https://h.example/x/?a=...' has a query"),
        ('dataurl = "ftp://h.example/x/"\n', "line 1: dataurl 'ftp://h.example/x/' is not an http or https URL"),
        ('dataurl = "https://ann:secret@h.example/x"\n', "line 1: dataurl 'https://h.example/x' must end with a slash"),
        ("\x00\x01", "line 1"),
    ],
)
@pytest.mark.parametrize("args", [["get", "{}", "a"], ["list", "{}"], ["verify", "{}"], ["add", "{}", "{file}"]])
def test_a_registry_that_cannot_be_used(command, make_package, tmp_path, unchanged, args, text, reason):
    package = make_package({}, {}, text)
    file = tmp_path / "new.fits"
    file.write_bytes(b"new")
    unchanged()
    result = command(*(arg.format(package, file=file) for arg in args))
    assert result.exit_code == 4
    assert result.stdout == ""
    assert f"{package}/data/dataferry.toml: " in result.stderr
    assert reason in result.stderr
    assert "secret" not in result.stderr


def test_a_registry_that_is_not_text(command, make_package, tmp_path):
    package = make_package()
    (tmp_path / "packages" / package / "data" / "dataferry.toml").write_bytes(b"\xff\xfe\x00")
    result = command("list", package)
    assert result.exit_code == 4
    assert "byte 0 is not UTF-8" in result.stderr


def test_a_text_registry_with_a_wrong_line(command, make_package, tmp_path):
    package = make_package({}, {}, 'registry = "files.txt"\n')
    (tmp_path / "packages" / package / "data" / "files.txt").write_text(f"{SHA}  3  a.fits\nabc  b.fits\n")
    result = command("list", package)
    assert result.exit_code == 4
    assert "files.txt: line 2: " in result.stderr


@pytest.mark.parametrize("package", ["no_such_package", "json.tool", "..", "", "a b", "../x", "os.path"])
def test_a_package_that_is_none(command, package):
    result = command("list", package)
    assert result.exit_code == 4
    assert result.stderr.startswith("error: ")
    assert repr(package) in result.stderr


def test_a_package_without_data_says_what_to_do(command):
    result = command("list", "click")
    assert result.exit_code == 4
    assert "declares no data" in result.stderr
    assert "dataferry add" in result.stderr


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("a file"), "not a folder"),
        (lambda path: path.symlink_to("nowhere"), "a link to a folder that is not there"),
        (lambda path: None, "no such file or directory"),
        (lambda path: (path / "small.txt").mkdir(parents=True), "a folder, not a file"),
        (lambda path: (path.mkdir(), (path / "small.txt").symlink_to("nowhere")), "a link to a file that is not there"),
        (lambda path: (path.mkdir(), (path / "small.txt").write_text("no")), "2 bytes instead of 6"),
    ],
)
def test_a_folder_that_cannot_be_used_is_skipped(command, make_package, tmp_path, make, reason):
    package = make_package({}, {"small.txt": b"small\n"}, f'[folders]\nany = "{tmp_path}/folder"\n')
    make(tmp_path / "folder")
    assert reason in command("where", package, "small.txt").stdout
    result = command("get", package, "small.txt")
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).read_bytes() == b"small\n"


@pytest.mark.parametrize(
    ("config", "variable", "reason"),
    [
        ("offline = 3\n", None, "config.toml: offline is true or false"),
        ("[packages]\nx = 3\n", None, "config.toml: packages.x is a table"),
        ("ofline = true\n", None, "did you mean 'offline'?"),
        ("verify = \n", None, "config.toml: not valid TOML: "),
        ("", "perhaps", "DATAFERRY_OFFLINE is 1 or 0, not 'perhaps'"),
    ],
)
def test_settings_that_cannot_be_used(command, package, home, monkeypatch, config, variable, reason):
    (home / ".config" / "dataferry").mkdir()
    (home / ".config" / "dataferry" / "config.toml").write_text(config)
    if variable:
        monkeypatch.setenv("DATAFERRY_OFFLINE", variable)
    result = command("get", package, "small.txt")
    assert result.exit_code == 4
    assert reason in result.stderr
    result = command("doctor")
    assert result.exit_code == 4
    assert reason in result.stdout


@pytest.mark.parametrize("target", [None, "/dev/zero"])
def test_settings_without_an_end(home, target):
    path = home / ".config" / "dataferry" / "config.toml"
    path.parent.mkdir()
    if target:
        path.symlink_to(target)
    else:
        os.mkfifo(path)
    result = bounded("cache", "dir")
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert f"{path}: it is not a regular file" in result.stderr


def bounded(*words: object) -> subprocess.CompletedProcess[str]:
    """A command that may take neither long nor much memory."""
    limits = {"timeout": 20, "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))}
    command = [sys.executable, "-m", "dataferry", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **limits)


@pytest.fixture(params=["a FIFO", "/dev/zero"])
def endless(request, tmp_path):
    """A path that can be opened, and whose end never comes."""
    if request.param == "a FIFO":
        os.mkfifo(tmp_path / "fifo")
        return tmp_path / "fifo"
    return Path(request.param)


@pytest.mark.parametrize("verb", ["get", "list", "check"])
def test_a_registry_without_an_end(endless, tmp_path, verb):
    listed = tmp_path / "listed.toml"
    listed.write_text('dataurl = "https://h.example/"\nregistry = "sums"\n')
    (tmp_path / "sums").symlink_to(endless)
    for registry in (endless, listed):
        result = bounded(verb, "mypkg", *(["a.dat"] if verb == "get" else []), "--registry", registry)
        assert (result.returncode, result.stderr.count("\n")) == (4, 1), result.stderr
        assert f"{endless if registry == endless else tmp_path / 'sums'}: it is not a regular file" in result.stderr


def test_an_authors_files_without_an_end(endless, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataferry.toml").symlink_to(endless)
    (tmp_path / "a.dat").write_bytes(b"a")
    result = bounded("add", tmp_path / "data", tmp_path / "a.dat")
    assert result.returncode == 4
    assert "dataferry.toml: it is not a regular file" in result.stderr
    assert bounded("remove", tmp_path / "data", "a.dat").returncode == 4
    (tmp_path / "data" / "dataferry.toml").unlink()
    result = bounded("add", tmp_path / "data", "--from", endless)
    assert result.returncode == 4
    assert f"{endless}: it is not a regular file" in result.stderr
    assert ("--from -" in result.stderr) == (endless.name == "fifo")


@pytest.mark.parametrize("option", ["ca_bundle", "client_cert", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_without_an_end(endless, make_package, home, monkeypatch, option, tmp_path):
    package = make_package({"a.dat": b"a"}, {}, 'dataurl = "https://127.0.0.1:1/"')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    if option.isupper():
        monkeypatch.setenv(option, str(endless))
    else:
        (home / ".config" / "dataferry").mkdir()
        (home / ".config" / "dataferry" / "config.toml").write_text(f'[hosts."127.0.0.1"]\n{option} = "{endless}"\n')
    result = bounded("get", package, "a.dat")
    assert result.returncode == (1 if option == "client_cert" else 4)  # another host may need none
    assert f"{option} names '{endless}'" in result.stderr
    assert "it is not a regular file" in result.stderr


def test_masked_settings(command, package, home):
    path = home / ".config" / "dataferry" / "config.toml"
    path.parent.mkdir()
    path.symlink_to("/dev/null")
    assert command("get", package, "small.txt").exit_code == 0


def test_credentials_are_never_printed(command, make_package, monkeypatch):
    with RangeServer({}, basic=("ann", "another")) as server:
        url = server.url.replace("http://", "http://ann:secret@")
        package = make_package({"a.fits": b"a"}, {}, f'dataurl = "{url}"\n')
        for args in (
            ["get", package, "a.fits"],
            ["where", package, "a.fits"],
            ["doctor", package],
            ["-vv", "get", package, "a.fits"],
        ):
            result = command(*args)
            assert server.url in result.stdout + result.stderr
            assert "secret" not in result.stdout + result.stderr


@pytest.mark.parametrize("args", [["get", "../x"], ["get", "a\\b"], ["list"], ["where", "%2e%2e/x"]], ids=" ".join)
def test_no_traceback_from_the_installed_command(make_package, tmp_path, args):
    package = make_package({}, {}, 'dataurl = "https://h.example/x"\n' if args == ["list"] else "")
    run = subprocess.run(
        [Path(sys.executable).with_name("dataferry"), args[0], package, *args[1:]],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "packages")},
        capture_output=True,
        text=True,
    )
    assert run.returncode in {2, 4}
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert "Traceback" not in run.stderr
