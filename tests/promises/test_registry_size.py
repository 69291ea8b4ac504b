"""A registry of 100,000 files costs about what reading its lines costs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataferry import PackageData

ROWS = 100_000


@pytest.fixture
def large(make_package: Callable[..., str]) -> str:
    package = make_package(head='registry = "files.txt"\ndataurl = "https://portal.example.org/"')
    text = Path(PackageData(package).registry.path).with_name("files.txt")
    digests = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(1000)]
    text.write_text("".join(f"{digests[i % 1000]}  {i}  maps/{i:06}/map_{i}.fits\n" for i in range(ROWS)))
    return package


def seconds(work: Callable[[], object]) -> float:
    """The CPU seconds of the fastest of three runs."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def test_one_file_is_found_without_reading_all_rows_into_objects(large: str) -> None:
    text = Path(PackageData(large).registry.path).with_name("files.txt")

    def plain() -> dict[str, list[str]]:
        return {line.rpartition(" ")[2]: line.split() for line in text.read_text().splitlines()}

    def one() -> None:
        entry = PackageData(large).registry.find(f"maps/{ROWS // 2:06}/map_{ROWS // 2}.fits")
        assert entry is not None
        assert entry.size == ROWS // 2

    def everything() -> None:
        assert len(PackageData(large).names()) == ROWS

    assert seconds(one) < seconds(plain)
    assert seconds(everything) < 6 * seconds(plain)
