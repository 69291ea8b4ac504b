"""A download that is cut, killed or damaged goes on where it was, and never into a wrong file."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import (
    DATA,
    MB,
    NAME,
    RANDOM,
    Make,
    cache,
    get,
    on_disk,
    one_connection,
    package_at,
    sent,
    start,
    until,
)
from dataferry_test_servers.gate import Gate

from dataferry import PackageData, retrieve
from dataferry.errors import FileUnavailable
from dataferry.testing import Cut, IgnoresRange, OtherFile, RangeServer, RedirectTo, Reset, Stall, Status


def killed_in_the_middle(package: str, server: RangeServer) -> None:
    """A download that got some MB, was killed with SIGKILL, and whose process is gone."""
    gate = Gate(8 * MB)
    rule = server.fault("*", gate)
    process = start(package)
    until(lambda: gate.passed >= 7 * MB and on_disk() >= 3 * MB, process)
    process.kill()
    process.communicate()
    rule.off()
    gate.open()


def without_size(registry: Path) -> None:
    """As of a list of SHA256SUMS or of pooch."""
    lines = registry.read_text().splitlines(keepends=True)
    registry.write_text("".join(line for line in lines if not line.startswith("size")))


def test_a_cut_download_goes_on_in_another_process(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Cut(after=6 * MB), first=1)
        server.fault("*", Status(404), skip=1)
        package = package_at(make_package, server)
        with pytest.raises(FileUnavailable, match="kept"):
            get(package)
        server.heal()
        process = start(package)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert Path(out.decode().strip()).read_bytes() == DATA
        assert sent(server) < 1.2 * len(DATA)


def test_what_is_kept_takes_no_more_space_than_has_arrived(make_package: Make) -> None:
    """The space of the whole file is reserved while it arrives, and given back afterwards."""
    one_connection()
    with RangeServer({NAME: RANDOM}) as server:
        server.fault("*", Cut(after=2 * MB), first=1)
        server.fault("*", Status(404), skip=1)
        with pytest.raises(FileUnavailable, match="kept"):
            get(package_at(make_package, server, data=RANDOM))
    [kept] = cache().rglob("bytes")
    assert kept.stat().st_size == len(RANDOM)
    assert kept.stat().st_blocks * 512 < 4 * MB


def test_a_killed_download_goes_on(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        package = package_at(make_package, server)
        killed_in_the_middle(package, server)
        server.forget()
        assert get(package) == DATA
        assert sent(server) < len(DATA)


def test_little_of_a_slow_download_is_lost(make_package: Make) -> None:
    """The journal is written within half a second, however little has come."""
    data = DATA[: 2 * MB]
    with RangeServer({NAME: data}) as server:
        rule = server.fault("*", Gate(MB // 2))
        package = package_at(make_package, server, data=data)
        process = start(package)
        until(lambda: any(b"\n0 " in path.read_bytes() for path in cache().rglob("ranges")), process)
        process.kill()
        process.communicate()
        rule.off()
        server.forget()
        assert get(package) == data
        assert min(starts(server)) > 0


def starts(server: RangeServer) -> list[int]:
    """The first byte of each request."""
    return [int((request.range or "bytes=0-")[6:].partition("-")[0]) for request in server.requests]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_without_a_size_goes_on(ranges: bool, make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Cut(after=6 * MB), first=1)
        server.fault("*", Status(404), skip=1)
        package = package_at(make_package, server)
        without_size(Path(PackageData(package).registry.path))
        with pytest.raises(FileUnavailable, match="404"):
            get(package)
        server.heal()
        server.forget()
        if not ranges:
            server.fault("*", IgnoresRange())
        server.fault("*", Reset(), first=2)  # what is kept is still there after these
        assert get(package) == DATA
        assert min(starts(server)) > 5 * MB or not ranges


def test_a_killed_download_without_a_size_goes_on(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        package = package_at(make_package, server)
        without_size(Path(PackageData(package).registry.path))
        killed_in_the_middle(package, server)
        server.forget()
        assert get(package) == DATA
        assert sent(server) < len(DATA)


@pytest.mark.parametrize("same", [True, False])
def test_an_unregistered_file_goes_on_only_if_it_is_the_same(same: bool) -> None:
    now = DATA if same else DATA[::-1]
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Cut(after=6 * MB), first=1)
        server.fault("*", Status(404), skip=1)
        with pytest.raises(FileUnavailable, match="404"):
            retrieve(server.url_of(NAME), progress=False)
    with RangeServer({NAME: now}, port=server.port) as again:
        assert Path(retrieve(again.url_of(NAME), progress=False)).read_bytes() == now
        assert again.requests[0].headers["if-range"]
        assert (sent(again) < len(DATA)) == same


def test_a_mirror_completes_what_the_first_host_began(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as first, RangeServer({NAME: DATA}) as mirror:
        first.fault("*", Cut(after=6 * MB), first=1)
        first.fault("*", Status(404), skip=1)
        assert get(package_at(make_package, first, mirror)) == DATA
        assert sent(first, mirror) < 1.2 * len(DATA)


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("part", [slice(None, None, -1), slice(5 * MB)], ids=["other", "shorter"])
def test_what_is_kept_never_makes_a_mixed_file(sized: bool, part: slice, make_package: Make) -> None:
    """The host has another file by the time of the second run, whatever it says of ranges."""
    other = DATA[part]
    with RangeServer({NAME: DATA}) as server:
        package = package_at(make_package, server)
        registry = Path(PackageData(package).registry.path)
        if not sized:
            without_size(registry)
        killed_in_the_middle(package, server)
        port = server.port
    with RangeServer({NAME: other}, port=port), pytest.raises(FileUnavailable):
        get(package)
    with RangeServer({NAME: DATA}, port=port):
        assert get(package) == DATA


class ShorterThen(threading.Thread):
    """Answers first with the whole file and an end that breaks, and then with the beginning of the file alone."""

    def __init__(self, data: bytes, end: str) -> None:
        super().__init__(daemon=True)
        self.data, self.end, self.asked = data, end, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"

    def run(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                threading.Thread(target=self.answer, args=(self.listener.accept()[0],), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as request:
            while request.readline().strip():
                pass
            self.asked += 1
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
            if self.asked > 1:
                connection.sendall(head + b"\r\n" + self.data[: len(self.data) // 3])
            elif self.end == "without the last chunk":
                chunk = b"%x\r\n%b\r\n" % (len(self.data), self.data)
                connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
            else:
                connection.sendall(head + b"\r\n" + self.data)
                if self.end == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    request.readline()  # until the client has waited long enough


@pytest.mark.parametrize("end", ["without the last chunk", "reset", "stall"])
def test_a_file_without_a_size_is_never_shorter_than_what_was_hashed(end: str, make_package: Make) -> None:
    """Whatever end the first body had: a right file or an error, and the same in the next process."""
    data = DATA[: 2 * MB]
    server = ShorterThen(data, end)
    server.start()
    package = make_package({NAME: data}, head=f'dataurl = "{server.url}"\ntimeout = 1')
    without_size(Path(PackageData(package).registry.path))
    with suppress(FileUnavailable):
        assert get(package) == data
    assert server.asked
    server.listener.close()
    with suppress(FileUnavailable):
        assert get(package) == data


def test_kept_bytes_that_are_wrong_are_thrown_away(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as wrong, RangeServer({NAME: DATA}) as right:
        wrong.fault("*", OtherFile(), Cut(after=6 * MB), first=1)
        wrong.fault("*", Status(404), skip=1)
        assert get(package_at(make_package, wrong, right)) == DATA


def tear(path: Path, how: int) -> None:
    """What a crash of the machine or a bad disk may leave: too short, without an end, with rubbish at its end."""
    data = path.read_bytes()
    if how < 4:
        path.write_bytes(data[: max(0, len(data) - (0, 1, 3, len(data))[how])])
    elif how == 4:
        path.write_bytes(data + data[-20:-3])
    else:
        path.write_bytes(data + b"\xff\0 999999999 \n")


def test_whatever_is_torn_the_bytes_are_right(make_package: Make, tmp_path: Path) -> None:
    """Every file that a killed download left is damaged in turn: none makes a wrong file or a traceback."""
    with RangeServer({NAME: DATA}) as server:
        package = package_at(make_package, server)
        before = {path for path in cache().rglob("*") if path.is_file()}
        killed_in_the_middle(package, server)
        left = [path for path in cache().rglob("*") if path.is_file() and path not in before]
        saved = tmp_path / "saved"
        shutil.copytree(cache(), saved, symlinks=True)
        assert left
        for victim in left:
            for how in range(6):
                shutil.rmtree(cache())
                shutil.copytree(saved, cache(), symlinks=True, dirs_exist_ok=True)
                tear(victim, how)
                assert get(package) == DATA, (victim.name, how)


def test_killed_at_a_write_and_gone_on(make_package: Make, need: Any, tmp_path: Path) -> None:
    """Killed between any two writes, also between bytes and the line of the journal that says that they are there."""
    strace = need("strace")
    calls = "write,pwrite64,writev,pwritev,pwritev2"  # the last is what os.pwritev calls
    with RangeServer({NAME: DATA}) as server:
        package = package_at(make_package, server)
        trace = tmp_path / "trace"
        seen = start(package, strace, "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}")
        assert seen.communicate()[0]
        writes = len(trace.read_text().splitlines())
        for turn in range(4):
            shutil.rmtree(cache())
            cache()
            position = max(1, writes * (turn + 1) // 5)
            inject = f"inject={calls}:signal=KILL:when={position}"
            process = start(package, strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", inject)
            process.communicate()
            assert get(package) == DATA, f"killed at write {position} of {writes}"


def test_private_bytes_lie_where_the_file_will_lie(make_package: Make, tmp_path: Path) -> None:
    """On the file system of the cache, not in the machine's folder for temporary files."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", Stall(after=8 * MB))
        process = start(package_at(make_package, server), "/usr/bin/env", f"TMPDIR={elsewhere}")
        until(lambda: on_disk() > 3 * MB, process)
        assert list(elsewhere.iterdir()) == []
        process.kill()
        process.communicate()


def test_a_redirect_that_expires_is_asked_for_again(make_package: Make) -> None:
    """The signed URLs of archives and stores hold for minutes."""
    with RangeServer({NAME: DATA}, rate=4 * MB) as store, RangeServer({NAME: b""}) as front:
        front.fault("*", RedirectTo(store.url_of(NAME)))
        store.fault("*", Status(403), skip=1, first=2)
        assert get(package_at(make_package, front)) == DATA
        assert [request.status for request in store.requests].count(403) == 2
        assert len(front.requests) >= 2
        assert sent(store) < 1.2 * len(DATA)
