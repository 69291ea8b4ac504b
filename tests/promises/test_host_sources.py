"""What a host may give for a file: parts in several objects, and streams of a library that speaks no HTTP."""

from __future__ import annotations

import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from dataferry_test_servers.downloads import MB, RANDOM, Make, cache, config, environment, on_disk, until

from dataferry import PackageData
from dataferry.errors import FetchErrors, FileUnavailable, MissingExtra, Offline
from dataferry.hosts.base import Part, Source
from dataferry.testing import (
    Cut,
    Flaky,
    FlippedByte,
    IgnoresRange,
    RangeServer,
    Reset,
    Stall,
    Status,
    Trickle,
    WrongLength,
)

NAME, DATA = "a.bin", RANDOM
CUTS = [0, 7 * MB, 7 * MB + 5, 15 * MB, 15 * MB, 20 * MB]
PIECES = {f"a.{i}": DATA[a:b] for i, (a, b) in enumerate(pairwise(CUTS))}
Opener = Callable[[int], BinaryIO]

HOST = '''
    import io, threading
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from dataferry.hosts.base import Host, Part, Source

    SOURCES = {}

    class GivenHost(Host):
        """Its sources are those that the test puts into `SOURCES`."""

        def sources(self, name, entry):
            return [SOURCES.get(name) or SOURCES[self.spec.partition(":")[2]]]

    def stream(opener):
        return Source("sftp://ada:secret9@data.example/a.bin", "sftp://data.example", opener=opener)

    def from_url(url):
        """What a library gives: Python's own, with whatever the network does to it."""
        def opened(start):
            try:
                return urlopen(Request(url, headers={"Range": f"bytes={start}-"}))
            except HTTPError as error:
                error.close()
                raise
        return opened

    def from_pipe(path):
        return lambda start: open(path, "rb")  # waits in the system until somebody writes
'''


@pytest.fixture
def given(install_host: Callable[..., Any]) -> Any:
    """A host that gives the sources in its `SOURCES`."""
    module = install_host("given", "GivenHost", HOST)
    cache()
    return module


@pytest.fixture
def package_of(given: Any, make_package: Make) -> Callable[..., PackageData]:
    """A package whose file some hosts give: sources, or base URLs."""

    def make(*places: Source | str, data: bytes = DATA, timeout: float = 30) -> PackageData:
        mirrors = []
        for number, place in enumerate(places):
            if isinstance(place, Source):
                given.SOURCES[str(number)] = place
            mirrors.append(place if isinstance(place, str) else f"given:{number}")
        head = f"mirrors = {mirrors!r}\ntimeout = {timeout}"
        return PackageData(make_package({NAME: data}, head=head), show_progress=False)

    return make


PackageOf = Callable[..., PackageData]


def right(data: PackageData, content: bytes = DATA, **options: Any) -> bool:
    return Path(data.get(NAME, **options)).read_bytes() == content


def moved(data: PackageData) -> int:
    return data.arrivals[NAME].moved_bytes


def parted(base: str, pieces: Mapping[str, bytes] = PIECES) -> Source:
    parts = tuple(Part(base + name, len(content)) for name, content in pieces.items())
    return Source(parts[0].url, base, parts=parts)


def sent(*servers: RangeServer) -> list[int]:
    return [sum(request.sent for request in server.requests) for server in servers]


def killed_in_the_middle(package: str, code: str) -> None:
    """A process that gets some MB from a source made by code, and is killed."""
    script = f"import sys, given_host\nfrom given_host import *\ngiven_host.SOURCES['0'] = {code}\n"
    script += "from dataferry import PackageData\nPackageData(sys.argv[1], show_progress=False).get('a.bin')\n"
    process = subprocess.Popen([sys.executable, "-c", script, package], env=environment())
    until(lambda: on_disk() >= 6 * MB, process)
    process.kill()
    process.wait()


# -- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["", "2m"])
def test_parts_at_nginx(limit: str, tmp_path: Path, nginx: Callable[..., Any], package_of: PackageOf) -> None:
    folder = tmp_path / "www"
    folder.mkdir()
    for place in (tmp_path, folder):
        place.chmod(0o755)
    for name, content in PIECES.items():
        (folder / name).write_bytes(content)
    server = nginx(folder, limit_rate=limit)
    data = package_of(parted(server.url))
    assert right(data)
    assert moved(data) == len(DATA)
    server.stop()  # now all is logged
    log = server.log.read_text().splitlines()
    assert {line.split()[1] for line in log} == {f"/{name}" for name, content in PIECES.items() if content}
    assert all(" 206 " in line for line in log)
    if limit:
        assert len({line.split()[4] for line in log}) > 2  # several connections


def test_parts_of_a_server_that_ignores_ranges(package_of: PackageOf) -> None:
    config('[hosts."127.0.0.1"]\nconnections = 1\n')  # over one connection nothing is sent in vain
    with RangeServer(PIECES) as server:
        server.fault("*", IgnoresRange())
        assert right(package_of(parted(server.url)))
        assert sent(server) == [len(DATA)]


@pytest.mark.parametrize("size", [0, 3, 300_000, 3 * MB])
def test_small_files_in_parts(size: int, package_of: PackageOf) -> None:
    pieces = {"x": DATA[: size // 2], "y": DATA[size // 2 : size]} if size else {"x": b""}
    with RangeServer(pieces) as server:
        assert right(package_of(parted(server.url, pieces), data=DATA[:size]), DATA[:size])


def test_a_missing_part_is_named_and_what_came_is_kept(package_of: PackageOf) -> None:
    with RangeServer(PIECES) as server:
        server.fault("a.2", Status(404))
        data = package_of(parted(server.url))
        with pytest.raises(FileUnavailable, match=f"{server.url}a.2: answered 404"):
            data.get(NAME)
        server.heal()
        assert right(data)
        assert moved(data) <= len(DATA) - 7 * MB


@pytest.mark.parametrize("more", [-3, 3])
def test_a_part_of_another_size_is_not_taken(more: int, package_of: PackageOf) -> None:
    with RangeServer(PIECES) as server, RangeServer({NAME: DATA}) as mirror:
        server.fault("a.2", WrongLength(more))
        with pytest.raises(FileUnavailable, match=r"a\.2"):
            package_of(parted(server.url)).get(NAME)
        assert right(package_of(parted(server.url), mirror.url))


def test_parts_that_do_not_make_up_the_file_are_not_asked_for(package_of: PackageOf) -> None:
    with RangeServer(PIECES) as server:
        data = package_of(parted(server.url), data=DATA + b"x")
        with pytest.raises(FileUnavailable, match="5 parts have 20000000 bytes together, 20000001 are registered"):
            data.get(NAME)
        assert not server.requests


def test_a_flipped_byte_in_a_part(package_of: PackageOf) -> None:
    with RangeServer(PIECES) as bad, RangeServer(PIECES) as good:
        bad.fault("a.2", FlippedByte())
        with pytest.raises(FileUnavailable, match="sha256"):
            package_of(parted(bad.url)).get(NAME)
        assert right(package_of(parted(bad.url), parted(good.url)))


def test_a_part_that_is_cut_goes_on(package_of: PackageOf) -> None:
    with RangeServer(PIECES) as server:
        server.fault("*", Flaky(times=1, fault=Cut(after=2 * MB)))
        data = package_of(parted(server.url))
        assert right(data)
        assert moved(data) < 1.05 * len(DATA)


def test_headers_go_to_the_host_of_the_source_alone(package_of: PackageOf) -> None:
    with RangeServer(PIECES) as one, RangeServer(PIECES) as two:
        names = [name for name, content in PIECES.items() if content]
        parts = tuple(Part((two if name == "a.2" else one).url + name, len(PIECES[name])) for name in names)
        assert right(package_of(Source(parts[0].url, one.url, {"X-Secret": "s"}, parts)))
        assert all(request.headers["x-secret"] == "s" for request in one.requests)
        assert two.requests
        assert not any("x-secret" in request.headers for request in two.requests)


# -- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parts", "stream"])
@pytest.mark.parametrize("first", [True, False])
def test_it_and_a_web_server_complete_each_other(kind: str, first: bool, given: Any, package_of: PackageOf) -> None:
    with RangeServer({**PIECES, NAME: DATA}) as odd, RangeServer({NAME: DATA}) as web:
        source = parted(odd.url) if kind == "parts" else given.stream(given.from_url(odd.url_of(NAME)))
        begins = odd if first else web
        begins.fault("*", Cut(after=4 * MB), first=1)
        begins.fault("*", Status(404), skip=1)
        data = package_of(*((source, web.url) if first else (web.url, source)))
        assert right(data)
        assert moved(data) <= len(DATA)  # no byte came twice, so what the first gave was kept
        assert all(sent(odd, web))


@pytest.mark.parametrize("kind", ["parts", "stream"])
def test_a_killed_download_of_it_is_resumed(kind: str, given: Any, package_of: PackageOf) -> None:
    content = DATA[: 15 * MB]  # so little is not reserved on the disk
    pieces = {"a.0": content[: 7 * MB], "a.1": content[7 * MB :]}
    with RangeServer({**pieces, NAME: content}) as server:
        if kind == "parts":
            server.fault("a.1", Stall(after=0))
            source = parted(server.url, pieces)
            code = f"Source({source.url!r}, {server.url!r}, parts=({', '.join(map(repr, source.parts))}))"
        else:
            server.fault(NAME, Stall(after=8 * MB))
            source = given.stream(given.from_url(server.url_of(NAME)))
            code = f"stream(from_url({server.url_of(NAME)!r}))"
        data = package_of(source, data=content, timeout=600)
        killed_in_the_middle(data.package, code)
        server.heal()
        assert right(data, content)
        assert 0 < moved(data) < len(content)


# -- streams -------------------------------------------------------------------------------------------------------


def from_file(path: Path) -> Opener:
    def opened(start: int) -> BinaryIO:
        file = path.open("rb")
        file.seek(start)
        return file

    return opened


@pytest.mark.parametrize("size", [0, 5, 300_000, 12 * MB, 16 * MB + 1])
def test_a_stream(size: int, tmp_path: Path, given: Any, package_of: PackageOf) -> None:
    before = set(threading.enumerate())  # also those that hang in a test of another file
    (tmp_path / NAME).write_bytes(DATA[:size])
    data = package_of(given.stream(from_file(tmp_path / NAME)), data=DATA[:size])
    assert right(data, DATA[:size])
    assert moved(data) == size
    assert data.arrivals[NAME].source == "sftp://data.example/a.bin"
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "dataferry-reader"]


def test_reads_that_reach_over_the_end_of_a_segment(tmp_path: Path, given: Any, package_of: PackageOf) -> None:
    """A large file is downloaded in several segments, and what a library reads ends where it likes."""
    content = random.Random(1).randbytes(60 * MB)
    (tmp_path / NAME).write_bytes(content)
    data = package_of(given.stream(from_file(tmp_path / NAME)), data=content)
    assert right(data, content)
    assert moved(data) == len(content)


def test_many_files_at_once_with_few_streams(given: Any, make_package: Make) -> None:
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
        return Counted(DATA[start:MB])

    given.SOURCES["0"] = Source("x://host/a", "x://host", opener=count)
    files = {f"{number}.bin": DATA[:MB] for number in range(40)}
    paths = PackageData(make_package(files, head='mirrors = ["given:0"]'), show_progress=False).fetch()
    assert all(Path(path).read_bytes() == DATA[:MB] for path in paths)
    assert opened[0] == 0
    assert opened[1] <= 4


@pytest.mark.parametrize("fault", [Cut(after=5 * MB), Reset(after=5 * MB)], ids=["cut", "reset"])
def test_a_stream_that_breaks_goes_on_where_it_was(fault: Any, given: Any, package_of: PackageOf) -> None:
    with RangeServer({NAME: DATA}) as server:
        server.fault("*", fault, first=1)
        data = package_of(given.stream(given.from_url(server.url_of(NAME))))
        assert right(data)
        assert moved(data) == len(DATA)
        assert len(server.requests) > 1


def test_each_of_many_parts_may_be_refused_once(package_of: PackageOf) -> None:
    data = DATA[:MB]
    pieces = {f"{number}.part": data[number * MB // 8 : (number + 1) * MB // 8] for number in range(8)}
    with RangeServer(pieces) as server:
        for name in pieces:
            server.fault(name, Status(503), first=1)
        assert right(package_of(parted(server.url, pieces), data=data, timeout=1), data)


def test_wrong_bytes_of_a_stream(tmp_path: Path, given: Any, package_of: PackageOf) -> None:
    (tmp_path / NAME).write_bytes(DATA[::-1])
    bad = given.stream(from_file(tmp_path / NAME))
    with pytest.raises(FileUnavailable, match="sha256"):
        package_of(bad).get(NAME)
    with RangeServer({NAME: DATA}) as good:
        assert right(package_of(bad, good.url))


class Failing(io.RawIOBase):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


def raising(error: BaseException) -> Opener:
    def opened(start: int) -> BinaryIO:
        raise error

    return opened


ERRORS: list[tuple[Any, str]] = [
    (raising(FileNotFoundError(2, "No such file", "/a.bin")), "not there"),
    (raising(PermissionError(13, "Permission denied")), "not allowed"),
    (raising(RuntimeError("no session for ada:secret9")), "RuntimeError: no session for ..."),
    (raising(MissingExtra("fsspec", "fsspec")), "pip install 'dataferry[fsspec]'"),
    (raising(SystemExit(3)), "SystemExit"),
    (lambda start: Failing(ConnectionResetError(104, "reset")), "ConnectionResetError"),
    (lambda start: Failing(KeyError("etag")), "KeyError"),
    (lambda start: io.StringIO("text"), "str and not bytes"),
    (lambda start: None, "NoneType"),
    (lambda start: io.BytesIO(DATA[start:5]), "ended after 5 of"),
    (
        raising(OSError("sftp://ada:secret9@10.bin.example/a.bin?key=secret8 is closed")),
        "10.bin.example/a.bin?key=... is",
    ),
]


def test_errors_of_any_library_are_errors_of_the_file(given: Any, make_package: Make) -> None:
    files = {f"{number}.bin": DATA for number in range(len(ERRORS))}
    for name, (opener, _) in zip(files, ERRORS, strict=True):
        given.SOURCES[name] = Source(
            f"sftp://ada:secret9@{name}.example/a.bin?key=secret8", "sftp://example", opener=opener
        )
    with pytest.raises(FetchErrors) as caught:
        PackageData(make_package(files, head='mirrors = ["given:0"]'), show_progress=False).fetch()
    texts = {error.name: str(error) for error in caught.value.exceptions if isinstance(error, FileUnavailable)}
    for name, (_, words) in zip(files, ERRORS, strict=True):
        assert words in texts[name]
        assert f"sftp://{name}.example/a.bin" in texts[name]
        assert "secret9" not in texts[name] and "secret8" not in texts[name]


def test_a_host_that_is_not_known_is_offline(given: Any, package_of: PackageOf) -> None:
    with pytest.raises(Offline, match="unknown"):
        package_of(given.stream(raising(socket.gaierror(-2, "unknown")))).get(NAME)


def hang(start: int) -> BinaryIO:
    threading.Event().wait(600)
    return io.BytesIO()


def test_a_stream_that_hangs_loses_to_a_mirror(given: Any, package_of: PackageOf) -> None:
    with RangeServer({NAME: DATA}) as good:
        assert right(package_of(given.stream(hang), good.url, timeout=2))


def test_a_stream_without_a_thread_loses_to_a_mirror(
    given: Any, package_of: PackageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("dataferry-reader"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with RangeServer({NAME: DATA[:MB]}) as good:
        monkeypatch.setattr(threading.Thread, "start", refused)
        data = package_of(given.stream(hang), good.url, data=DATA[:MB], timeout=2)
        assert right(data, DATA[:MB])


@pytest.mark.parametrize("fault", [Stall(after=2 * MB), Trickle()], ids=["stall", "trickle"])
def test_a_stream_that_stalls_or_trickles_is_given_up(fault: Any, given: Any, package_of: PackageOf) -> None:
    with RangeServer({NAME: DATA}) as library, RangeServer({NAME: DATA}) as good:
        library.fault("*", fault)
        assert right(package_of(given.stream(given.from_url(library.url_of(NAME))), good.url, timeout=2))


def test_the_deadline_holds_for_a_stream_that_hangs(given: Any, package_of: PackageOf) -> None:
    with pytest.raises(FileUnavailable, match="deadline"):
        package_of(given.stream(hang), timeout=60).get(NAME, deadline=0.5)


def test_ctrl_c_does_not_wait_for_a_read(tmp_path: Path, given: Any, package_of: PackageOf) -> None:
    os.mkfifo(tmp_path / "pipe")
    package = package_of(given.stream(given.from_pipe(tmp_path / "pipe")), timeout=600).package
    script = "import sys, given_host\ngiven_host.SOURCES['0'] = given_host.stream(given_host.from_pipe(sys.argv[2]))\n"
    script += "from dataferry import PackageData\nPackageData(sys.argv[1], show_progress=False).get('a.bin')\n"
    words = [sys.executable, "-c", script, package, str(tmp_path / "pipe")]
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    until(lambda: list(cache().rglob("incoming/*/ranges")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # much less than the read would last
    assert "KeyboardInterrupt" in errors
    assert "goes on from there" in errors
