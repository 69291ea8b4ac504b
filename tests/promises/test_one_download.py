"""Many processes, threads or ranks that want one file make one download."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dataferry_test_servers.downloads import (
    DATA,
    MB,
    NAME,
    Make,
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

from dataferry import PackageData, Progress
from dataferry.testing import RangeServer


def test_64_processes_make_one_download(make_package: Make) -> None:
    one_connection()
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(3 * MB)
        server.fault("*", gate)
        all_of_them = crowd(package_at(make_package, server), 64)
        until(lambda: gate.passed >= 2 * MB)
        gate.open()
        assert all_of_them.communicate()[0].strip() == "[0]"
        assert sent(server) == len(DATA)


@pytest.mark.parametrize(
    ("known", "folder"),
    [
        ("sha256", False),
        ("", True),
        *[pytest.param(*case, marks=pytest.mark.nightly) for case in (("sha256", True), ("md5", False), ("", False))],
    ],
)
def test_processes_that_retrieve_a_url_make_one_download(known: str, folder: bool, tmp_path: Path) -> None:
    known_hash = f"{known}:{hashlib.new(known, DATA).hexdigest()}" if known else ""
    code = (
        "import dataferry, sys; print(dataferry.retrieve(sys.argv[1], sys.argv[2] or None, folder=sys.argv[3] or None))"
    )
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(3 * MB)
        server.fault("*", gate)
        words = [sys.executable, "-c", code, server.url_of(NAME), known_hash, str(tmp_path) if folder else ""]
        four = [subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(4)]
        until(lambda: gate.passed >= 2 * MB)
        gate.open()
        paths = {process.communicate()[0].strip() for process in four}
        assert [Path(path).read_bytes() == DATA for path in paths] == [True]
        assert sent(server) < 1.2 * len(DATA)


@pytest.mark.parametrize("size", [100, 9 * MB])
def test_files_of_equal_bytes_do_not_wait_for_each_other(size: int, make_package: Make) -> None:
    """Within the timeout of a host: a lock of the content must not make them take turns."""
    files = {f"maps/{number}.bin": DATA[:size] for number in range(300 if size < MB else 4)}
    with RangeServer(files) as server:
        data = PackageData(make_package(files, head=f'dataurl = "{server.url}"\ntimeout = 60'), show_progress=False)
        paths = data.fetch(list(files), deadline=30)
        assert [Path(path).read_bytes() for path in paths] == list(files.values())
        assert len({request.name for request in server.requests}) == len(files)


def test_threads_make_one_download(make_package: Make) -> None:
    one_connection()
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(3 * MB)
        server.fault("*", gate)
        package, results = package_at(make_package, server), []
        threads = [threading.Thread(target=lambda: results.append(get(package))) for _ in range(16)]
        for thread in threads:
            thread.start()
        until(lambda: gate.passed >= 2 * MB)
        gate.open()
        for thread in threads:
            thread.join()
        assert [data == DATA for data in results] == [True] * 16
        assert sent(server) == len(DATA)


@pytest.mark.parametrize("who", ["thread", "process"])
def test_who_waits_sees_the_progress_of_who_downloads(who: str, make_package: Make) -> None:
    one_connection()
    seen: set[int] = set()
    told: list[tuple[int, bool]] = []
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(3 * MB)
        server.fault("*", gate)
        package = package_at(make_package, server, head="timeout = 600")
        thread = threading.Thread(target=get, args=(package,))
        process = start(package) if who == "process" else None
        if process is None:
            thread.start()

        def tell(progress: Progress) -> None:
            for file in progress.files:
                if gate.limit >= len(DATA):
                    return  # now it may come to its end
                told.append((file.done, file.waiting))
                if file.done and file.done not in seen:  # what comes next is more than can be on its way to the disk
                    seen.add(file.done)
                    gate.open(gate.limit + 3 * MB if len(seen) < 3 else len(DATA))

        until(lambda: on_disk() >= MB, process)
        [path] = PackageData(package).fetch(NAME, progress=tell)
        if process is not None:
            process.communicate()
        else:
            thread.join()
        assert Path(path).read_bytes() == DATA
        assert sent(server) == len(DATA)
    assert all(waiting for _, waiting in told)
    assert len(seen) == 3
    assert told == sorted(told)


def test_a_killed_downloader_is_followed_by_who_waits(make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server:
        gate = Gate(8 * MB)
        server.fault("*", gate)
        package = package_at(make_package, server)
        victim = start(package)
        until(lambda: gate.passed >= 7 * MB, victim)
        heir = start(package)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        gate.open()
        out, err = heir.communicate()
        assert heir.returncode == 0, err
        assert Path(out.decode().strip()).read_bytes() == DATA
