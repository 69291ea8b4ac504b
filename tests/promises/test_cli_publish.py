"""`dataferry publish`: what an author sees, how it ends, and what is left when it is stopped."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataferry import PackageData
from dataferry.registry import Registry
from dataferry.testing import RangeServer

TOKEN = "tok-5up3r53cr3t"


@pytest.fixture(scope="module")
def running_dav(webdav: Callable[..., Any]) -> Iterator[Any]:
    with webdav() as running:
        yield running


@pytest.fixture
def dav(running_dav: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for number, left in enumerate(list(running_dav.folder.iterdir())):
        left.rename(running_dav.folder.with_name(f"{running_dav.folder.name}-{time.monotonic_ns()}-{number}"))
    monkeypatch.setenv("WEBDAV_TOKEN", TOKEN)
    return running_dav


@pytest.fixture
def tree(source_tree):
    """A source tree with one package and files to publish; the current folder."""
    files = {"hosted/maps/a.fits": b"a" * 5000, "hosted/maps/b.fits": b"b" * 300}
    tree = source_tree({"mypkg/__init__.py": b"", **files})
    (tree / "mypkg/data").mkdir()
    return tree


REGISTRY = Path("mypkg/data/dataferry.toml")


def users_get(names: list[str]) -> list[bytes]:
    data = PackageData("mypkg", registry=REGISTRY, show_progress=False)
    return [Path(path).read_bytes() for path in data.fetch(names)]


def test_publish_and_publish_again(command, tree, dav):
    result = command("publish", "hosted", "--to", dav.spec)
    assert result.exit_code == 0
    assert result.stdout == ("+ published    5.0 kB  maps/a.fits\n+ published     300 B  maps/b.fits\n")
    assert result.stderr.startswith(
        f"{dav.spec}: 2 to upload, 5.3 kB; with the token in the variable WEBDAV_TOKEN\n"
        "2 of 2 published and proven, 2 of them uploaded now; mypkg/data/dataferry.toml written\n"
        "It must be installed with the package."
    )
    assert users_get(["maps/a.fits", "maps/b.fits"]) == [b"a" * 5000, b"b" * 300]
    again = command("publish", "hosted", "--to", dav.spec)
    assert again.stdout == ("= unchanged    5.0 kB  maps/a.fits\n= unchanged     300 B  maps/b.fits\n")
    assert again.stderr.endswith("2 of 2 published and proven; nothing to register\n")
    assert dav.stored() >= 2


def test_a_finished_run_leaves_nothing_in_the_cache(command, tree, tmp_path):
    """Not even an empty folder, which `cache size` would count among what stopped runs left."""
    (tmp_path / "www").mkdir()
    with RangeServer(tmp_path / "www") as server:
        host = f"folder:{tmp_path}/www?url={server.url}"
        assert command("publish", "hosted", "--to", host).exit_code == 0
    assert json.loads(command("cache", "size", "--json").stdout)["left_over"] == {"folders": 0, "bytes": 0}


def test_a_dry_run_is_a_table(command, tree, dav):
    before = len(dav.requests("PUT", "MOVE", "MKCOL"))
    (dav.folder / "maps").mkdir()
    (dav.folder / "maps" / "b.fits").write_bytes(b"b" * 300)
    result = command("publish", "hosted", "--to", dav.spec, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == (
        "    SIZE  ACTION       NAME\n  5.0 kB  upload       maps/a.fits\n   300 B  is there     maps/b.fits\n"
    )
    assert result.stderr == (
        f"{dav.spec}: 1 to upload, 5.0 kB; 1 there already; with the token in the variable WEBDAV_TOKEN\n"
        "mypkg/data/dataferry.toml: dry run, nothing was changed\n"
    )
    assert not REGISTRY.exists()
    assert len(dav.requests("PUT", "MOVE", "MKCOL")) == before


def test_an_estimate_where_the_rate_is_known(command, tree, dav):
    (tree / "hosted" / "big.fits").write_bytes(os.urandom(3_000_000))
    assert command("publish", "hosted", "--to", dav.spec).exit_code == 0
    (tree / "hosted" / "bigger.fits").write_bytes(os.urandom(3_000_001))
    assert re.search(
        r"1 to upload, 3\.0 MB, about \d+ s; ", command("publish", "hosted", "--to", dav.spec, "-n").stderr
    )


def test_names_and_target(command, tree, dav):
    assert command("publish", "hosted/maps/a.fits", "--as", "x.fits", "--to", dav.spec).exit_code == 0
    assert command("publish", "hosted/maps", "--prefix", "p", "--to", dav.spec, "--package", "mypkg").exit_code == 0
    assert Registry(REGISTRY).names() == ["x.fits", "p/a.fits", "p/b.fits"]
    assert command("publish", "hosted", "--as", "x.fits", "--to", dav.spec).exit_code == 2


def test_without_files_all_that_are_registered_and_here(command, tree, dav):
    nothing = command("publish", "--to", dav.spec)
    assert (nothing.exit_code, "no file is registered" in nothing.stderr) == (2, True)
    (tree / "mypkg" / "data" / "small.txt").write_bytes(b"small")
    (tree / "here.fits").write_bytes(b"here")
    (tree / "away.fits").write_bytes(b"away")
    command("add", ".", "here.fits", "away.fits", "mypkg/data/small.txt")
    (tree / "away.fits").unlink()
    result = command("publish", "--to", dav.spec)
    assert result.exit_code == 0
    assert "1 of 3 registered files are not on this machine: away.fits" in result.stderr
    assert "2 of 2 published and proven, 2 of them uploaded now" in result.stderr
    assert {name: data for name, data in dav.files().items() if "/." not in name} == {
        "here.fits": b"here",
        "small.txt": b"small",
    }


def test_without_files_and_none_here(command, tree, dav):
    command("add", "mypkg", "hosted")
    for path in ("a.fits", "b.fits"):
        (tree / "hosted/maps" / path).unlink()
    result = command("publish", "--to", dav.spec)
    assert result.exit_code == 2
    assert "2 of 2 registered files are not on this machine: maps/a.fits, maps/b.fits" in result.stderr
    assert f"fetch them first: dataferry get mypkg '*' --registry {REGISTRY}" in result.stderr


def test_json(command, tree, dav):
    dry = json.loads(command("publish", "hosted", "--to", dav.spec, "--dry-run", "--json").stdout)
    assert [(f["name"], f["action"]) for f in dry["files"]] == [("maps/a.fits", "upload"), ("maps/b.fits", "upload")]
    assert dry["written"] == []
    assert dry["hosts"][0]["upload_bytes"] == 5300
    done = json.loads(command("publish", "hosted", "--to", dav.spec, "--json").stdout)
    assert done["written"] == [str(REGISTRY)]
    assert [(f["uploaded"], f["published"], f["error"]) for f in done["files"]] == [(True, True, None)] * 2
    assert done["hosts"][0]["declared"] == dav.spec


def test_remarks_of_a_host_on_the_plan(command, tree, github, monkeypatch):
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
    said = (
        "  note: a release v1 is made as a draft, and published once all files are proven\n"
        "  note: maps/a.fits goes in 2 parts\n"
    )
    spec = github.spec("v1", part=4000)
    dry = command("publish", "hosted", "--to", spec, "--dry-run")
    assert f"{said}mypkg/data/dataferry.toml: dry run" in dry.stderr
    told = json.loads(command("publish", "hosted", "--to", spec, "--dry-run", "--json").stdout)["hosts"][0]
    assert told["remarks"] == [line.removeprefix("  note: ") for line in said.splitlines()]
    assert told["declared"] == spec
    assert f"{said}2 of 2 published" in command("publish", "hosted", "--to", spec).stderr
    assert "note:" not in command("publish", "hosted", "--to", spec).stderr


def test_a_dry_run_fails_where_the_run_would(command, tree, dav):
    away = "webdav:http://127.0.0.1:9/"
    result = command("publish", "hosted", "--to", away, "--to", dav.spec, "--dry-run")
    assert result.exit_code == 1
    assert f"1: {away}: it cannot be published to now, see below\n2: {dav.spec}: 2 to upload" in result.stderr
    assert result.stderr.count("Connection refused") == 1


def test_json_has_the_reason_why_no_host_can_be_asked(command, tree, monkeypatch):
    monkeypatch.setenv("WEBDAV_TOKEN", "x")
    away = "webdav:http://127.0.0.1:9/"
    for more in ([], ["--dry-run"]):
        result = command("publish", "hosted", "--to", away, "--json", *more)
        assert result.exit_code == 1
        told = json.loads(result.stdout)
        assert "Connection refused" in told["hosts"][0]["error"]
        assert told["written"] == told["files"] == []
        assert result.stderr.count("Connection refused") == 1


@pytest.mark.parametrize(
    ("token", "said"), [("", "there is no token"), ("tok-r34d3r", "HTTP 403")], ids=["no token", "a weak token"]
)
def test_without_rights(command, tree, dav, monkeypatch, token, said):
    monkeypatch.setenv("WEBDAV_TOKEN", token)
    before = dav.stored()
    for more in ([], ["--dry-run"], ["--json"]):
        result = command("publish", "hosted", "--to", dav.spec, *more)
        assert result.exit_code == 6
        assert result.stderr.count(f"error: {dav.spec}: ") == 1
        assert said in result.stderr
        assert "set WEBDAV_TOKEN" in result.stderr
    assert dav.stored() == before
    assert not REGISTRY.exists()


def test_a_conflict(command, tree, dav):
    command("publish", "hosted", "--to", dav.spec)
    text = REGISTRY.read_bytes()
    (tree / "hosted" / "maps" / "a.fits").write_bytes(b"A" * 5000)
    result = command("publish", "hosted", "--to", dav.spec)
    assert result.exit_code == 7
    assert result.stderr.startswith("error: mypkg/data/dataferry.toml: 'maps/a.fits' is registered with other bytes")
    newer = command("publish", "hosted", "--to", dav.spec, "--new-version")
    assert newer.exit_code == 7
    assert f"{dav.spec} keeps one version of a file only: give the new bytes another name" in newer.stderr
    REGISTRY.unlink()
    other = command("publish", "hosted", "--to", dav.spec)
    assert other.exit_code == 7
    assert f"{dav.spec}: maps/a.fits: the host has another file under this name" in other.stderr
    REGISTRY.write_bytes(text)
    assert users_get(["maps/a.fits"]) == [b"a" * 5000]


def test_a_host_that_nobody_knows(command, tree):
    for spec, said in {
        "nosuch:x": "no host is installed for nosuch:... (there are: ",
        "gihub-release:a/b@v1": "did you mean github-release:",
        "foldr:/srv/www": "did you mean folder:",
        "figshare": "'figshare' names a kind of host and no place: it reads figshare:...",
        "/srv/www/data": "a folder that a web server publishes reads folder:/path?url=https://host/path/",
    }.items():
        result = command("publish", "hosted", "--to", spec)
        assert result.exit_code == 2
        assert said in result.stderr


def test_offline(command, tree, dav, monkeypatch):
    before = len(dav.requests())
    result = command("--offline", "publish", "hosted", "--to", dav.spec)
    assert result.exit_code == 3
    assert result.stderr == f"error: publishing needs the network:\n  {dav.spec}: not asked: DATAFERRY_OFFLINE=1\n"
    command("add", ".", "--dataurl", dav.server.url)
    result = command("--offline", "add", ".", "--from", dav.spec)
    assert result.exit_code == 3
    assert f"error: the list of {dav.spec} needs the network:" in result.stderr
    assert len(dav.requests()) == before


def test_many_errors_of_one_kind_are_short(command, tree, dav):
    for number in range(30):
        (tree / "hosted" / f"{number:02}.fits").write_bytes(b"x" * (number + 1))
    command("publish", "hosted", "--to", dav.spec)
    for number in range(30):
        (tree / "hosted" / f"{number:02}.fits").write_bytes(b"y" * (number + 1))
    result = command("publish", "hosted", "--to", dav.spec)
    assert result.exit_code == 7
    assert result.stderr.startswith("error: nothing was published: 30 problems\n")
    assert "'19.fits' is registered with other bytes" in result.stderr
    assert "'20.fits'" not in result.stderr
    assert result.stderr.endswith("... and 10 more\nA published name keeps its bytes: give the new ones another name\n")
    told = json.loads(command("publish", "hosted", "--to", dav.spec, "--json").stdout)
    assert len(told["problems"]) == 30


def test_mirrors_in_one_run_and_one_of_them_away(command, tree, dav):
    away = "webdav:http://127.0.0.1:9/"
    result = command("publish", "hosted", "--to", away, "--to", dav.spec)
    assert result.exit_code == 1
    assert f"+ published    5.0 kB  maps/a.fits  {dav.spec}\n" in result.stdout
    assert result.stderr.count("error: DELETE http://127.0.0.1:9/") == 1
    assert Registry(REGISTRY).mirrors == (dav.spec,)


def program(*args: str) -> list[str]:
    return [str(Path(sys.executable).with_name("dataferry")), *args]


def slow_tree(tree: Path) -> None:
    for number in range(3):
        (tree / "hosted" / f"big{number}.fits").write_bytes(os.urandom(3_000_000))


def stop_when(seen: Callable[[], object], *args: str) -> None:
    """Run a command, send it Ctrl-C once something is seen, and see that it ends well."""
    run = subprocess.Popen(
        program(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not seen():
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)  # half of what a host is waited for
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130
    assert (out, "Traceback" in err) == ("", False)
    assert "The same command goes on from here" in err
    assert not REGISTRY.exists()


def test_ctrl_c_ends_it_at_once_and_the_next_run_goes_on(command, tree, webdav, tmp_path, monkeypatch):
    slow_tree(tree)
    monkeypatch.setenv("WEBDAV_TOKEN", TOKEN)
    slow = tmp_path / "slow"
    slow.touch()
    with webdav(extra=f"if (-f {slow}) {{ set $limit_rate 10k; }}") as dav:  # fetching back takes long

        def seen() -> bool:
            return sum(status < 300 for _, _, status in dav.requests("MOVE")) == 5

        stop_when(seen, "publish", "hosted", "--to", dav.spec)
        slow.unlink()
        result = command("publish", "hosted", "--to", dav.spec)
        assert (result.exit_code, dav.stored()) == (0, 5)


def test_ctrl_c_while_a_host_does_not_answer(tree, webdav_module, monkeypatch):
    monkeypatch.setenv("WEBDAV_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        asked = []

        def seen() -> bool:
            if select.select([deaf], [], [], 0)[0]:
                asked.append(deaf.accept())
            return bool(asked)

        stop_when(seen, "publish", "hosted", "--to", f"webdav:http://127.0.0.1:{deaf.getsockname()[1]}/")
        for connection, _ in asked:
            connection.close()


def in_a_terminal(args: list[str]) -> str:
    """Run a command on a terminal of 40 lines with 100 columns."""
    import fcntl
    import struct
    import termios

    pid, fd = pty.fork()
    if pid == 0:
        os.execv(args[0], args)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    said, until = b"", time.monotonic() + 60
    try:
        while time.monotonic() < until:
            if select.select([fd], [], [], 0.2)[0]:
                try:
                    said += os.read(fd, 65536)
                except OSError:
                    break
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
    return said.decode()


def test_progress_in_a_terminal(tree, webdav, monkeypatch):
    slow_tree(tree)
    monkeypatch.setenv("WEBDAV_TOKEN", TOKEN)
    with webdav(limit_rate="400k") as dav:
        said = in_a_terminal(program("publish", "hosted", "--to", dav.spec))
    assert "fetching back" in said
    assert "of 5 files" in said
    assert "5 of 5 published and proven" in said
    assert TOKEN not in said
