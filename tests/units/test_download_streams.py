"""Hosts that do not speak HTTP: what their library opens is read like any source, and left alone where it hangs."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dataferry import testing
from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.download.partial_file import read_journal
from dataferry.errors import FileUnavailable, MissingExtra, Offline
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import Cut, RangeServer, Stall, Status
from dataferry.testing.fixtures import range_server  # noqa: F401

try:
    from dataferry_test_servers.downloads import RANDOM
except ImportError:  # in a process that a test starts, which has no fixtures
    RANDOM = random.Random(1).randbytes(20_000_000)

MB = 1_000_000
DATA = RANDOM[: 12 * MB]
Serve = Callable[..., RangeServer]
Opener = Callable[[int], BinaryIO]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)


def bring(place: Path, *sources: Source, data: bytes = DATA, registered: bool = True, **options: Any) -> Any:
    out = place / "cache"
    out.mkdir(parents=True, exist_ok=True)
    known = (len(data), hashlib.sha256(data).hexdigest()) if registered else (None, None)
    options = {"stall_timeout": 30, "progress": False, "settings": Settings()} | options
    (result,) = fetch(
        [Wanted("a.bin", sources[0].url, *known, sources)],
        find=lambda item: out / item.name if (out / item.name).exists() else None,
        store=lambda item, content: put_content(content, out / item.name),
        workdir=place / "incoming",
        **options,
    )
    return result


def stream(opener: Opener, url: str = "sftp://ada:secret9@data.example/a.bin") -> Source:
    return Source(url, "sftp://data.example", opener=opener)


def from_file(path: Path) -> Opener:
    def opened(start: int) -> BinaryIO:
        file = path.open("rb")
        file.seek(start)
        return file

    return opened


def from_url(server: RangeServer) -> Opener:
    """What a library gives: Python's own, with whatever the network does to it."""

    def opened(start: int) -> BinaryIO:
        try:
            return urlopen(Request(server.url_of("a.bin"), headers={"Range": f"bytes={start}-"}))  # type: ignore[no-any-return]
        except HTTPError as error:
            error.close()
            raise

    return opened


def kept(place: Path) -> int:
    """The bytes that the partials there are known to have."""
    return sum(read_journal(journal.parent)[0].total() for journal in place.glob("incoming/*/ranges"))


def right(result: Any, data: bytes = DATA) -> bool:
    assert isinstance(result, Arrived), str(result)
    return result.path.read_bytes() == data


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("size", [0, 5, 300_000, 12 * MB])
def test_a_file(size: int, registered: bool, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(DATA[:size])
    source = stream(from_file(tmp_path / "a.bin"))
    result = bring(tmp_path, source, data=DATA[:size], registered=registered)
    assert right(result, DATA[:size])
    assert result.moved_bytes == size
    assert result.source is source
    assert not [thread for thread in threading.enumerate() if thread.name == "dataferry-reader"]


def test_many_files_at_once_with_few_streams(tmp_path: Path) -> None:
    lock = threading.Lock()
    opened = [0, 0]

    class Counted(io.BytesIO):
        def close(self) -> None:
            with lock:
                opened[0] -= not self.closed
            super().close()

    def count(start: int) -> BinaryIO:
        with lock:
            opened[0] += 1
            opened[1] = max(opened)
        time.sleep(0.01)
        return Counted(DATA[start : 1 * MB])

    known = (MB, hashlib.sha256(DATA[:MB]).hexdigest())
    wanted = [Wanted(f"{i}", f"x://h/{i}", *known, (Source(f"x://h/{i}", "x://h", opener=count),)) for i in range(40)]
    results = fetch(
        wanted,
        find=lambda _: None,
        store=lambda item, content: put_content(content, tmp_path / item.name),
        workdir=tmp_path / "incoming",
        settings=Settings(),
        progress=False,
    )
    assert all(right(result, DATA[:MB]) for result in results)
    assert opened[0] == 0
    assert opened[1] <= 4


def test_a_stream_that_breaks_goes_on_where_it_was(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    server.fault("*", Cut(after=5 * MB), first=1)
    result = bring(tmp_path, stream(from_url(server)))
    assert right(result)
    assert result.moved_bytes == len(DATA)
    assert len(server.requests) > 1
    assert sum(request.sent for request in server.requests) < len(DATA) + 100_000


def test_an_unregistered_stream_that_breaks_begins_again(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    server.fault("*", testing.Reset(after=5 * MB), first=1)
    assert right(bring(tmp_path, stream(from_url(server)), registered=False))
    assert all(request.headers["range"] == "bytes=0-" for request in server.requests)


@pytest.mark.parametrize("stream_first", [True, False])
def test_streams_and_web_servers_complete_each_other(
    stream_first: bool,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    library, web = range_server({"a.bin": DATA}), range_server({"a.bin": DATA})
    sources = [stream(from_url(library)), Source(web.url_of("a.bin"), web.url)]
    if not stream_first:
        sources.reverse()
    first, second = (library, web) if stream_first else (web, library)
    first.fault("*", Cut(after=5 * MB), first=1)
    first.fault("*", Status(404), skip=1)
    result = bring(tmp_path, *sources)
    assert right(result)
    assert result.moved_bytes == len(DATA)
    # no byte came twice, so what the first gave was kept
    assert all(sum(request.sent for request in server.requests) > 0 for server in (first, second))


def test_wrong_bytes_of_a_stream(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    (tmp_path / "a.bin").write_bytes(DATA[::-1])
    bad = stream(from_file(tmp_path / "a.bin"))
    result = bring(tmp_path, bad)
    assert isinstance(result, FileUnavailable)
    assert "sha256" in str(result)
    good = range_server({"a.bin": DATA})
    assert right(bring(tmp_path, bad, Source(good.url_of("a.bin"), good.url)))


class Failing(io.RawIOBase):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


class NoBytes(io.StringIO):
    pass


def raising(error: BaseException) -> Opener:
    def opened(start: int) -> BinaryIO:
        raise error

    return opened


@pytest.mark.parametrize(
    ("opener", "words"),
    [
        (raising(FileNotFoundError(2, "No such file", "/a.bin")), "not there"),
        (raising(PermissionError(13, "Permission denied")), "not allowed"),
        (raising(RuntimeError("no session for ada:secret9")), "RuntimeError: no session for ..."),
        (raising(MissingExtra("fsspec", "fsspec")), "pip install 'dataferry[fsspec]'"),
        (raising(SystemExit(3)), "SystemExit"),
        (lambda start: Failing(ConnectionResetError(104, "reset")), "ConnectionResetError"),
        (lambda start: Failing(KeyError("etag")), "KeyError"),
        (lambda start: NoBytes("text"), "str and not bytes"),
        (lambda start: None, "NoneType"),
        (lambda start: io.BytesIO(DATA[start:5]), "ended after 5 of"),
    ],
)
def test_errors_of_any_library_are_told(opener: Any, words: str, tmp_path: Path) -> None:
    result = bring(tmp_path, stream(opener))
    assert isinstance(result, FileUnavailable)
    assert words in str(result)
    assert "sftp://data.example/a.bin" in str(result)
    assert "secret9" not in str(result)


def test_a_host_that_is_not_known_is_offline(tmp_path: Path) -> None:
    import socket

    assert isinstance(bring(tmp_path, stream(raising(socket.gaierror(-2, "unknown")))), Offline)


def hang(start: int) -> BinaryIO:
    threading.Event().wait(600)
    return io.BytesIO()


def test_one_that_hangs_loses_to_a_mirror(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    good = range_server({"a.bin": DATA})
    assert right(bring(tmp_path, stream(hang), Source(good.url_of("a.bin"), good.url), stall_timeout=2))


def test_one_that_stalls_or_trickles_is_given_up(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    for number, fault in enumerate((Stall(after=2 * MB), testing.Trickle())):
        library, good = range_server({"a.bin": DATA}), range_server({"a.bin": DATA})
        library.fault("*", fault)
        web = Source(good.url_of("a.bin"), good.url)
        assert right(bring(tmp_path / str(number), stream(from_url(library)), web, stall_timeout=2))


def test_the_deadline_holds_for_one_that_hangs(tmp_path: Path) -> None:
    result = bring(tmp_path, stream(hang), deadline=0.5, stall_timeout=60)
    assert isinstance(result, FileUnavailable)
    assert "deadline" in str(result)


CHILD = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("streams", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
kind, place = sys.argv[2], pathlib.Path(sys.argv[3])
opener = module.from_pipe(place / "pipe") if kind == "pipe" else module.slowly(place / "a.bin")
print(module.bring(place, module.stream(opener), stall_timeout=600))
"""


def from_pipe(path: Path) -> Opener:
    return lambda start: path.open("rb")  # waits in the system until somebody writes


def slowly(path: Path) -> Opener:
    class Slow(io.RawIOBase):
        def __init__(self, start: int) -> None:
            self.file = from_file(path)(start)

        def read(self, size: int = -1) -> bytes:
            if self.file.tell() >= 6 * MB:
                threading.Event().wait(600)  # it never comes to the end
            return self.file.read(min(size, 100_000))

    return Slow  # type: ignore[return-value]


def child(kind: str, place: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, __file__, kind, str(place)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_and_the_end_do_not_wait_for_a_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = child("pipe", tmp_path)
    while not list(tmp_path.glob("incoming/*/ranges")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # much less than the read would last
    assert "KeyboardInterrupt" in errors
    assert "goes on from there" in errors


def test_a_killed_stream_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(DATA)
    process = child("slow", tmp_path)
    while (done := kept(tmp_path)) < 2 * MB:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    result = bring(tmp_path, stream(from_file(tmp_path / "a.bin")))
    assert right(result)
    assert 0 < result.moved_bytes <= len(DATA) - done


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("size", [16 * MB + 1, 60 * MB])
def test_reads_that_reach_over_the_end_of_a_segment(tmp_path: Path, registered: bool, size: int) -> None:
    """A large file is brought in several segments, and what a library reads ends where it likes."""
    data = random.Random(size).randbytes(size)
    (tmp_path / "a.bin").write_bytes(data)
    came = bring(tmp_path, stream(from_file(tmp_path / "a.bin")), data=data, registered=registered, stall_timeout=10)
    assert isinstance(came, Arrived), str(came)
    assert came.path.read_bytes() == data
    assert came.moved_bytes == size
