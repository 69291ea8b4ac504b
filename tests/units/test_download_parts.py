"""A file that a host keeps in several objects is one file: no request crosses a part, and each part is checked."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.download.partial_file import read_journal
from dataferry.errors import FileUnavailable
from dataferry.files import put_content
from dataferry.hosts.base import Part, Source
from dataferry.testing import Cut, Flaky, FlippedByte, IgnoresRange, RangeServer, Stall, Status, WrongLength
from dataferry.testing.fixtures import range_server  # noqa: F401

try:
    from dataferry_test_servers.downloads import RANDOM
except ImportError:  # in a process that a test starts, which has no fixtures
    RANDOM = random.Random(1).randbytes(20_000_000)

MB = 1_000_000
DATA = RANDOM
CUTS = [0, 7 * MB, 7 * MB + 5, 15 * MB, 15 * MB, 20 * MB]
PIECES = {f"a.{i}": DATA[a:b] for i, (a, b) in enumerate(pairwise(CUTS))}
Serve = Callable[..., RangeServer]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)


def parted(base: str, pieces: dict[str, bytes] = PIECES) -> Source:
    parts = tuple(Part(base + name, len(data)) for name, data in pieces.items())
    return Source(parts[0].url, base, parts=parts)


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


def kept(place: Path) -> int:
    """The bytes that the partials there are known to have."""
    return sum(read_journal(journal.parent)[0].total() for journal in (place / "incoming").glob("*/ranges"))


def right(result: Any, data: bytes = DATA) -> bool:
    assert isinstance(result, Arrived), str(result)
    return result.path.read_bytes() == data


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("limit", ["", "2m"])
def test_nginx(limit: str, registered: bool, tmp_path: Path, nginx: Callable[..., Any]) -> None:
    folder = tmp_path / "www"
    folder.mkdir()
    for place in (tmp_path, folder):
        place.chmod(0o755)
    for name, data in PIECES.items():
        (folder / name).write_bytes(data)
    server = nginx(folder, limit_rate=limit)
    result = bring(tmp_path, parted(server.url), registered=registered)
    assert right(result)
    assert result.moved_bytes == len(DATA)
    server.stop()  # now all is logged
    log = server.log.read_text().splitlines()
    assert {line.split()[1] for line in log} == {f"/{name}" for name, data in PIECES.items() if data}
    assert all(" 206 " in line for line in log)
    if limit and registered:
        assert len({line.split()[4] for line in log}) > 2  # several connections


@pytest.mark.parametrize("registered", [True, False])
def test_a_server_that_ignores_ranges(registered: bool, tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(PIECES)
    server.fault("*", IgnoresRange())
    # over one connection nothing is sent in vain
    settings = Settings(hosts={"127.0.0.1": {"connections": 1}})
    result = bring(tmp_path, parted(server.url), registered=registered, settings=settings)
    assert right(result)
    assert result.moved_bytes == len(DATA)
    assert sum(request.sent for request in server.requests) == len(DATA)


@pytest.mark.parametrize("size", [3, 300_000, 3 * MB])
def test_small_files_in_parts(size: int, tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    data = DATA[:size]
    pieces = {"x": data[: size // 2], "y": data[size // 2 :]}
    server = range_server(pieces)
    assert right(bring(tmp_path, parted(server.url, pieces), data=data), data)
    assert right(bring(tmp_path / "b", parted(server.url, pieces), data=data, registered=False), data)


def test_an_empty_file_in_parts(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"x": b""})
    assert right(bring(tmp_path, parted(server.url, {"x": b""}), data=b""), b"")


def test_a_missing_part_is_named_and_what_came_is_kept(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(PIECES)
    server.fault("a.2", Status(404))
    result = bring(tmp_path, parted(server.url))
    assert isinstance(result, FileUnavailable)
    assert f"{server.url}a.2: answered 404" in str(result)
    server.heal()
    server.forget()
    result = bring(tmp_path, parted(server.url))
    assert right(result)
    assert result.moved_bytes <= len(DATA) - 7 * MB


@pytest.mark.parametrize("more", [-3, 3])
def test_a_part_of_another_size_is_not_taken(more: int, tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server, mirror = range_server(PIECES), range_server({"a.bin": DATA})
    server.fault("a.2", WrongLength(more))
    result = bring(tmp_path, parted(server.url))
    assert isinstance(result, FileUnavailable)
    assert "a.2" in str(result)
    assert right(bring(tmp_path, parted(server.url), Source(mirror.url_of("a.bin"), mirror.url)))


def test_parts_that_do_not_make_up_the_file_are_not_asked_for(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(PIECES)
    result = bring(tmp_path, parted(server.url), data=DATA + b"x")
    assert isinstance(result, FileUnavailable)
    assert "5 parts have 20000000 bytes together, 20000001 are registered" in str(result)
    assert not server.requests


def test_a_flipped_byte_in_a_part(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    bad, good = range_server(PIECES), range_server(PIECES)
    bad.fault("a.2", FlippedByte())
    result = bring(tmp_path, parted(bad.url))
    assert isinstance(result, FileUnavailable)
    assert "sha256" in str(result)
    assert right(bring(tmp_path, parted(bad.url), parted(good.url)))


def test_a_part_that_is_cut_goes_on(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(PIECES)
    server.fault("*", Flaky(times=1, fault=Cut(after=2 * MB)))
    result = bring(tmp_path, parted(server.url))
    assert right(result)
    assert result.moved_bytes < 1.05 * len(DATA)


@pytest.mark.parametrize("parts_first", [True, False])
def test_parts_and_whole_files_complete_each_other(
    parts_first: bool,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    parts, whole = range_server(PIECES), range_server({"a.bin": DATA})
    sources = [parted(parts.url), Source(whole.url_of("a.bin"), whole.url)]
    if not parts_first:
        sources.reverse()
    first, second = (parts, whole) if parts_first else (whole, parts)
    first.fault("*", Cut(after=4 * MB), first=1)
    first.fault("*", Status(404), skip=1)
    result = bring(tmp_path, *sources)
    assert right(result)
    assert result.moved_bytes <= len(DATA)
    # no byte came twice, so what the first gave was kept
    assert all(sum(request.sent for request in server.requests) > 0 for server in (first, second))


def test_headers_go_to_the_host_of_the_source_alone(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    one, two = range_server(PIECES), range_server(PIECES)
    names = [name for name, data in PIECES.items() if data]
    parts = tuple(Part((two if name == "a.2" else one).url + name, len(PIECES[name])) for name in names)
    assert right(bring(tmp_path, Source(parts[0].url, one.url, {"X-Secret": "s"}, parts)))
    assert all(request.headers["x-secret"] == "s" for request in one.requests)
    assert two.requests
    assert not any("x-secret" in request.headers for request in two.requests)


CHILD = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("parts", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.bring(pathlib.Path(sys.argv[2]), module.parted(sys.argv[3]), stall_timeout=600)
"""


def test_a_killed_download_of_parts_is_resumed(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(PIECES)
    server.fault("a.4", Stall())  # it cannot come to the end
    words = [sys.executable, "-c", CHILD, __file__, str(tmp_path), server.url]
    victim = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while kept(tmp_path) < 8 * MB:
        assert victim.poll() is None
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    done = kept(tmp_path)
    server.heal()
    result = bring(tmp_path, parted(server.url))
    assert right(result)
    assert result.moved_bytes == len(DATA) - done
