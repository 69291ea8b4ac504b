"""`dataferry add`: which registry, which names, and what is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataferry import PackageData
from dataferry.registry import Registry
from dataferry.testing import RangeServer


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def source(source_tree):
    """A source tree with one package, and some files elsewhere; the current directory is the tree."""
    return source_tree(
        {
            "mypkg/__init__.py": b"",
            "mypkg/data/small.txt": b"small\n",
            "mypkg/data/maps/a.fits": b"a" * 3000,
            "mypkg/data/.hidden": b"no",
            "mypkg/data/__init__.py": b"",
            "tests/__init__.py": b"",
            "tests/data/x.fits": b"",
            "elsewhere/b.fits": b"bb",
            "elsewhere/deep/c.fits": b"ccc",
        }
    )


def registered(tree: Path) -> dict[str, int | None]:
    return {entry.name: entry.size for entry in Registry(tree / "mypkg/data/dataferry.toml").entries()}


@pytest.mark.parametrize("target", [".", "mypkg", "mypkg/data", "mypkg/data/dataferry.toml", "../tree", "src-layout"])
def test_the_target_is_found(command, source, target):
    if target == "src-layout":
        (source / "src").mkdir()
        (source / "mypkg").rename(source / "src" / "mypkg")
        assert command("add", ".", "src/mypkg/data/small.txt").exit_code == 0
        assert (source / "src/mypkg/data/dataferry.toml").is_file()
        return
    result = command("add", target, "mypkg/data/small.txt")
    assert result.exit_code == 0
    assert registered(source) == {"small.txt": 6}


def test_an_installed_package_is_a_target(command, make_package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = make_package({}, {"small.txt": b"small\n"})
    (tmp_path / "new.fits").write_bytes(b"new")
    assert command("add", package, "new.fits").exit_code == 0
    assert PackageData(package).names() == ["small.txt", "new.fits"]


def test_a_first_registry_and_how_to_ship_it(command, source):
    result = command("add", "mypkg", "mypkg/data", "--dataurl", "https://h.example/x/")
    assert result.stdout == (
        f"+ added        3.0 kB  {sha(b'a' * 3000)[:12]}  maps/a.fits\n"
        f"+ added           6 B  {sha(b'small' + bytes([10]))[:12]}  small.txt\n"
        "mypkg/data/dataferry.toml: 2 added, dataurl set (new file)\n"
    )
    assert "[tool.setuptools.package-data]\n  mypkg = " in result.stderr
    assert registered(source) == {"maps/a.fits": 3000, "small.txt": 6}
    again = command("add", "mypkg", "mypkg/data")
    assert "= unchanged" in again.stdout
    assert again.stdout.endswith("mypkg/data/dataferry.toml: nothing to change\n")
    assert again.stderr == ""


def test_names_of_files_from_elsewhere(command, source):
    command("add", "mypkg", "elsewhere/b.fits", "elsewhere/deep")
    command("add", "mypkg", "elsewhere", "--prefix", "maps/")
    command("add", "mypkg", "elsewhere/b.fits", "--as", "other/name.fits")
    assert registered(source) == {
        "b.fits": 2,
        "c.fits": 3,
        "maps/b.fits": 2,
        "maps/deep/c.fits": 3,
        "other/name.fits": 2,
    }
    assert (source / "elsewhere/b.fits").read_bytes() == b"bb"
    assert not (source / "mypkg/data/b.fits").exists()


def test_what_is_added_can_be_got(command, source, monkeypatch):
    with RangeServer(source / "elsewhere") as server:
        command("add", "mypkg", "elsewhere", "mypkg/data", "--dataurl", server.url)
        monkeypatch.syspath_prepend(str(source))
        monkeypatch.delitem(sys.modules, "mypkg", raising=False)
        result = command("get", "mypkg", "deep/c.fits", "small.txt")
    assert [Path(path).read_bytes() for path in result.stdout.splitlines()] == [b"ccc", b"small\n"]


def test_other_bytes_under_a_name_are_refused(command, source):
    command("add", "mypkg", "elsewhere/b.fits")
    before = (source / "mypkg/data/dataferry.toml").read_bytes()
    (source / "elsewhere/b.fits").write_bytes(b"other")
    result = command("add", "mypkg", "elsewhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "  b.fits: sha256 " in result.stderr
    assert "--replace" in result.stderr
    assert (source / "mypkg/data/dataferry.toml").read_bytes() == before
    assert "! replaced" in command("add", "mypkg", "elsewhere", "--replace").stdout
    assert registered(source) == {"b.fits": 5, "deep/c.fits": 3}


def test_a_dry_run_writes_nothing(command, source):
    result = command("add", "-n", "mypkg", "mypkg/data", "--dataurl", "https://h.example/x/")
    assert result.stdout.endswith("2 added, dataurl set (dry run, nothing was written)\n")
    assert not (source / "mypkg/data/dataferry.toml").exists()


def test_add_as_json(command, source):
    answer = json.loads(command("add", "--json", "mypkg", "elsewhere/b.fits").stdout)
    assert answer == {
        "registry": "mypkg/data/dataferry.toml",
        "written": ["mypkg/data/dataferry.toml"],
        "dry_run": False,
        "files": [{"name": "b.fits", "size": 2, "sha256": sha(b"bb"), "action": "added"}],
    }


def test_lists_are_read_in(command, source):
    Path("SHA256SUMS").write_text(f"{'a' * 64}  ./maps/x.fits\n")
    Path("registry.txt").write_text(f"y.fits sha256:{'b' * 64}\n")
    result = command(
        "add", "mypkg", "--from", "SHA256SUMS", "--from", "registry.txt", "--from", "-", input=f"{'c' * 64} *z\n"
    )
    assert result.exit_code == 0
    assert registered(source) == {"maps/x.fits": None, "y.fits": None, "z": None}


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["mypkg"], 2, "Nothing to add"),
        (["mypkg", "elsewhere", "--as", "x"], 2, "exactly one file"),
        (["mypkg", "elsewhere/b.fits", "--as", "../x"], 2, "'../x' is not a legal name"),
        (["mypkg", "elsewhere/b.fits", "--prefix", "../x"], 2, "elsewhere/b.fits: '../x/b.fits' is not a legal name"),
        (["mypkg", "elsewhere/nothing.fits"], 2, "elsewhere/nothing.fits: there is no such file"),
        (["mypkg", "/dev/null"], 2, "/dev/null: not a regular file"),
        (["mypkg", "elsewhere/b.fits", "mypkg/data/b.fits"], 2, "would both be 'b.fits'"),
        (["mypkg", "--dataurl", "https://h.example/x"], 2, "must end with a slash"),
        (["mypkg", "--dataurl", "https://ann:secret@h.example/x"], 2, "'https://h.example/x' must end with a slash"),
        (["no_such_package", "elsewhere/b.fits"], 4, "there is no package 'no_such_package'"),
        (["./nothing", "elsewhere/b.fits"], 4, "./nothing: there is no such folder"),
        (["elsewhere", "elsewhere/b.fits"], 4, "elsewhere is no package"),
        (["elsewhere/b.fits", "elsewhere/b.fits"], 4, "neither a package, nor a folder"),
        (["mypkg", "--from", "nothing.txt"], 4, "nothing.txt: No such file"),
        (["mypkg", "--from", "elsewhere/b.fits"], 4, "elsewhere/b.fits: line 1: "),
        (["mypkg", "pointer.fits"], 1, "pointer.fits is a git-lfs pointer"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(command, source, args, code, reason):
    Path("mypkg/data/b.fits").write_bytes(b"another")
    Path("pointer.fits").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    result = command("add", *args)
    assert result.exit_code == code
    assert reason in result.stderr
    assert "secret" not in result.stderr
    assert not (source / "mypkg/data/dataferry.toml").exists()


def test_two_packages_need_a_choice(command, source):
    (source / "other/data").mkdir(parents=True)
    (source / "other/__init__.py").touch()
    result = command("add", ".", "elsewhere/b.fits")
    assert result.exit_code == 4
    assert "several packages" in result.stderr
    (source / "mypkg/data/dataferry.toml").touch()
    assert command("add", ".", "elsewhere/b.fits").exit_code == 0


def reads(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        return any(os.readlink(number) == str(path) for number in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # one was closed meanwhile
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc says which files are open")
def test_ctrl_c_does_not_wait_for_a_large_file(source, tmp_path):
    large = tmp_path / "large.fits"
    with large.open("wb") as file:
        file.truncate(200 << 30)
    program = Path(sys.executable).with_name("dataferry")
    run = subprocess.Popen([program, "add", "mypkg", large], stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        while not reads(run.pid, large):
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130
    assert "Traceback" not in err
    assert not (source / "mypkg/data/dataferry.toml").exists()
