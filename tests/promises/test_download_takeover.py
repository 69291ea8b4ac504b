"""Who downloads, who waits and who takes over: frozen processes, locks that do not work, odd things in the way."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from dataferry_test_servers.downloads import (
    DATA,
    MB,
    NAME,
    RANDOM,
    Make,
    cache,
    crowd,
    environment,
    get,
    on_disk,
    one_connection,
    package_at,
    sent,
    start,
    until,
)
from dataferry_test_servers.gate import Gate

import dataferry
from dataferry.testing import RangeServer, Stall

SHA = hashlib.sha256(DATA).hexdigest()
QUICK = "timeout = 2"


@pytest.mark.parametrize("how", ["goes on", "is interrupted"])
def test_a_frozen_downloader_is_passed_and_changes_nothing_afterwards(how: str, make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(8 * MB)
        server.fault("*", gate)
        package = package_at(make_package, server, head=QUICK)
        frozen = start(package)
        until(lambda: gate.passed >= 7 * MB and on_disk() >= 6 * MB, frozen)
        frozen.send_signal(signal.SIGSTOP)
        gate.open()
        server.forget()
        try:
            assert get(package) == DATA
            assert sent(server) < len(DATA)  # it went on from a copy of what the frozen one had
        finally:
            if how == "is interrupted":
                frozen.send_signal(signal.SIGINT)
            frozen.send_signal(signal.SIGCONT)
        _, err = frozen.communicate(timeout=60)
        assert frozen.returncode == 0 or how == "is interrupted", err
        assert sent(server) < len(DATA)  # it takes the other one's file, and does not begin again
        assert get(package) == DATA
        path = Path(dataferry.PackageData(package, show_progress=False).get(NAME))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA


def test_the_space_that_a_frozen_downloader_gives_back_is_not_that_of_the_published_file(make_package: Make) -> None:
    """The space of 20 MB is reserved, and what of it is not needed is given back on Ctrl-C."""
    with RangeServer({NAME: RANDOM}) as server:
        gate = Gate(8 * MB)
        server.fault("*", gate)
        package = package_at(make_package, server, data=RANDOM, head=QUICK)
        frozen = start(package)
        until(lambda: gate.passed >= 7 * MB and on_disk() >= 6 * MB, frozen)
        frozen.send_signal(signal.SIGSTOP)
        gate.open()
        try:
            path = Path(dataferry.PackageData(package, show_progress=False).get(NAME))
        finally:
            frozen.send_signal(signal.SIGINT)
            frozen.send_signal(signal.SIGCONT)
        frozen.communicate(timeout=60)
        assert path.read_bytes() == RANDOM


NO_LOCKS = """
import errno, fcntl, os
def nothing(*args):
    if how != "nothing":
        raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))
fcntl.lockf = fcntl.flock = nothing
"""
SAME = [pytest.param(error, marks=pytest.mark.nightly) for error in ("ENOSYS", "EIO", "EOPNOTSUPP")]


@pytest.mark.parametrize("how", ["nothing", "ENOLCK", *SAME])
def test_where_locks_do_not_work_there_are_few_downloads(how: str, make_package: Make) -> None:
    one_connection()
    with RangeServer({NAME: DATA}, rate=6 * MB) as server:
        eight = crowd(package_at(make_package, server), 8, before=f"how = {how!r}{NO_LOCKS}")
        assert eight.communicate(timeout=100)[0].strip() == "[0]"
        assert sent(server) <= 2.5 * len(DATA)
        assert get(package_at(make_package, server)) == DATA


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_file(path: Path) -> None:
    path.write_bytes(b"odd")


def with_a(odd: object, name: str) -> object:
    def make(path: Path) -> None:
        path.mkdir()
        for other in {"bytes", "ranges"} - {name}:
            (path / other).write_bytes(b"")
        odd(path / name)  # type: ignore[operator]

    return make


ODD = {
    "a FIFO": a_fifo,
    "a folder": a_folder,
    "a file": a_file,
    "a FIFO as journal": with_a(a_fifo, "ranges"),
    "a folder as journal": with_a(a_folder, "ranges"),
    "a FIFO as bytes": with_a(a_fifo, "bytes"),
    "a folder as bytes": with_a(a_folder, "bytes"),
    "a journal of rubbish": with_a(a_file, "ranges"),
}


@pytest.mark.parametrize("suffix", ["", ".odd", ".host.1.0"])
@pytest.mark.parametrize("odd", ODD)
def test_what_lies_where_a_partial_file_belongs_is_set_aside(odd: str, suffix: str, make_package: Make) -> None:
    data = DATA[: 2 * MB]
    with RangeServer({NAME: data}) as server:
        package = package_at(make_package, server, data=data, head=QUICK)
        incoming = cache() / "dataferry" / "incoming"
        incoming.mkdir(parents=True)
        ODD[odd](incoming / f"{hashlib.sha256(data).hexdigest()}{suffix}")  # type: ignore[operator]
        assert get(package) == data
        assert sent(server) == len(data)


def test_the_lock_file_may_be_anything(make_package: Make) -> None:
    for odd in (a_fifo, a_folder):
        with RangeServer({NAME: DATA}) as server:
            incoming = cache() / "dataferry" / "incoming"
            incoming.mkdir(parents=True, exist_ok=True)
            (incoming / "locks").unlink(missing_ok=True)
            odd(incoming / "locks")
            assert get(package_at(make_package, server)) == DATA
        stat.S_ISFIFO((incoming / "locks").lstat().st_mode)
        subprocess.run(["rm", "-r", str(cache())], check=True)


def test_a_killed_downloader_whose_parent_does_not_wait_for_it(make_package: Make) -> None:
    """In a container without init it stays as a zombie, and its number with it."""
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Stall(after=8 * MB), first=1)
        package = package_at(make_package, server)
        zombie = start(package)
        until(lambda: on_disk() >= 6 * MB, zombie)
        zombie.kill()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        server.forget()
        assert get(package) == DATA
        assert sent(server) < len(DATA)
        zombie.communicate()


def test_calls_one_after_the_other_use_one_connection(make_package: Make) -> None:
    files = {f"{number}.bin": DATA[number : number + 5000] for number in range(6)}
    with RangeServer(files) as server:
        data = dataferry.PackageData(make_package(files, head=f'dataurl = "{server.url}"'), show_progress=False)
        for name, content in list(files.items())[:5]:
            assert Path(data.get(name)).read_bytes() == content
        assert server.connections == 1
        child = os.fork()
        if not child:
            try:
                os._exit(0 if Path(data.get("5.bin")).read_bytes() == files["5.bin"] else 3)
            finally:
                os._exit(4)
        assert os.waitpid(child, 0)[1] == 0
        assert server.connections == 2  # a child has its own


WITHOUT_THREADS = """
import sys, threading
start = threading.Thread.start
def refused(self):
    if self.name.startswith("dataferry-run"):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refused
from dataferry import PackageData
print(PackageData(sys.argv[1], show_progress=False).get(sys.argv[2]))
"""


def test_where_few_files_may_be_open(make_package: Make) -> None:
    """A shell of macOS gives 256 files and connections to each process."""
    files = {f"{i}.bin": DATA[i * 1000 : i * 1000 + (1_100_000 if i % 3 else 20_000)] for i in range(90)}
    with RangeServer(files, delay=0.05) as server:
        package = make_package(files, head=f'dataurl = "{server.url}"')
        words = [sys.executable, "-m", "dataferry", "get", "--quiet", package, "*"]
        limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (96, 96))
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert sorted(Path(path).name for path in done.stdout.split()) == sorted(files)


def test_where_no_further_thread_may_be_started(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        words = [sys.executable, "-c", WITHOUT_THREADS, package_at(make_package, server), NAME]
        path = subprocess.run(words, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        assert Path(path).read_bytes() == DATA
