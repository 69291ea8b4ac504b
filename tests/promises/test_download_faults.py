"""Every fault of the range server, alone and with a good mirror behind it: right bytes or an error that says why."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dataferry
from dataferry import PackageData
from dataferry.errors import FetchErrors, FileUnavailable
from dataferry.testing import (
    ChangingETag,
    Cut,
    Empty,
    Fault,
    Flaky,
    FlippedByte,
    Garbage,
    GzipEncoding,
    HeaderFlood,
    IgnoresIfRange,
    IgnoresRange,
    LfsPointer,
    LoginPage,
    NeverAnswers,
    OtherFile,
    OtherRange,
    RangeServer,
    RedirectLoop,
    RedirectToLogin,
    Reset,
    Stall,
    Status,
    Trickle,
    Truncated,
    WrongContentLength,
    WrongContentRange,
    WrongETag,
    WrongLength,
)
from dataferry.testing.content import Request, Response

SMALL, LARGE = 300_000, 3_000_000
DATA = {size: random.Random(size).randbytes(size) for size in (SMALL, LARGE)}
NAME = "maps/a b.fits"

#: fault -> (can the file still be had from this server alone, a word of the reason if not)
FAULTS: dict[str, tuple[Fault, bool, str]] = {
    "reset at once": (Reset(), False, "reset|closed"),
    "reset in mid-body": (Reset(after=200_000), False, "reset|cut"),
    "cut": (Cut(after=200_000), False, "cut"),
    "truncated": (Truncated(200_000), False, "cut|200000|ended"),
    "stall": (Stall(after=100_000), False, "nothing came|bytes/s"),
    "never answers": (NeverAnswers(), False, "no answer"),
    "trickle": (Trickle(), False, "bytes/s"),
    "garbage": (Garbage(), False, "not an answer of HTTP"),
    "header flood": (HeaderFlood(), False, "headers"),
    "403": (Status(403), False, "403"),
    "404": (Status(404), False, "404"),
    "408": (Status(408), False, "408"),
    "425": (Status(425), False, "425"),
    "429": (Status(429, retry_after=600), False, "429"),
    "500": (Status(500), False, "500"),
    "503": (Status(503), False, "503"),
    "empty 202": (Empty(), False, "202|empty|0 bytes"),
    "login page": (LoginPage(), False, "HTML"),
    "redirect to login": (RedirectToLogin(), False, "HTML"),
    "redirect loop": (RedirectLoop(), False, "redirects"),
    "flaky": (Flaky(times=1), True, ""),
    "ignores Range": (IgnoresRange(), True, ""),
    "ignores If-Range": (IgnoresIfRange(), True, ""),
    "wrong Content-Range": (WrongContentRange(), False, "Content-Range"),
    "other range": (OtherRange(), False, "Content-Range"),
    "other file": (OtherFile(), False, "sha256"),
    "flipped byte": (FlippedByte(), False, "sha256"),
    "longer": (WrongLength(10), False, "registered"),
    "wrong Content-Length": (WrongContentLength(10), False, "registered|cut|range"),
    "weak ETag": (WrongETag('W/"a"'), True, ""),
    "changing ETag": (ChangingETag(), True, ""),
    "lfs pointer": (LfsPointer(), False, "git-lfs"),
    "gzip": (GzipEncoding(), False, "encoded|gzip"),
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


def fetch(
    folder: Path, servers: Mapping[str, tuple[RangeServer, ...]], data: bytes, **options: Any
) -> tuple[dict[str, bytes], dict[str, FileUnavailable]]:
    """Fetch files of equal bytes, each from servers of its own, all at once: so their waits overlap."""
    registry = folder / "dataferry.toml"
    known = f'size = {len(data)}\nsha256 = "{hashlib.sha256(data).hexdigest()}"'
    tables = [
        f'[files."{name}"]\nurl = {[server.url_of(NAME) for server in its]}\n{known}\n' for name, its in servers.items()
    ]
    registry.write_text("timeout = 1\n" + "".join(tables))
    files = PackageData("faults", registry=registry, show_progress=False)
    errors: dict[str, FileUnavailable] = {}
    try:
        paths = dict(zip(servers, files.fetch(list(servers), **options), strict=True))
    except FetchErrors as several:
        paths = several.paths
        errors = {error.name: error for error in several.exceptions if isinstance(error, FileUnavailable)}
    assert set(servers) == set(paths) | set(errors)
    return {name: Path(path).read_bytes() for name, path in paths.items()}, errors


def served(stack: ExitStack, data: bytes, *faults: Fault) -> RangeServer:
    server = stack.enter_context(RangeServer({NAME: data}))
    if faults:
        server.fault("*", *faults)
    return server


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_fault_alone(size: int, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = {name: (served(stack, DATA[size], fault),) for name, (fault, _, _) in FAULTS.items()}
        here, errors = fetch(tmp_path, servers, DATA[size])
    assert set(here.values()) == {DATA[size]}
    for name, (_, good, reason) in FAULTS.items():
        if good or (name in ONLY_LARGE and size == SMALL):
            assert name in here, errors.get(name)
        if name in errors:
            error, failures = errors[name], errors[name].failures
            assert re.search(reason, str(error)), str(error)
            assert {failure.kind for failure in failures} & KINDS.get(name, {failures[-1].kind}), failures
            assert pickle.loads(pickle.dumps(error)).failures == failures
            assert error.tried == [(failure.place, failure.reason) for failure in failures]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_fault_with_a_mirror(size: int, tmp_path: Path, home: Path) -> None:
    with ExitStack() as stack:
        good = served(stack, DATA[size])
        servers = {name: (served(stack, DATA[size], fault), good) for name, (fault, _, _) in FAULTS.items()}
        here, errors = fetch(tmp_path, servers, DATA[size])
    assert not errors
    assert here == dict.fromkeys(FAULTS, DATA[size])
    assert not list(home.rglob("incoming/*/bytes"))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("tag", [WrongETag(None), ChangingETag()], ids=["no ETag", "changing ETag"])
def test_a_file_that_nothing_proves_is_not_asked_for_forever(tag: Fault, chunked: bool) -> None:
    with RangeServer({NAME: DATA[LARGE]}) as server:
        server.fault("*", tag, Cut(after=2_500_000, chunked=chunked))
        with pytest.raises(FileUnavailable, match="cut") as caught:
            dataferry.retrieve(server.url_of(NAME), deadline=30, progress=False)
        assert "deadline" not in str(caught.value)
        assert len(server.requests) <= 8


def test_a_file_that_its_tag_proves_goes_on_as_long_as_bytes_come() -> None:
    with RangeServer({NAME: DATA[LARGE]}) as server:
        server.fault("*", Cut(after=400_000))
        path = dataferry.retrieve(server.url_of(NAME), progress=False)
        assert Path(path).read_bytes() == DATA[LARGE]
        assert len(server.requests) == 8


class WithoutEnd(Fault):
    """All bytes come, in chunks or without any length, and then nothing: neither the end nor a closed connection."""

    def __init__(self, chunked: bool) -> None:
        self.chunked = chunked

    def response(self, response: Response, request: Request) -> Response:
        size = int(response.headers["Content-Length"])
        return replace(response.without("Content-Length"), chunked=self.chunked, cut=size, ending="stall")


ENDS = {
    "cut": Cut(after=LARGE, chunked=True),
    "chunks": WithoutEnd(chunked=True),
    "no length": WithoutEnd(chunked=False),
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("end", ENDS)
def test_right_bytes_without_an_end(end: str, size: int, tmp_path: Path) -> None:
    """The size is registered: what comes behind the last byte is not waited for."""
    with ExitStack() as stack:
        server = served(stack, DATA[size], IgnoresRange(), ENDS[end])
        here, errors = fetch(tmp_path, {"a": (server,)}, DATA[size])
        assert here == {"a": DATA[size]}, errors
        assert len(server.requests) == 1


def test_wrong_bytes_without_an_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bad = served(stack, DATA[LARGE], IgnoresRange(), OtherFile(), ENDS["cut"])
        here, errors = fetch(tmp_path, {"a": (bad, served(stack, DATA[LARGE]))}, DATA[LARGE])
    assert here == {"a": DATA[LARGE]}, errors


class BadChunks(Fault):
    """A chunk whose length is no number, as after a proxy that takes bytes out."""

    def response(self, response: Response, request: Request) -> Response:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return replace(response, head=b"", pieces=[head + b"-4\r\ndata\r\n0\r\n\r\n"], chunked=False)


def test_chunks_that_are_none_are_named() -> None:
    with RangeServer({NAME: DATA[SMALL]}) as server:
        server.fault("*", BadChunks())
        with pytest.raises(FileUnavailable, match="the chunks of the body are not those of HTTP: chunk hex"):
            dataferry.retrieve(server.url_of(NAME), progress=False)


@pytest.mark.parametrize("line", ["404 Gone fishing", "404"])
def test_the_words_of_a_status_are_the_servers(line: str, make_package: Any) -> None:
    """RFC 9112 lets a server leave them out."""
    with RangeServer({"a.bin": b"data"}) as server:
        server.fault("*", Garbage(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode()))
        data = PackageData(make_package({"a.bin": b"data"}, head=f'dataurl = "{server.url}"'), show_progress=False)
        with pytest.raises(FileUnavailable, match=rf"a\.bin: answered {line}: not there"):
            data.get("a.bin")
