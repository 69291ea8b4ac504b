"""Which of several hosts is asked: one that refuses is left alone, and what only it has is asked for there."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import RANDOM, Make, config

from dataferry import PackageData
from dataferry.errors import FetchErrors, FileUnavailable, Offline
from dataferry.testing import (
    Empty,
    Fault,
    Garbage,
    LfsPointer,
    LoginPage,
    NeverAnswers,
    OtherFile,
    RangeServer,
    Reset,
    Stall,
    Status,
    Trickle,
    WrongContentLength,
)

MB = 1_000_000
SMALL = {f"{i}.bin": random.Random(i).randbytes(20_000) for i in range(100)}
LARGE = {f"{i}.bin": RANDOM[i * MB : (i + 2) * MB] for i in range(12)}


Serve = Callable[..., RangeServer]


def files_at(make_package: Make, files: Mapping[str, bytes], *servers: RangeServer, timeout: float = 1) -> PackageData:
    first, *mirrors = (server.url for server in servers)
    head = f'dataurl = "{first}"\nmirrors = {mirrors!r}\ntimeout = {timeout}'
    return PackageData(make_package(files, head=head), show_progress=False)


def all_right(data: PackageData, files: Mapping[str, bytes]) -> bool:
    paths = data.fetch(list(files), deadline=90)
    return [Path(path).read_bytes() for path in paths] == list(files.values())


def asked_for(server: RangeServer) -> set[str]:
    return {request.name for request in server.requests}


REFUSALS: dict[str, Fault] = {
    "401": Status(401),
    "403": Status(403),
    "500": Status(500),
    "503": Status(503),
    "empty": Empty(),
    "login page": LoginPage(),
    "lfs pointer": LfsPointer(),
    "reset": Reset(after=None),
    "garbage": Garbage(),
    "never answers": NeverAnswers(),
}


@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_host_that_refuses_is_not_asked_for_each_file(
    refusal: str, files: dict[str, bytes], make_package: Make, serve: Serve
) -> None:
    bad, good = serve(files), serve(files)
    bad.fault("*", REFUSALS[refusal])
    assert all_right(files_at(make_package, files, bad, good), files)
    assert len(bad.requests) <= 10


def test_a_host_that_trickles_is_not_asked_for_each_file(make_package: Make, serve: Serve) -> None:
    bad, good = serve(SMALL), serve(SMALL)
    bad.fault("*", Trickle())
    assert all_right(files_at(make_package, SMALL, bad, good), SMALL)
    assert len(bad.requests) <= 10


def test_a_host_that_begins_to_refuse(make_package: Make, serve: Serve) -> None:
    bad, good = serve(SMALL), serve(SMALL)
    bad.fault("*", Status(502), skip=30)
    config(f'[hosts."127.0.0.1:{bad.port}"]\nconnections = 1\n')
    assert all_right(files_at(make_package, SMALL, bad, good), SMALL)
    assert 30 < len(bad.requests) < 60


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("order", ["in turn", "first"])
def test_a_host_that_has_some_of_the_files_is_asked_for_all(
    order: str, status: int, make_package: Make, serve: Serve
) -> None:
    first, second = serve(SMALL), serve(SMALL)
    names = list(SMALL)
    lacks = names[::3] if order == "in turn" else names[: 50 if status == 404 else 3]
    for name in lacks:
        first.fault(name, Status(status))
    assert all_right(files_at(make_package, SMALL, first, second), SMALL)
    assert asked_for(first) == set(SMALL)
    assert asked_for(second) == set(lacks)


def test_a_host_that_refused_is_asked_for_what_only_it_has(make_package: Make, serve: Serve) -> None:
    bad, good = serve(SMALL), serve(SMALL)
    only = list(SMALL)[60:]
    bad.fault("*", Status(500), first=12)
    for name in only:
        good.fault(name, Status(404))
    assert all_right(files_at(make_package, SMALL, bad, good), SMALL)
    assert set(only) <= asked_for(bad)


def test_a_host_that_always_hangs_is_given_up(make_package: Make, serve: Serve) -> None:
    server = serve(SMALL)
    server.fault("*", NeverAnswers())
    with pytest.raises(FetchErrors) as caught:
        files_at(make_package, SMALL, server).fetch(deadline=90)
    texts = [str(error) for error in caught.value.exceptions]
    assert len(texts) == len(SMALL)
    assert all("no answer" in text for text in texts)
    assert not any("deadline" in text for text in texts)
    assert sum("not asked, its host failed before" in text for text in texts) > 50


def test_one_failure_does_not_stop_the_others(make_package: Make, serve: Serve) -> None:
    server = serve(SMALL)
    server.fault("7.bin", Status(404))
    server.fault("9.bin", OtherFile())
    with pytest.raises(FetchErrors) as caught:
        files_at(make_package, SMALL, server).fetch()
    errors = {error.name: str(error) for error in caught.value.exceptions if isinstance(error, FileUnavailable)}
    assert set(errors) == {"7.bin", "9.bin"}
    assert "404" in errors["7.bin"] and "sha256" in errors["9.bin"]
    assert set(caught.value.paths) == set(SMALL) - set(errors)


def test_a_dead_host_is_not_asked_for_each_file(make_package: Make, serve: Serve) -> None:
    dead, alive = serve(SMALL), serve(SMALL)
    data = files_at(make_package, SMALL, dead, alive)
    dead.stop()
    alive.stop()
    with pytest.raises(FetchErrors) as caught:
        data.fetch()
    texts = [str(error) for error in caught.value.exceptions]
    assert "refused" in texts[-1]
    assert sum("not asked" in text for text in texts) > 90
    alive.start()
    assert all_right(data, SMALL)


def test_a_mirror_that_is_switched_off_in_mid_file(make_package: Make, serve: Serve) -> None:
    files = {"a.bin": RANDOM}
    one, two = serve(files), serve(files)
    one.fault("*", Stall(after=3 * MB))  # so that it cannot give all of the file before it goes
    config('[hosts."127.0.0.1"]\nconnections = 2\n')

    def switch_off(progress: Any) -> None:
        if progress.done_bytes > 2 * MB:
            one.stop()

    data = files_at(make_package, files, one, two, timeout=60)
    [path] = data.fetch(progress=switch_off)
    assert Path(path).read_bytes() == RANDOM
    sent = [sum(request.sent for request in server.requests) for server in (one, two)]
    assert sent[0] > 2 * MB and sent[1] >= len(RANDOM) - sent[0]
    assert data.arrivals["a.bin"].moved_bytes < 1.01 * len(RANDOM)


def test_an_unknown_host_counts_as_offline(make_package: Make) -> None:
    data = PackageData(make_package({"a": b"abc"}, head='dataurl = "http://no-such-host.invalid/"'))
    with pytest.raises(Offline, match="not known"):
        data.get("a")


class Whole(Fault):
    """A server without ranges and without lengths: a body ends with its connection."""

    ignored = ("range",)

    def response(self, response: Any, request: Any) -> Any:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        return dataclasses.replace(response, head=head, ending="close")


@pytest.mark.parametrize("good", ["ranges", "whole"])
@pytest.mark.parametrize("after", [0, 1_500_000])
def test_an_old_version_at_one_mirror_does_not_spoil_the_other(
    after: int, good: str, tmp_path: Path, make_package: Make, serve: Serve
) -> None:
    """Where the registry has no size, what one server says of it is no reason to refuse another one."""
    old, other = serve({"a.bin": RANDOM[: 5 * MB]}), serve({"a.bin": RANDOM[MB : 4 * MB]})
    old.fault("*", Reset(after=after))
    if good == "whole":
        other.fault("*", Whole())
    files = {"a.bin": RANDOM[MB : 4 * MB]}
    data = files_at(make_package, files, old, other)
    registry = tmp_path / "packages" / data.package / "data" / "dataferry.toml"
    registry.write_text(registry.read_text().replace(f"size = {3 * MB}\n", ""))
    assert all_right(data, files)


@pytest.mark.parametrize("length", [10**15, 2**63 + 5, 10**30])
def test_what_a_server_announces_does_not_end_the_run(
    length: int, tmp_path: Path, make_package: Make, serve: Serve
) -> None:
    files = {"a.bin": RANDOM[: 3 * MB], "b.bin": RANDOM[:MB]}
    liar, other = serve(files), serve(files)
    liar.fault("a.bin", WrongContentLength(length))
    data = files_at(make_package, files, liar, other)
    registry = tmp_path / "packages" / data.package / "data" / "dataferry.toml"
    registry.write_text(registry.read_text().replace(f"size = {3 * MB}\n", ""))
    assert all_right(data, files)
