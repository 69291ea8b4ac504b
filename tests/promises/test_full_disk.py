"""A disk without space for a download is found early where that can be, and is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, MB, RANDOM, Make

from dataferry import PackageData
from dataferry.errors import CacheError, PublishErrors
from dataferry.publish import check, publish
from dataferry.registry import Registry
from dataferry.testing import RangeServer
from dataferry.testing.faults import Fault

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


# -- the proof of a publication, and a deep check: nothing of a file is kept, but it needs space for a while -----------


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Six files of 2 MB."""
    (tmp_path / "www").mkdir()
    files = {f"{number}.bin": tmp_path / f"{number}.bin" for number in range(6)}
    for number, path in enumerate(files.values()):
        path.write_bytes(RANDOM[number * 1000 :][: 2 * MB])
    return files


def test_a_proof_needs_space_for_one_file_at_a_time(
    small_disk: Callable[[int], None], tmp_path: Path, sources: dict[str, Path]
) -> None:
    small_disk(6)
    with RangeServer(tmp_path / "www", rate=MB) as server:
        to, registry = f"folder:{tmp_path}/www?url={server.url}", tmp_path / "dataferry.toml"
        outcome = publish(sources, to, registry, progress=False)
        assert [file.proven for file in outcome.files] == [True] * 6
        deep = check(PackageData("mypkg", registry=registry), deep=True)
        assert {finding.state for finding in deep} == {"proven"}


class Fills(Fault):
    """The disk of the client is full as soon as it asks for a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def request(self, request: Any) -> Any:
        if request.method == "GET":
            with suppress(OSError), open(self.path, "ab", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass
        return super().request(request)


@pytest.fixture
def published(
    small_disk: Callable[[int], None], tmp_path: Path, sources: dict[str, Path]
) -> Iterator[tuple[RangeServer, Callable[..., Any]]]:
    """A server that makes a disk of 30 MB full at the first request, and what publishes to it, also from that disk."""
    small_disk(30)
    registry = tmp_path / "dataferry.toml"
    with RangeServer(tmp_path / "www") as server:
        server.fault("*.bin", Fills(tmp_path / "disk" / "filler"))

        def run(*, same_disk: bool) -> list[str]:
            files = {n: Path(shutil.copy(p, tmp_path / "disk")) if same_disk else p for n, p in sources.items()}
            publish(files, f"folder:{tmp_path}/www?url={server.url}", registry, progress=False)
            return Registry(registry).names()

        yield server, run


def test_a_disk_that_fills_while_files_are_proven(published: Any, tmp_path: Path, sources: dict[str, Path]) -> None:
    server, run = published
    with pytest.raises(PublishErrors) as caught:
        run(same_disk=True)
    text = str(caught.value)
    assert text.count("it arrived, and could not be proven:") == 6
    assert re.search("cannot be fetched back to be compared: .* bytes free; set ASTROPY_CACHE_DIR", text)
    assert not (tmp_path / "dataferry.toml").exists()
    assert list((tmp_path / "disk").rglob("*back-*")) == []
    (tmp_path / "disk" / "filler").unlink()
    server.heal()
    there = {path: path.stat().st_ino for path in (tmp_path / "www").glob("*.bin")}
    assert run(same_disk=True) == sorted(sources)
    assert {path: path.stat().st_ino for path in there} == there, "nothing is uploaded again"


def test_files_are_proven_on_the_authors_disk_where_the_caches_fills(published: Any, sources: dict[str, Path]) -> None:
    _, run = published
    assert run(same_disk=False) == sorted(sources)
