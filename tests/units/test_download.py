"""The parts of the engine that no server shows: ranges, partial files, and how many connections pay."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataferry_test_servers.downloads import MB, RANDOM

from dataferry.config import Settings
from dataferry.download.fetch import fetch
from dataferry.download.host_limiter import HostLimiter
from dataferry.download.partial_file import PartialFile, stale_partials
from dataferry.download.segments import Ranges, Segments
from dataferry.download.source import Wanted
from dataferry.errors import FileUnavailable
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import RangeServer


def grown(rate_of: Callable[[int], float], limit: int = 64) -> tuple[int, int]:
    """The most connections that a host gets which sends so much over so many, and how many it has in the end."""
    host = HostLimiter("host", limit)
    host.round_trip, now, most = 0.001, 100.0, 1
    for _ in range(60):
        host.active = host.target
        most = max(most, host.target)
        host.bytes += int(0.05 * rate_of(host.active))
        now += 0.05
        host.measure(now)
    return most, host.target


def test_connections_grow_as_long_as_they_pay() -> None:
    assert grown(lambda count: 1e6 * count) == (64, 64)
    assert grown(lambda count: 1e6 * count, limit=5) == (5, 5)
    assert grown(lambda count: 1e7) == (6, 1)  # it gives no more, however many ask
    assert grown(lambda count: 1e6 * min(count, 4)) == (36, 6)


def test_ranges() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        ranges, truth = Ranges(), set()
        for _ in range(dice.randrange(12)):
            start = dice.randrange(40)
            stop = start + dice.randrange(12)
            ranges.add(start, stop)
            truth |= set(range(start, stop))
        missing = [i for a, b in ranges.missing(40) for i in range(a, b)]
        assert missing == sorted(set(range(40)) - truth)
        assert ranges.total() == len(truth)
        assert ranges.prefix() == next(i for i in range(99) if i not in truth)


def test_the_first_bytes_that_lack_come_first() -> None:
    """The hash follows the prefix, and a server without ranges sends all that comes after."""
    segments = Segments([(40, 50)])
    segments.add([(0, 10)])
    first = segments.take()
    assert first is not None and (first.start, first.stop) == (0, 10)


def test_a_partial_is_adopted_once(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "a.bin")
    partial.write(10, [b"x" * 20])
    partial.keep()
    opened: list[PartialFile] = []
    threads = [
        threading.Thread(target=lambda: opened.append(PartialFile.open(tmp_path, "ab" * 32, 100))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.resumed for p in opened) == [0] * 7 + [20]
    for partial in opened:
        partial.discard()


def test_a_torn_journal_claims_nothing(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "a.bin")
    partial.write(0, [b"x" * 20])
    partial.keep()
    with (tmp_path / ("ab" * 32) / "ranges").open("ab") as journal:
        journal.write(b"20 9")
    again = PartialFile.open(tmp_path, "ab" * 32, 100)
    assert again.ranges.total() == 20
    again.discard()


def test_old_partials_are_listed_and_cleared(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "maps/a.bin")
    partial.write(0, [b"x" * 20])
    assert stale_partials(tmp_path) == []  # in use
    partial.keep()
    (old,) = stale_partials(tmp_path)
    assert (old.name, old.have) == ("maps/a.bin", 20)
    assert stale_partials(tmp_path, older_than_days=1) == []
    os.utime(old.path / "ranges", (0, 0))
    assert [item.name for item in stale_partials(tmp_path, older_than_days=1)] == ["maps/a.bin"]


def test_transport_needs_no_astropy() -> None:
    code = "import sys, dataferry.download.fetch; print({'astropy', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_reserved_space_that_was_not_needed_is_given_back(tmp_path: Path, need: Any) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 64_000_000, "a.bin")
    partial.reserve()
    need.that("fallocate", partial.path.stat().st_blocks * 512 >= 64_000_000, "this file system reserves nothing")
    partial.write(20_000_000, [b"x" * 1_000_000])
    partial.keep()
    again = PartialFile.open(tmp_path, "ab" * 32, 64_000_000)
    assert again.ranges.total() == 1_000_000
    assert again.path.stat().st_blocks * 512 < 2_000_000
    assert again.path.read_bytes()[20_000_000:21_000_000] == b"x" * 1_000_000
    again.discard()


def test_what_nobody_foresaw_is_the_failure_of_one_file(tmp_path: Path) -> None:
    files = {f"{i}.bin": RANDOM[i : 20_000 + i] for i in range(40)}
    files |= {"a.bin": RANDOM[: 3 * MB], "b.bin": RANDOM[-3 * MB :]}
    strange = ("7.bin", "b.bin")

    def store(item: Wanted, content: Path | bytes) -> Path:
        if item.name in strange:
            raise ValueError("no such shelf")
        return put_content(content, tmp_path / item.name)

    with RangeServer(files) as server:
        wanted = []
        for name, data in files.items():
            url = server.url_of(name)
            wanted.append(Wanted(name, url, len(data), hashlib.sha256(data).hexdigest(), (Source(url, "h"),)))
        work = tmp_path / "incoming"
        results = fetch(wanted, find=lambda _: None, store=store, workdir=work, settings=Settings(), progress=False)
    errors = {result.name: str(result) for result in results if isinstance(result, FileUnavailable)}
    assert set(errors) == set(strange)
    assert all("ValueError: no such shelf" in text for text in errors.values())
    assert all((tmp_path / name).read_bytes() == data for name, data in files.items() if name not in strange)
