"""Columns of wide rows are taken where the system has them in memory, and read where it has not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dataferry import maps
from dataferry.errors import MapError
from dataferry.maps.mapped import Mapped
from dataferry.maps.source import LocalFile

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is in memory")

NSIDE = 128
SKY = np.random.default_rng(7).standard_normal((3, 12 * NSIDE**2)).astype("f4")


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    maps.write_map(tmp_path / "wide.fits", SKY)
    return tmp_path / "wide.fits"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each window that was asked for, whether it was opened."""
    found: list[bool] = []
    window = Mapped.window

    @contextmanager
    def noted(self: Mapped, offset: int, length: int) -> Iterator[memoryview | None]:
        with window(self, offset, length) as view:
            found.append(view is not None)
            yield view

    monkeypatch.setattr(Mapped, "window", noted)
    return found


def evict(path: Path) -> None:
    """Have the system forget a file's bytes."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("field", [0, 2])
def test_what_is_in_memory_is_not_copied(wide: Path, opened: list[bool], field: int) -> None:
    assert (maps.read_map(wide, field).value == SKY[field]).all()
    assert opened
    assert all(opened)


def test_what_is_not_in_memory_is_read(wide: Path, opened: list[bool], need) -> None:
    evict(wide)
    with LocalFile(wide) as source, Mapped(source._fd, source.size).window(source.size // 2, 4096) as view:
        need.that("page cache", view is None, "the system keeps files of this folder in memory")
    opened.clear()
    assert (maps.read_map(wide, 1).value == SKY[1]).all()
    assert not all(opened)


def test_no_window_is_asked_for_where_all_is_wanted(wide: Path, opened: list[bool]) -> None:
    assert (maps.read_map(wide, None).value == SKY).all()
    assert opened == []


def test_a_system_without_it(wide: Path, opened: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "RWF_NOWAIT")
    assert (maps.read_map(wide, 1).value == SKY[1]).all()
    assert opened
    assert not any(opened)


def test_memory_is_let_go_of(wide: Path) -> None:
    """What was looked at does not count as memory of this process when the window is closed."""

    def resident() -> int:
        text = Path("/proc/self/smaps").read_text()
        part = text[text.index(os.fspath(wide)) :]
        return int(next(line.split()[1] for line in part.splitlines() if line.startswith("Rss:")))

    with LocalFile(wide) as source:
        with source.window(0, source.size) as view:
            assert view is not None
            assert sum(view[::4096]) >= 0
            assert resident() >= source.size // 1024
        assert resident() == 0


def test_a_file_that_has_shrunk_is_an_error(wide: Path) -> None:
    with LocalFile(wide) as source, source.window(0, source.size):
        pass
    with LocalFile(wide) as source:
        os.truncate(wide, source.size // 2)
        with source.window(source.size - 8192, 8192) as view:
            assert view is None
        with pytest.raises(MapError, match="truncated"):
            source.read(source.size - 8192, 8192)
