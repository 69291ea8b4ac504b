"""Every fault of the range server, alone and with a good mirror behind it: right bytes or an error that says why."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataferry import testing
from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.errors import FileUnavailable
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import Fault, RangeServer
from dataferry.testing.content import Request, Response
from dataferry.testing.fixtures import range_server  # noqa: F401

SMALL, LARGE = 300_000, 3_000_000
DATA = {size: random.Random(size).randbytes(size) for size in (SMALL, LARGE)}

#: fault -> (can the file still be had from this server alone, a word of the reason if not)
FAULTS: dict[str, tuple[Fault, bool, str]] = {
    "reset at once": (testing.Reset(), False, "reset|closed"),
    "reset in mid-body": (testing.Reset(after=200_000), False, "reset|cut"),
    "cut": (testing.Cut(after=200_000), False, "cut"),
    "truncated": (testing.Truncated(200_000), False, "cut|200000|ended"),
    "stall": (testing.Stall(after=100_000), False, "nothing came|bytes/s"),
    "never answers": (testing.NeverAnswers(), False, "no answer"),
    "trickle": (testing.Trickle(), False, "bytes/s"),
    "garbage": (testing.Garbage(), False, "not an answer of HTTP"),
    "header flood": (testing.HeaderFlood(), False, "headers"),
    "403": (testing.Status(403), False, "403"),
    "404": (testing.Status(404), False, "404"),
    "408": (testing.Status(408), False, "408"),
    "425": (testing.Status(425), False, "425"),
    "429": (testing.Status(429, retry_after=600), False, "429"),
    "500": (testing.Status(500), False, "500"),
    "503": (testing.Status(503), False, "503"),
    "empty 202": (testing.Empty(), False, "202|empty|0 bytes"),
    "login page": (testing.LoginPage(), False, "HTML"),
    "redirect to login": (testing.RedirectToLogin(), False, "HTML"),
    "redirect loop": (testing.RedirectLoop(), False, "redirects"),
    "flaky": (testing.Flaky(times=1), True, ""),
    "ignores Range": (testing.IgnoresRange(), True, ""),
    "ignores If-Range": (testing.IgnoresIfRange(), True, ""),
    "wrong Content-Range": (testing.WrongContentRange(), False, "Content-Range"),
    "other range": (testing.OtherRange(), False, "Content-Range"),
    "other file": (testing.OtherFile(), False, "sha256"),
    "flipped byte": (testing.FlippedByte(), False, "sha256"),
    "longer": (testing.WrongLength(10), False, "registered"),
    "wrong Content-Length": (testing.WrongContentLength(10), False, "registered|cut|range"),
    "weak ETag": (testing.WrongETag('W/"a"'), True, ""),
    "changing ETag": (testing.ChangingETag(), True, ""),
    "lfs pointer": (testing.LfsPointer(), False, "git-lfs"),
    "gzip": (testing.GzipEncoding(), False, "encoded|gzip"),
}
#: fault -> what programs are told of it, where the word is the same for files of all sizes
KINDS: dict[str, set[str]] = {
    "cut": {"cut"},
    "truncated": {"cut", "size"},
    "stall": {"stall"},
    "never answers": {"stall"},
    "trickle": {"stall"},
    "garbage": {"protocol"},
    "403": {"denied"},
    "404": {"absent"},
    "500": {"status"},
    "empty 202": {"empty"},
    "login page": {"html"},
    "redirect loop": {"redirect"},
    "other file": {"sha256"},
    "flipped byte": {"sha256"},
    "longer": {"size"},
    "lfs pointer": {"lfs-pointer"},
    "gzip": {"encoding"},
}
#: Ranges are not asked for in small files, so faults of ranges cannot be seen there.
ONLY_LARGE = {"wrong Content-Range", "other range"}


def bring(
    tmp_path: Path, data: bytes, *servers: RangeServer, registered: bool = True, **options: Any
) -> tuple[Any, Path]:
    name, out = "maps/a b.fits", tmp_path / "cache"
    out.mkdir(exist_ok=True)
    sources = tuple(Source(server.url_of(name), server.url) for server in servers)
    known = (len(data), hashlib.sha256(data).hexdigest()) if registered else (None, None)
    wanted = Wanted(name, sources[0].url, *known, sources)

    def store(item: Wanted, content: Path | bytes) -> Path:
        return put_content(content, out / "a b.fits")

    options = {"stall_timeout": 0.5, "progress": False, "settings": Settings()} | options
    (result,) = fetch([wanted], find=lambda _: None, store=store, workdir=tmp_path / "incoming", **options)
    return result, out / "a b.fits"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)


@pytest.fixture
def servers(range_server: Callable[..., RangeServer]) -> Callable[[bytes], RangeServer]:  # noqa: F811
    return lambda data: range_server({"maps/a b.fits": data})


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_alone(fault: str, size: int, tmp_path: Path, servers: Callable[[bytes], RangeServer]) -> None:
    fault_made, good, reason = FAULTS[fault]
    server = servers(DATA[size])
    server.fault("*", fault_made)
    result, path = bring(tmp_path, DATA[size], server)
    if good or (fault in ONLY_LARGE and size == SMALL):
        assert isinstance(result, Arrived)
    if isinstance(result, Arrived):
        assert path.read_bytes() == DATA[size]
    else:
        assert isinstance(result, FileUnavailable)
        assert not path.exists()
        assert re.search(reason, str(result)), str(result)
        kinds = {failure.kind for failure in result.failures}
        assert kinds & KINDS.get(fault, kinds), kinds
        assert pickle.loads(pickle.dumps(result)).failures == result.failures
        assert result.tried == [(failure.place, failure.reason) for failure in result.failures]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_with_a_mirror(fault: str, size: int, tmp_path: Path, servers: Callable[[bytes], RangeServer]) -> None:
    bad, good = servers(DATA[size]), servers(DATA[size])
    bad.fault("*", FAULTS[fault][0])
    result, path = bring(tmp_path, DATA[size], bad, good)
    assert isinstance(result, Arrived), str(result)
    assert path.read_bytes() == DATA[size]
    assert not [p for p in (tmp_path / "incoming").iterdir() if p.name != "locks"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("tag", [testing.WrongETag(None), testing.ChangingETag()], ids=["no ETag", "changing ETag"])
def test_a_file_that_nothing_proves_is_not_asked_for_forever(
    tag: Fault, chunked: bool, tmp_path: Path, servers: Callable[[bytes], RangeServer]
) -> None:
    server = servers(DATA[LARGE])
    server.fault("*", tag, testing.Cut(after=2_500_000, chunked=chunked))
    result, path = bring(tmp_path, DATA[LARGE], server, registered=False, deadline=20)
    assert isinstance(result, FileUnavailable)
    assert "cut" in str(result)
    assert "deadline" not in str(result)
    assert len(server.requests) <= 8
    assert not path.exists()


def test_a_file_that_its_tag_proves_goes_on_as_long_as_bytes_come(
    tmp_path: Path, servers: Callable[[bytes], RangeServer]
) -> None:
    server = servers(DATA[LARGE])
    server.fault("*", testing.Cut(after=400_000))
    result, path = bring(tmp_path, DATA[LARGE], server, registered=False)
    assert isinstance(result, Arrived), str(result)
    assert path.read_bytes() == DATA[LARGE]
    assert len(server.requests) == 8


class WithoutEnd(Fault):
    """All bytes come, in chunks or without any length, and then nothing: neither the end nor a closed connection."""

    def __init__(self, chunked: bool) -> None:
        self.chunked = chunked

    def response(self, response: Response, request: Request) -> Response:
        size = int(response.headers["Content-Length"])
        return replace(response.without("Content-Length"), chunked=self.chunked, cut=size, ending="stall")


ENDS = {
    "cut": testing.Cut(after=LARGE, chunked=True),
    "chunks": WithoutEnd(chunked=True),
    "no length": WithoutEnd(chunked=False),
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("end", ENDS)
def test_right_bytes_whose_end_is_not_told(
    end: str, size: int, tmp_path: Path, servers: Callable[[bytes], RangeServer]
) -> None:
    server = servers(DATA[size])
    server.fault("*", testing.IgnoresRange(), ENDS[end])
    result, path = bring(tmp_path, DATA[size], server, stall_timeout=60, deadline=20)
    assert isinstance(result, Arrived), str(result)
    assert path.read_bytes() == DATA[size]
    assert len(server.requests) == 1


def test_wrong_bytes_whose_end_is_not_told(tmp_path: Path, servers: Callable[[bytes], RangeServer]) -> None:
    bad, good = servers(DATA[LARGE]), servers(DATA[LARGE])
    bad.fault("*", testing.IgnoresRange(), testing.OtherFile(), ENDS["cut"])
    result, path = bring(tmp_path, DATA[LARGE], bad, good)
    assert isinstance(result, Arrived), str(result)
    assert path.read_bytes() == DATA[LARGE]


def test_what_nobody_foresaw_is_the_failure_of_one_file(
    tmp_path: Path,
    range_server: Callable[..., RangeServer],  # noqa: F811
) -> None:
    files = {f"{i}.bin": DATA[LARGE][i : 20_000 + i] for i in range(40)} | {
        "a.bin": DATA[LARGE],
        "b.bin": DATA[LARGE][::-1],
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
