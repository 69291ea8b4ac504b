"""Which of several hosts is asked: one that refuses is left alone, a slow one loses the rest to a faster one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import RANDOM

from dataferry import testing
from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.errors import FileUnavailable
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import Fault, RangeServer
from dataferry.testing.fixtures import range_server  # noqa: F401

MB = 1_000_000
SMALL = {f"{i}.bin": random.Random(i).randbytes(20_000) for i in range(100)}
LARGE = {f"{i}.bin": RANDOM[i * MB : (i + 2) * MB] for i in range(12)}
Serve = Callable[..., RangeServer]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)


def bring(place: Path, files: Mapping[str, bytes], *servers: RangeServer, **options: Any) -> list[Any]:
    out = place / "cache"
    out.mkdir()
    wanted = [
        Wanted(
            name,
            servers[0].url_of(name),
            len(data),
            hashlib.sha256(data).hexdigest(),
            tuple(Source(server.url_of(name), server.url) for server in servers),
        )
        for name, data in files.items()
    ]
    options = {"stall_timeout": 1, "progress": False, "settings": Settings()} | options
    return list(
        fetch(
            wanted,
            find=lambda _: None,
            store=lambda item, content: put_content(content, out / item.name),
            workdir=place / "incoming",
            **options,
        )
    )


def all_right(results: list[Any], files: Mapping[str, bytes]) -> bool:
    assert not [str(result) for result in results if not isinstance(result, Arrived)]
    return [result.path.read_bytes() for result in results] == list(files.values())


def asked_for(server: RangeServer) -> set[str]:
    return {request.name for request in server.requests}


REFUSALS: dict[str, Fault] = {
    "401": testing.Status(401),
    "403": testing.Status(403),
    "500": testing.Status(500),
    "503": testing.Status(503),
    "empty": testing.Empty(),
    "login page": testing.LoginPage(),
    "lfs pointer": testing.LfsPointer(),
    "reset": testing.Reset(after=None),
    "garbage": testing.Garbage(),
    "never answers": testing.NeverAnswers(),
}


@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_host_that_refuses_is_not_asked_for_each_file(
    refusal: str,
    files: dict[str, bytes],
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    bad, good = range_server(files), range_server(files)
    bad.fault("*", REFUSALS[refusal])
    assert all_right(bring(tmp_path, files, bad, good, deadline=90), files)
    assert len(bad.requests) <= 10


def test_a_host_that_trickles_is_not_asked_for_each_file(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    bad, good = range_server(SMALL), range_server(SMALL)
    bad.fault("*", testing.Trickle())
    assert all_right(bring(tmp_path, SMALL, bad, good, deadline=90), SMALL)
    assert len(bad.requests) <= 10


def test_a_host_that_begins_to_refuse(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    bad, good = range_server(SMALL), range_server(SMALL)
    bad.fault("*", testing.Status(502), skip=30)
    settings = Settings(hosts={f"127.0.0.1:{bad.port}": {"connections": 1}})
    assert all_right(bring(tmp_path, SMALL, bad, good, settings=settings), SMALL)
    assert 30 < len(bad.requests) < 60  # several are asked for at once over each connection


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("order", ["in turn", "first"])
def test_a_host_that_has_some_of_the_files_is_asked_for_all(
    order: str,
    status: int,
    tmp_path: Path,
    range_server: Serve,  # noqa: F811
) -> None:
    first, second = range_server(SMALL), range_server(SMALL)
    names = list(SMALL)
    lacks = names[::3] if order == "in turn" else names[: 50 if status == 404 else 3]
    for name in lacks:
        first.fault(name, testing.Status(status))
    assert all_right(bring(tmp_path, SMALL, first, second), SMALL)
    assert asked_for(first) == set(SMALL)
    assert asked_for(second) == set(lacks)


def test_a_host_that_refused_is_asked_for_what_only_it_has(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    bad, good = range_server(SMALL), range_server(SMALL)
    only = list(SMALL)[60:]
    bad.fault("*", testing.Status(500), first=12)
    for name in only:
        good.fault(name, testing.Status(404))
    assert all_right(bring(tmp_path, SMALL, bad, good), SMALL)
    assert set(only) <= asked_for(bad)


def test_a_host_that_always_hangs_is_given_up(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(SMALL)
    server.fault("*", testing.NeverAnswers())
    results = bring(tmp_path, SMALL, server, stall_timeout=0.3, deadline=90)
    assert all(isinstance(result, FileUnavailable) and "no answer" in str(result) for result in results)
    assert not any("deadline" in str(result) for result in results)
    assert sum("not asked, its host failed before" in str(result) for result in results) > 50


def test_a_slow_host_loses_the_rest_to_a_faster_one(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    files = {"a.bin": random.Random(1).randbytes(8 * MB)}
    slow, fast = range_server(files, rate=MB // 2), range_server(files)
    settings = Settings(hosts={f"127.0.0.1:{slow.port}": {"connections": 1}})
    (result,) = bring(tmp_path, files, slow, fast, settings=settings)
    assert all_right([result], files)
    assert sum(request.sent for request in slow.requests) < 4 * MB < sum(request.sent for request in fast.requests)
    assert result.moved_bytes < 1.1 * 8 * MB
