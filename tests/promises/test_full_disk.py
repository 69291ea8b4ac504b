"""A disk without space for a download is found early where that can be, and is named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, MB, RANDOM, Make

from dataferry import PackageData
from dataferry.errors import CacheError
from dataferry.testing import RangeServer

FILES = {"a.bin": RANDOM, "b.bin": RANDOM[::-1], "middle.bin": DATA, "small.bin": DATA[:MB]}


@pytest.fixture
def small_disk(tmp_path: Path, need: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let the cache be on a disk of so many megabytes."""
    need.that("mount", hasattr(os, "geteuid") and os.geteuid() == 0, "only root mounts")
    with ExitStack() as stack:

        def mount(size: int) -> None:
            place = tmp_path / "disk"
            place.mkdir()
            words = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(place)]
            done = subprocess.run(words, capture_output=True, text=True)
            need.that("mount", done.returncode == 0, done.stderr)
            stack.callback(subprocess.run, ["umount", "-l", str(place)])
            (place / "astropy").mkdir()
            monkeypatch.setenv("XDG_CACHE_HOME", str(place))

        yield mount


def test_a_full_disk_is_named(small_disk: Callable[[int], None], make_package: Make) -> None:
    small_disk(8)
    with RangeServer(FILES) as server:
        data = PackageData(make_package(FILES, head=f'dataurl = "{server.url}"'), show_progress=False)
        for name in ("a.bin", "middle.bin"):
            with pytest.raises(CacheError, match="free some space"):
                data.get(name)
        assert Path(data.get("small.bin")).read_bytes() == FILES["small.bin"]


def test_it_is_found_before_the_bytes_come(small_disk: Callable[[int], None], make_package: Make) -> None:
    small_disk(30)
    with RangeServer(FILES, rate=MB // 10) as server:
        data = PackageData(make_package(FILES, head=f'dataurl = "{server.url}"'), show_progress=False)
        with pytest.raises(CacheError, match="free some space"):  # each would fit alone
            data.fetch(["a.bin", "b.bin"])
        assert sum(request.sent for request in server.requests) < 15 * MB
