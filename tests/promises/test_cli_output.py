"""The command line on terminals, in pipes and in logs: colours, control characters, silence, and what can be typed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dataferry.testing import RangeServer, Stall

PROGRAM = str(Path(sys.executable).with_name("dataferry"))


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer({"maps/a.fits": b"a" * 5000, "maps/b.fits": b"b" * 300}) as running:
        yield running


@pytest.fixture
def package(make_package, server):
    files = {"maps/a.fits": b"a" * 5000, "maps/b.fits": b"b" * 300}
    return make_package(files, {"small.txt": b"small\n"}, f'dataurl = "{server.url}"\n')


def on_a_terminal(args: list[str], env: Mapping[str, str], stop_at: bytes = b"", columns: int = 100) -> str:
    """What a command prints on a terminal; it gets Ctrl-C once it has printed something."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(args[0], args, {**os.environ, **env})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    printed = b""
    try:
        while select.select([fd], [], [], 60)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # it has ended
                break
            if not data:
                break
            printed += data
            if stop_at and stop_at in printed:
                os.kill(pid, signal.SIGINT)
                stop_at = b""
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
    return printed.decode()


# -- terminals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "colours"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["a terminal", "NO_COLOR", "TERM=dumb"],
)
@pytest.mark.parametrize("args", [["list", "{package}"], ["get", "no_such_package", "x"], ["doctor"]], ids=" ".join)
def test_colours_only_where_they_are_wanted(package, tmp_path, env, colours, args):
    args = [PROGRAM, *(arg.format(package=package) for arg in args)]
    printed = on_a_terminal(args, {"PYTHONPATH": str(tmp_path / "packages"), **env})
    assert ("\x1b[" in printed) == colours


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_ctrl_c_leaves_the_bar_at_what_is_kept(make_package, tmp_path, term):
    data = os.urandom(3_000_000)
    with RangeServer({"large.fits": data}) as server:
        server.fault("*", Stall(after=1_500_000))
        package = make_package({"large.fits": data}, {}, f'dataurl = "{server.url}"\n')
        env = {"PYTHONPATH": str(tmp_path / "packages"), "TERM": term}
        seen = b"large.fits:  5" if term == "xterm" else b"dataferry: 0 of 1 files"
        printed = on_a_terminal([PROGRAM, "get", package, "large.fits"], env, seen)
    assert "stopped;" in printed
    if term == "xterm":
        last = printed.rpartition("large.fits:")[2]
        assert re.match(r" +[5-9]\d%", last), printed
        assert "-" not in last.partition("stopped")[0].replace("->", "")
    else:
        assert "\r" not in printed.replace("\r\n", "\n"), "no bar that would be printed again and again"


def test_a_terminal_without_a_width_gets_lines(make_package, tmp_path):
    with RangeServer({"large.fits": b"a" * 300_000}) as server:
        server.fault("*", Stall(after=1000))
        package = make_package({"large.fits": b"a" * 300_000}, {}, f'dataurl = "{server.url}"\n')
        env = {"PYTHONPATH": str(tmp_path / "packages"), "TERM": "xterm"}
        line = "dataferry: 0 of 1 files"
        assert line in on_a_terminal([PROGRAM, "get", package, "large.fits"], env, line.encode(), columns=0)


ESCAPES = b"\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J\x9b1m"


@pytest.fixture
def hostile() -> Iterator[str]:
    """A server that writes to the terminal of whoever shows its words."""
    body = b'{"message": "\\u001b]52;c;cm0\\u0007 no"}'
    answer = b"HTTP/1.1 418 " + ESCAPES + b"\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer += b"Content-Length: %d\r\n\r\n" % len(body) + body

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "args",
    [
        ["get", "{package}", "maps/a.fits"],
        ["get", "--json", "{package}", "maps/a.fits"],
        ["check", "{package}"],
        ["check", "{package}", "--json"],
        ["-vv", "get", "{package}", "maps/a.fits"],
        ["add", "{registry}", "--from", "{url}"],
        ["add", "{registry}", "--from", "figshare:{url}articles/1"],
        ["publish", "{registry}", "--as", "x", "--package", "{registry}", "--to", "webdav:{url}"],
    ],
    ids=" ".join,
)
def test_a_servers_words_do_not_reach_the_terminal(command, make_package, hostile, tmp_path, monkeypatch, args):
    monkeypatch.setenv("WEBDAV_TOKEN", "x")
    package = make_package({"maps/a.fits": b"a"}, {}, f'dataurl = "{hostile}"\n')
    registry = tmp_path / "packages" / package / "data" / "dataferry.toml"
    done = command(*(arg.format(package=package, registry=registry, url=hostile) for arg in args))
    assert done.exit_code != 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr)


# -- pipes and files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args", ["list {package}", "--help", "--version", "get --help", "cache --help", "cache size --help"]
)
def test_a_full_disk_behind_stdout_is_an_error(package, tmp_path, args):
    with open("/dev/full", "w") as full:
        # an empty PYTHONUNBUFFERED is none: without it what is printed fails at the last flush only
        env = os.environ | {"PYTHONPATH": str(tmp_path / "packages"), "PYTHONUNBUFFERED": ""}
        command = [PROGRAM, *args.format(package=package).split()]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert run.returncode == 5
    assert run.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["get", "check --offline"])
def test_closed_streams_are_no_error(command, closed, package, tmp_path):
    env = os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
    expected = subprocess.run([PROGRAM, *command.split(), package], capture_output=True, env=env).returncode
    run = subprocess.run(f"{PROGRAM} {command} {package} {closed}", shell=True, capture_output=True, text=True, env=env)
    assert run.returncode == expected
    assert "Traceback" not in run.stderr


def test_a_reader_that_has_enough_is_no_error(package, tmp_path):
    env = {"PYTHONPATH": str(tmp_path / "packages"), "PATH": os.environ["PATH"]}
    run = subprocess.run(
        f"{PROGRAM} list {package} --json | head -1", shell=True, capture_output=True, text=True, env=os.environ | env
    )
    assert (run.stdout, run.stderr) == ("{\n", "")


def test_a_reader_that_went_is_no_error(package, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    env = os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
    run = subprocess.run([PROGRAM, "list", package], stdout=writer, stderr=subprocess.PIPE, text=True, env=env)
    os.close(writer)
    assert run.stderr == ""


def test_a_log_gets_a_line_now_and_then(make_package, nginx, tmp_path):
    """Where stderr is no terminal there is no bar, and no silence for minutes either."""
    (tmp_path / "www").mkdir()
    data = os.urandom(800_000)
    (tmp_path / "www" / "large.fits").write_bytes(data)
    served = nginx(tmp_path / "www", limit_rate="100k")
    package = make_package({"large.fits": data}, {}, f'dataurl = "{served.url}"\n')
    env = os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
    run = subprocess.run([PROGRAM, "get", package, "large.fits"], capture_output=True, text=True, env=env)
    assert run.returncode == 0
    assert re.search(r"^dataferry: 0 of 1 files, \d of 1 MB", run.stderr, re.MULTILINE), run.stderr


def test_quiet_prints_results_and_errors_alone(command, package, tmp_path, monkeypatch):
    (tmp_path / "folder" / package).mkdir(parents=True)
    (tmp_path / "folder" / package / "small.txt").write_bytes(b"other\n")
    monkeypatch.setenv("DATAFERRY_DATA", str(tmp_path / "folder"))
    assert command("get", package, "small.txt").stderr.startswith("warning:")
    for args in (["-q", "get", package, "small.txt"], ["get", "--quiet", package, "*"], ["list", "-q", package]):
        done = command(*args)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout
    assert command("-q", "get", package, "../x").stderr.startswith("error: ")


# -- what is typed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["gte", "x", "y"], "get"),
        (["publishh"], "publish"),
        (["cache", "prun"], "prune"),
        (["host", "lst"], "list"),
        (["host", "s3", "seutp"], "setup"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_mistyped_command_is_answered_with_the_close_one(command, args, meant):
    done = command(*args)
    assert done.exit_code == 2
    assert f"Did you mean {meant}?" in done.stderr


def test_list_and_get_agree_on_what_is_not_there(command, package):
    for name in ("nope*", "nope.fits", "maps/[cd].fits"):
        listed = command("list", package, name)
        assert (listed.exit_code, listed.stdout) == (2, "")
        assert "is not registered" in listed.stderr
    assert "did you mean 'maps/a.fits' or" in command("list", package, "maps/a.fit").stderr
    assert command("get", package, "nope*").exit_code == 2


def test_get_copies_files_into_a_folder(command, package, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("get", package, "small.txt", "maps/*", "-o", "out")
    paths = done.stdout.splitlines()
    assert paths == [str(tmp_path / "out" / name) for name in ("small.txt", "maps/a.fits", "maps/b.fits")]
    assert [Path(path).read_bytes() for path in paths] == [b"small\n", b"a" * 5000, b"b" * 300]
    assert not any(Path(path).is_symlink() for path in paths)
    before = [os.stat(path).st_mtime_ns for path in paths]
    again = json.loads(command("get", package, "*", "--output", "out", "--json").stdout)
    assert {file["path"] for file in again["files"]} == set(paths)
    assert [os.stat(path).st_mtime_ns for path in paths] == before, "what is there stays"
    Path(paths[1]).write_bytes(b"mine")
    refused = command("get", package, "maps/a.fits", "-o", "out")
    assert (refused.exit_code, refused.stdout) == (5, "")
    assert f"{paths[1]} is there with other bytes" in refused.stderr
    assert Path(paths[1]).read_bytes() == b"mine"
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["a.fits", "b.fits", "maps", "small.txt"]


def test_get_takes_a_url_without_a_package(command, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = server.url_of("maps/a.fits")
    right = hashlib.sha256(b"a" * 5000).hexdigest()
    path = command("get", url, "--hash", f"sha256:{right}").stdout.rstrip("\n")
    assert (Path(path).name, Path(path).read_bytes()) == ("a.fits", b"a" * 5000)
    assert command("get", url, "--hash", f"sha256:{right}", "-o", "b.fits").stdout == f"{tmp_path}/b.fits\n"
    assert command("get", url, "--hash", f"sha256:{right}", "-o", "new/").stdout == f"{tmp_path}/new/a.fits\n"
    assert json.loads(command("get", url, "--json").stdout)["url"] == url
    wrong = command("get", server.url_of("maps/b.fits"), "--hash", f"sha256:{right}")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    for args in (
        [url, "maps/a.fits"],
        ["mypkg"],
        ["mypkg", "a", "--hash", "sha256:00"],
        ["nosuch:x/y"],
        [url, "--hash", "00"],
    ):
        assert command("get", *args).exit_code == 2


def test_cache_dir(command, package):
    folder = Path(command("cache", "dir").stdout.rstrip("\n"))
    command("get", package, "maps/a.fits")
    assert [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == b"a" * 5000]


def test_the_version_of_a_clone_that_is_not_installed(repository, tmp_path):
    code = (
        "import sys, importlib.metadata as m\n"
        "real = m.distribution\n"
        "def without(name):\n"
        "    if name == 'dataferry': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.distribution = without\n"
        "sys.argv = ['dataferry', *sys.argv[1:]]\n"
        "from dataferry.cli import main; main()\n"
    )
    for args, printed in (
        (["--version"], f"dataferry (not installed, in {repository})\n"),
        (["doctor"], "dataferry ?\n"),
    ):
        run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=repository)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith(printed)


@pytest.mark.filterwarnings("ignore:XDG_CACHE_HOME is set", "ignore:no cache can be written")
def test_a_path_that_would_be_gone_is_not_given(command, package, server, home, monkeypatch, tmp_path):
    """Without any cache that can be written the files live as long as the process: a command's path is of no use."""
    (home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file" / "x"))
    monkeypatch.setenv("HOME", str(home / "file"))
    assert command("get", package, "small.txt").exit_code == 0, "what is here needs no cache"
    done = command("get", package, "maps/a.fits")
    assert (done.exit_code, done.stdout) == (5, "")
    assert "set ASTROPY_CACHE_DIR" in done.stderr
    assert server.requests == []
    copied = command("get", package, "maps/a.fits", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "maps" / "a.fits").read_bytes() == b"a" * 5000, copied.stderr


def test_what_the_demo_says_to_try_can_be_typed(command, need, tmp_path):
    for library in ("healpy", "matplotlib"):
        need.module(library)
    run = subprocess.run([PROGRAM, "demo"], cwd=tmp_path, capture_output=True, text=True)
    lines = re.findall(r"^  (dataferry [a-z -]+?)  ", run.stdout.partition("Try next")[2], re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        assert command(*line.split()[1:]).exit_code == 0, line


# -- errors that help --------------------------------------------------------------------------------------------------


def test_a_hundred_errors_of_one_kind_are_short(command, make_package):
    package = make_package({f"{n:03}.fits": b"x" * n for n in range(1, 101)}, {}, 'dataurl = "http://127.0.0.1:9/"\n')
    done = command("get", package, "*")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: 100 of 100 files are not available\n")
    assert len(done.stderr.splitlines()) < 20
    assert "99.fits" not in done.stderr
    told = json.loads(command("get", package, "*", "--json").stdout)
    assert "'100.fits' is not available" in told["files"][99]["error"]


@pytest.mark.parametrize(
    ("metadata", "about", "contact"),
    [
        ("Project-URL: Issue Tracker, https://h.example/issues\nHome-page: https://h.example/", "", "h.example/issues"),
        ("Project-URL: Homepage, https://h.example/home", "", "https://h.example/home"),
        ("Author-email: Ann <ann@h.example>", "", "Ann <ann@h.example>"),
        ("", 'authors = ["Ann Author", {name = "Bo Writer", orcid = "0000-0002-1825-0097"}]', "Ann Author, Bo Writer"),
        ("", "", ""),
    ],
    ids=["issues", "homepage", "email", "about", "nobody"],
)
def test_an_error_says_whom_to_ask_and_what_one_can_do(command, make_package, tmp_path, metadata, about, contact):
    with RangeServer({}) as server:
        head = f'dataurl = "{server.url}"\n' + (f"[about]\n{about}\n" if about else "")
        package = make_package({"a.fits": b"a"}, {}, head)
        info = tmp_path / "packages" / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n{metadata}\n")
        end = command("get", package, "a.fits").stderr.splitlines()[-2:]
    assert end[0] == f"for every step, run: dataferry where {package} a.fits"
    assert end[1].startswith(f"or put a copy of your own into a folder that DATAFERRY_DATA names, below {package}/")
    assert end[1].endswith(contact)
    assert ("the authors of" in end[1]) == bool(contact)
