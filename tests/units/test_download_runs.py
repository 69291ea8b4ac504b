"""What `fetch` promises: resume, one downloader per file, failover, many files, and a clean end."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Progress, Wanted, fetch
from dataferry.download.partial_file import PartialFile, identity_of, read_journal
from dataferry.errors import CacheError, FileUnavailable, Offline
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import Cut, Fault, IgnoresRange, OtherFile, RangeServer, Reset, Stall, Status
from dataferry.testing.content import Request, Response, of_bytes
from dataferry.testing.fixtures import range_server  # noqa: F401

try:
    from dataferry_test_servers.downloads import RANDOM
except ImportError:  # in a process that a test starts, which has no fixtures
    RANDOM = random.Random(1).randbytes(20_000_000)

MB = 1_000_000
DATA = RANDOM
Serve = Callable[..., RangeServer]
#: Over one connection nothing is sent in vain, which a range that is shared out again while it comes may be.
ONE = Settings(hosts={"127.0.0.1": {"connections": 1}})


class Gate(Fault):
    """Lets a file's bytes pass up to a limit, which the test moves."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._moved = threading.Condition()

    def move(self, limit: int) -> None:
        with self._moved:
            self.limit = limit
            self._moved.notify_all()

    def response(self, response: Response, request: Request) -> Response:
        start = int(request.headers.get("range", "bytes=0-")[6:].partition("-")[0])
        return dataclasses.replace(response, pieces=self._passing(response.pieces, start))

    def _passing(self, pieces: Iterable[Any], end: int) -> Iterator[Any]:
        for piece in (whole[i : i + MB // 10] for whole in pieces for i in range(0, len(whole), MB // 10)):
            end += len(piece)
            with self._moved:
                if not self._moved.wait_for(lambda end=end: end <= self.limit, 300):
                    return
            yield piece


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)


def order(name: str, data: bytes, *servers: RangeServer, registered: bool = True) -> Wanted:
    sources = tuple(Source(server.url_of(name), server.url) for server in servers)
    known = (len(data), hashlib.sha256(data).hexdigest()) if registered else (None, None)
    return Wanted(name, sources[0].url, *known, sources)


def bring(place: Path, *wanted: Wanted, **options: Any) -> list[Any]:
    out = place / "cache"
    out.mkdir(exist_ok=True)

    def find(item: Wanted) -> Path | None:
        path = out / item.name
        return path if path.exists() else None

    def store(item: Wanted, content: Path | bytes) -> Path:
        (out / item.name).parent.mkdir(exist_ok=True)
        return put_content(content, out / item.name)

    options = {"stall_timeout": 30, "progress": False, "settings": Settings(), "find": find, "store": store} | options
    return list(fetch(wanted, workdir=place / "incoming", **options))


def fine(result: Any) -> bool:
    assert isinstance(result, Arrived), str(result)
    return True


def starts(server: RangeServer) -> list[int]:
    """The first byte of each request."""
    return [int((request.range or "bytes=0-")[6:].partition("-")[0]) for request in server.requests]


def kept(place: Path) -> int:
    """The bytes that the partials there are known to have, also those that somebody is bringing."""
    total = 0
    for journal in (place / "incoming").glob("*/ranges"):
        with contextlib.suppress(OSError, ValueError):  # it was renamed or has just begun
            total += read_journal(journal.parent)[0].total()
    return total


def leftovers(place: Path) -> list[str]:
    return [path.name for path in (place / "incoming").iterdir() if path.name != "locks"]


def test_a_cut_download_goes_on_where_it_was(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    server.fault("*", Cut(after=6 * MB), first=1)
    server.fault("*", Status(500), skip=1)
    (result,) = bring(tmp_path, order("a.bin", DATA, server))
    assert isinstance(result, FileUnavailable)
    assert "kept" in str(result)
    server.heal()
    server.forget()
    before = kept(tmp_path)
    assert before >= 5 * MB
    (result,) = bring(tmp_path, order("a.bin", DATA, server))
    assert fine(result) and result.path.read_bytes() == DATA
    assert result.moved_bytes == len(DATA) - before
    assert not leftovers(tmp_path)


def cut_at_first(place: Path, server: RangeServer, wanted: Wanted) -> None:
    """Leave the first 6 MB."""
    server.fault("*", Cut(after=6 * MB), first=1)
    server.fault("*", Status(404), skip=1)
    (result,) = bring(place, wanted)
    assert isinstance(result, FileUnavailable)
    server.heal()
    server.forget()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_whose_size_is_not_registered_goes_on(
    ranges: bool,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": DATA})
    wanted = dataclasses.replace(order("a.bin", DATA, server), size=None)
    cut_at_first(tmp_path, server, wanted)
    if not ranges:
        server.fault("*", IgnoresRange())
    server.fault("*", Reset(), first=2)  # what is kept is still there after these
    (result,) = bring(tmp_path, wanted)
    assert fine(result) and result.path.read_bytes() == DATA
    assert min(starts(server)) > 5 * MB or not ranges
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("part", [slice(8 * MB), slice(None, None, -1), slice(5 * MB), slice(300_000)])
def test_a_file_whose_size_is_not_registered_may_have_become_another(
    part: slice,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    other = DATA[part]
    server = range_server({"a.bin": DATA})
    cut_at_first(tmp_path, server, dataclasses.replace(order("a.bin", DATA, server), size=None))
    with RangeServer({"a.bin": other}) as changed:
        (result,) = bring(tmp_path, dataclasses.replace(order("a.bin", DATA, changed), size=None))
        assert isinstance(result, FileUnavailable)
        assert "sha256" in str(result)
        # the file of the same name with its own hash is another one
        (result,) = bring(tmp_path, dataclasses.replace(order("a.bin", other, changed), size=None))
        assert fine(result) and result.path.read_bytes() == other


@pytest.mark.parametrize("count", [6 * MB, len(DATA)])
@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("size", [None, len(DATA)])
def test_what_a_killed_run_left_of_a_file_without_a_size_is_used(
    size: int | None,
    registered: bool,
    count: int,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": DATA})
    wanted = dataclasses.replace(order("a.bin", DATA, server, registered=registered), size=None)
    (tmp_path / "incoming").mkdir()
    left = PartialFile.open(tmp_path / "incoming", identity_of(wanted.sha256, wanted.key), size, "a.bin")
    left.write(0, [DATA[:count]])
    left.describe(etag=of_bytes(DATA, 0).etag, source=wanted.sources[0].redacted)
    left.keep()
    (result,) = bring(tmp_path, wanted)
    assert fine(result) and result.path.read_bytes() == DATA
    if registered or count < len(DATA):
        assert min(starts(server), default=count) >= count
    assert not leftovers(tmp_path)


def test_bytes_of_one_mirror_complete_those_of_another(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    one, two = range_server({"a.bin": DATA}), range_server({"a.bin": DATA})
    one.fault("*", Cut(after=6 * MB), first=1)
    one.fault("*", Status(503), skip=1)
    (result,) = bring(tmp_path, order("a.bin", DATA, one, two))
    assert fine(result) and result.path.read_bytes() == DATA
    assert result.moved_bytes == len(DATA)
    assert min(starts(two)) > 5 * MB


def test_a_partial_with_wrong_bytes_is_begun_again(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    wrong, right = range_server({"a.bin": DATA}), range_server({"a.bin": DATA})
    wrong.fault("*", OtherFile(), Cut(after=6 * MB), first=1)
    wrong.fault("*", Status(404), skip=1)
    (result,) = bring(tmp_path, order("a.bin", DATA, wrong, right))
    assert fine(result) and result.path.read_bytes() == DATA
    assert sum(request.sent for request in right.requests) >= len(DATA)


def test_an_unregistered_file_resumes_only_if_it_is_the_same(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    server.fault("*", Cut(after=6 * MB), first=1)
    server.fault("*", Status(404), skip=1)
    wanted = order("a.bin", DATA, server, registered=False)
    (result,) = bring(tmp_path, wanted)
    assert isinstance(result, FileUnavailable)
    changed = DATA[::-1]
    server.stop()
    with RangeServer({"a.bin": changed}, port=server.port) as again:
        (result,) = bring(tmp_path, wanted)
        assert fine(result) and result.path.read_bytes() == changed
        assert again.requests[0].headers["if-range"]


def test_the_same_unregistered_file_is_not_sent_again(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    wanted = order("a.bin", DATA, server, registered=False)
    (first,) = bring(tmp_path, wanted)
    again = Wanted(*(getattr(wanted, f) for f in ("name", "key", "size", "sha256", "sources")), etag=first.etag)
    (second,) = bring(tmp_path, again)
    assert second.unchanged
    assert second.moved_bytes == 0
    assert second.path == first.path


def test_a_slow_connection_is_helped_by_others(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA}, rate=MB // 2)  # no machine is busy with so little
    (result,) = bring(tmp_path, order("a.bin", DATA, server), stall_timeout=60)
    assert fine(result) and result.path.read_bytes() == DATA
    assert len({request.connection for request in server.requests}) > 4
    assert result.moved_bytes == len(DATA)


def test_connections_are_limited_and_kept(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    files = {f"{i}.bin": random.Random(i).randbytes(2000) for i in range(200)}
    server = range_server(files, delay=0.01)
    settings = Settings()
    settings.hosts[f"127.0.0.1:{server.port}"] = {"connections": 3}
    results = bring(tmp_path, *(order(name, data, server) for name, data in files.items()), settings=settings)
    assert all(isinstance(result, Arrived) for result in results)
    assert [result.path.read_bytes() for result in results] == list(files.values())
    assert server.connections <= 3


def test_one_failure_does_not_stop_the_others(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    files = {f"{i}.bin": random.Random(i).randbytes(3000) for i in range(50)}
    server = range_server(files)
    server.fault("7.bin", Status(404))
    server.fault("9.bin", OtherFile())
    results = bring(tmp_path, *(order(name, data, server) for name, data in files.items()))
    assert [i for i, result in enumerate(results) if not isinstance(result, Arrived)] == [7, 9]
    assert "404" in str(results[7])
    assert "sha256" in str(results[9])


def test_a_dead_host_is_not_asked_for_each_file(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    files = {f"{i}.bin": random.Random(i).randbytes(3000) for i in range(100)}
    dead, alive = range_server(files), range_server(files)
    dead.stop()
    results = bring(tmp_path, *(order(name, data, dead, alive) for name, data in files.items()))
    assert all(isinstance(result, Arrived) for result in results)
    alive.stop()
    results = bring(tmp_path / "incoming", *(order(name, data, dead, alive) for name, data in files.items()))
    assert all(isinstance(result, FileUnavailable) for result in results)
    assert "refused" in str(results[-1])
    assert sum("not asked" in str(result) for result in results) > 90


def test_a_mirror_switched_off_in_mid_file(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    one, two = range_server({"a.bin": DATA}), range_server({"a.bin": DATA})
    one.fault("*", Stall(after=3 * MB))  # so that it cannot give all of the file before it goes

    def switch_off() -> None:
        while sum(request.sent for request in one.requests) < 3 * MB:
            time.sleep(0.01)
        one.stop()

    off = threading.Thread(target=switch_off)
    off.start()
    settings = Settings(hosts={"127.0.0.1": {"connections": 2}})
    (result,) = bring(tmp_path, order("a.bin", DATA, one, two), stall_timeout=60, settings=settings)
    off.join()
    assert fine(result) and result.path.read_bytes() == DATA
    assert result.moved_bytes < 1.01 * len(DATA)
    assert sum(request.sent for request in two.requests) >= len(DATA) - sum(request.sent for request in one.requests)


def test_retry_after_is_kept(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    server.fault("*", Status(429, retry_after=1), first=1)
    (result,) = bring(tmp_path, order("a.bin", DATA, server))
    assert isinstance(result, Arrived)
    first, second = server.requests[:2]
    assert second.at - first.at >= 1


def test_the_deadline_ends_it_and_what_came_is_kept(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    cut_at_first(tmp_path, server, order("a.bin", DATA, server))
    before = kept(tmp_path)
    assert before > 4 * MB
    server.fault("*", Stall(after=3 * MB))
    (result,) = bring(tmp_path, order("a.bin", DATA, server), deadline=1, stall_timeout=30)
    assert isinstance(result, FileUnavailable)
    assert "deadline" in str(result)
    assert leftovers(tmp_path)
    assert kept(tmp_path) >= before
    assert f"{kept(tmp_path)} bytes are kept" in str(result)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dataferry-h")]


def test_offline_asks_nobody(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    (result,) = bring(tmp_path, order("a.bin", DATA, server), settings=Settings(offline="DATAFERRY_OFFLINE=1"))
    assert isinstance(result, Offline)
    assert not server.requests


def test_an_unknown_host_counts_as_offline(tmp_path: Path) -> None:
    source = Source("http://no-such-host.invalid/a", "http://no-such-host.invalid/")
    (result,) = bring(tmp_path, Wanted("a", source.url, 3, "0" * 64, (source,)))
    assert isinstance(result, Offline)
    assert "not known" in str(result)


def test_threads_share_one_download(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA[: 3 * MB]}, rate=4 * MB)
    wanted = order("a.bin", DATA[: 3 * MB], server)
    results: list[Any] = []

    def want() -> None:
        results.extend(bring(tmp_path, wanted, settings=ONE, stall_timeout=60))

    threads = [threading.Thread(target=want) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.path.read_bytes() == DATA[: 3 * MB] for result in results] == [True] * 16
    assert sum(result.moved_bytes for result in results) == 3 * MB
    assert sum(request.sent for request in server.requests) == 3 * MB


CHILD = """
import sys
sys.path[:0] = [{tests!r}]
import importlib.util, pathlib, time
spec = importlib.util.spec_from_file_location("test_fetch", {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from dataferry.download.fetch import Wanted
from dataferry.hosts.base import Source
source = Source({url!r}, {url!r})
wanted = Wanted("a.bin", {url!r}, {size}, {sha!r}, (source,))
(result,) = module.bring(pathlib.Path({place!r}), wanted, {options})
print(result.moved_bytes)
"""


#: One that a server which stalls holds in the middle for as long as the test wants.
HELD = "stall_timeout=600, settings=module.Settings(hosts={'127.0.0.1': {'connections': 2}})"
#: One that says when it waits for another.
WAITER = "progress=lambda seen: any(file.waiting for file in seen.files) and print('waits', flush=True)"


#: One that a gate holds, and that has one connection.
PATIENT = "stall_timeout=600, settings=module.ONE"


def child(place: Path, data: bytes, server: RangeServer, options: str = "") -> subprocess.Popen[str]:
    text = CHILD.format(
        tests=str(Path(__file__).parent),
        file=__file__,
        url=server.url_of("a.bin"),
        place=str(place),
        size=len(data),
        sha=hashlib.sha256(data).hexdigest(),
        options=options,
    )
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def held_in_the_middle(place: Path, server: RangeServer) -> subprocess.Popen[str]:
    """A process that has brought some of the file and cannot get the rest."""
    server.fault("*", Stall(after=3 * MB))
    process = child(place, DATA, server, HELD)
    while kept(place) < MB:
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_processes_share_one_download(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server, gate = range_server({"a.bin": DATA}), Gate(3 * MB)
    server.fault("*", gate)
    children = [child(tmp_path, DATA, server, f"{PATIENT}, {WAITER}") for _ in range(6)]
    with ThreadPoolExecutor(6) as readers:
        lines = [readers.submit(process.stdout.readline) for process in children if process.stdout is not None]
        said = as_completed(lines)
        try:
            assert [next(said).result() for _ in range(5)] == ["waits\n"] * 5  # and the sixth brings it
        finally:
            gate.move(len(DATA))
        first = [line.result() for line in lines]
    texts = [line + process.communicate(timeout=60)[0] for line, process in zip(first, children, strict=True)]
    assert sorted(int(text.split()[-1]) for text in texts) == [0] * 5 + [len(DATA)]
    assert (tmp_path / "cache" / "a.bin").read_bytes() == DATA
    assert sum(request.sent for request in server.requests) == len(DATA)


def test_a_killed_downloader_is_followed_by_another(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    victim = held_in_the_middle(tmp_path, server)
    heir = child(tmp_path, DATA, server, WAITER)
    assert heir.stdout is not None
    assert heir.stdout.readline() == "waits\n"
    done = kept(tmp_path)
    server.heal()
    victim.kill()
    victim.communicate()
    moved = int(heir.communicate(timeout=60)[0].split()[-1])
    assert (tmp_path / "cache" / "a.bin").read_bytes() == DATA
    assert 0 < moved <= len(DATA) - done
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("who", ["thread", "process"])
def test_who_waits_sees_the_progress_of_who_brings(who: str, tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server, gate = range_server({"a.bin": DATA}), Gate(3 * MB)
    server.fault("*", gate)
    wanted, seen, told = order("a.bin", DATA, server), set[int](), list[tuple[int, bool]]()
    thread = threading.Thread(target=lambda: bring(tmp_path, wanted, stall_timeout=600, settings=ONE))
    process = None
    if who == "process":
        process = child(tmp_path, DATA, server, PATIENT)
    else:
        thread.start()

    def tell(progress: Progress) -> None:
        for file in progress.files:
            if gate.limit >= len(DATA):
                return  # now it may come to its end
            told.append((file.done, file.waiting))
            if file.done and file.done not in seen:  # what comes next is more than can be on its way to the disk
                seen.add(file.done)
                gate.move(gate.limit + 3 * MB if len(seen) < 4 else len(DATA))

    while not kept(tmp_path):
        assert process is None or process.poll() is None
        time.sleep(0.02)
    (result,) = bring(tmp_path, wanted, progress=tell)
    if process is not None:
        process.communicate(timeout=60)
    else:
        thread.join()
    assert fine(result) and result.path.read_bytes() == DATA
    assert result.moved_bytes == 0
    assert all(waiting for _, waiting in told)
    assert len(seen) == 4
    assert told == sorted(told)


def test_a_process_that_stands_still_is_not_waited_for_forever(
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": DATA})
    frozen = held_in_the_middle(tmp_path, server)
    frozen.send_signal(signal.SIGSTOP)  # it keeps its lock, as a process on a machine that hangs does
    server.heal()
    try:
        (result,) = bring(tmp_path, order("a.bin", DATA, server), stall_timeout=3, deadline=120)
    finally:
        frozen.kill()
        frozen.communicate()
    assert fine(result) and result.path.read_bytes() == DATA
    assert 0 < result.moved_bytes < len(DATA)  # it goes on from a copy of what the other had


def test_ctrl_c_ends_soon_and_leaves_what_came(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    process = held_in_the_middle(tmp_path, server)
    before = kept(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # much less than it would wait for bytes
    assert "goes on from there" in errors
    assert len(leftovers(tmp_path)) == 1
    left = kept(tmp_path)
    assert left >= before
    server.heal()
    (result,) = bring(tmp_path, order("a.bin", DATA, server))
    assert fine(result) and result.path.read_bytes() == DATA
    assert result.moved_bytes == len(DATA) - left


def test_progress_tells_a_program(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server, gate = range_server({"a.bin": DATA}), Gate(4 * MB)
    server.fault("*", gate)
    seen: list[Progress] = []

    def tell(progress: Progress) -> None:
        seen.append(progress)
        if progress.files and progress.rate > 0:
            assert progress.files[0].name == "a.bin"
            gate.move(len(DATA))

    bring(tmp_path, order("a.bin", DATA, server), progress=tell, stall_timeout=60)
    assert seen[-1].finished
    assert seen[-1].done_bytes == seen[-1].total_bytes == len(DATA)
    assert [p.done_bytes for p in seen] == sorted(p.done_bytes for p in seen)
    assert any(p.files and p.rate > 0 and not p.finished for p in seen)


def test_a_full_disk_is_named(tmp_path: Path, range_server: Serve, need: Any) -> None:  # noqa: F811
    need.that("mount", hasattr(os, "geteuid") and os.geteuid() == 0, "only root mounts")
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True)
    need.that("mount", mounted.returncode == 0, mounted.stderr.decode())
    try:
        server = range_server({"a.bin": DATA, "b.bin": DATA[:MB]})
        with pytest.raises(CacheError, match="free"):
            bring(place, order("a.bin", DATA, server))
        assert isinstance(bring(place, order("b.bin", DATA[:MB], server))[0], Arrived)
    finally:
        subprocess.run(["umount", place])


def test_a_full_disk_is_found_before_the_bytes_come(tmp_path: Path, range_server: Serve, need: Any) -> None:  # noqa: F811
    need.that("mount", hasattr(os, "geteuid") and os.geteuid() == 0, "only root mounts")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", place], capture_output=True)
    need.that("mount", mounted.returncode == 0, mounted.stderr.decode())
    try:
        server = range_server({"a.bin": DATA, "b.bin": DATA[::-1]}, rate=MB // 10)
        with pytest.raises(CacheError, match="free some space"):  # each would fit alone
            bring(place, order("a.bin", DATA, server), order("b.bin", DATA[::-1], server))
        assert sum(request.sent for request in server.requests) < 15 * MB
    finally:
        subprocess.run(["umount", place])


def test_threads_have_names_and_end(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": DATA})
    before = set(threading.enumerate())
    names: set[str] = set()
    bring(
        tmp_path,
        order("a.bin", DATA, server),
        progress=lambda _: names.update(t.name for t in set(threading.enumerate()) - before),
    )
    left = [t for t in set(threading.enumerate()) - before if not t.name.startswith("dataferry-testing")]
    assert not left
    assert all(name.startswith("dataferry-") for name in names)


def test_what_nobody_foresaw_is_the_failure_of_one_file(
    tmp_path: Path,
    range_server: Callable[..., RangeServer],  # noqa: F811
) -> None:
    files = {f"{i}.bin": DATA[i : 20_000 + i] for i in range(40)} | {
        "a.bin": DATA[: 3 * MB],
        "b.bin": DATA[-3 * MB :],
    }
    server, strange = range_server(files), ("7.bin", "b.bin")
    wanted = [
        Wanted(
            name, server.url_of(name), len(data), hashlib.sha256(data).hexdigest(), (Source(server.url_of(name), "h"),)
        )
        for name, data in files.items()
    ]

    def store(item: Wanted, content: Path | bytes) -> Path:
        if item.name in strange:
            raise ValueError("no such shelf")
        return put_content(content, tmp_path / item.name)

    options = {"stall_timeout": 5, "progress": False, "settings": Settings()}
    results = fetch(wanted, find=lambda _: None, store=store, workdir=tmp_path / "incoming", **options)  # type: ignore[arg-type]
    assert {result.name for result in results if isinstance(result, FileUnavailable)} == set(strange)
    assert all("ValueError: no such shelf" in str(result) for result in results if isinstance(result, FileUnavailable))
    assert all((tmp_path / name).read_bytes() == data for name, data in files.items() if name not in strange)
