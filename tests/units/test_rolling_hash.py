"""Files that are hashed while they arrive, by a few threads of a run."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dataferry.download import rolling_hash
from dataferry.download.rolling_hash import RollingHash
from dataferry.threads import Workers


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="Linux lists open files there")
def test_a_file_that_waits_for_a_thread_is_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its close had waited for the slow disk of all others, and left its descriptor open."""
    reading, go_on, read = threading.Semaphore(0), threading.Event(), rolling_hash.read_into

    def slow(*args: Any) -> int:
        reading.release()
        go_on.wait()
        return read(*args)

    monkeypatch.setattr(rolling_hash, "read_into", slow)
    workers = Workers(4)
    with open(tmp_path / "file", "w+b") as file:
        file.write(b"x" * 1000)
        file.flush()
        busy = RollingHash(file.fileno(), workers)
        busy.finish(1000)
        reading.acquire()
        before = os.listdir("/proc/self/fd")
        waiting = RollingHash(file.fileno(), workers)
        waiting.finish(1000)
        waiting.close()
        assert len(os.listdir("/proc/self/fd")) == len(before)
        go_on.set()
        workers.close(10)
        busy.close()
        assert busy.digest() is not None and waiting.digest() is None


def test_two_files_are_hashed_side_by_side() -> None:
    """A file that never ends had kept the only thread, since none waited when it began."""
    workers, both = Workers(4), threading.Barrier(2, timeout=10)
    met: list[int] = []
    for _ in range(2):
        workers.do(lambda: met.append(both.wait()))
    workers.close(20)
    assert sorted(met) == [0, 1]
