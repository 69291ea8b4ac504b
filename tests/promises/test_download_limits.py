"""Every wait for a server has an end, in whatever phase its answer stops to come; and what is waited for on purpose."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import DATA, NAME, Make, config, get, package_at, sent
from dataferry_test_servers.socks import socks_proxy
from dataferry_test_servers.trickling import BODY, PHASES, TricklingServer

import dataferry
from dataferry.config import Settings
from dataferry.errors import FileUnavailable, Reason, TransferError
from dataferry.hosts.api_client import ApiClient
from dataferry.testing import Fault, RangeServer, RedirectTo, Status

KNOWN = "sha256:" + hashlib.sha256(BODY).hexdigest()


def outcome(server: TricklingServer, good: RangeServer, folder: Path, phase: str, mirror: bool, known: bool) -> Any:
    """The bytes that come, or the reasons why none do."""
    mirrors = [good.url_of("a.bin")] if mirror else []
    name = f"{phase}-{mirror}-{known}.bin"
    try:
        path = dataferry.retrieve(
            server.url(phase),
            KNOWN if known else None,
            name=name,
            mirrors=mirrors,
            folder=folder / name,  # of its own: downloads of the same bytes into one folder wait for each other
            timeout=1,
            progress=False,
        )
    except FileUnavailable as error:
        return {failure.kind for failure in error.failures}
    return Path(path).read_bytes()


@pytest.mark.timeout(180)  # without limits it would be hours
def test_an_answer_that_trickles_in_any_phase_comes_to_an_end(tmp_path: Path) -> None:
    cases = list(product(PHASES, [True, False], [True, False]))
    with RangeServer({"a.bin": BODY}) as good, TricklingServer() as server, ThreadPoolExecutor(len(cases)) as pool:
        results = dict(zip(cases, pool.map(lambda case: outcome(server, good, tmp_path, *case), cases), strict=True))
    for (phase, mirror, known), result in results.items():
        told = (phase, mirror, known, result if isinstance(result, set) else len(result))
        if mirror or phase == "redirect-body" or (phase == "trailer" and known):
            assert result == BODY, told
        else:
            assert result == {Reason.ABSENT if phase == "error-body" else Reason.STALL}, told


@pytest.mark.parametrize("mirror", [True, False])
def test_the_timeout_holds_while_a_connection_is_made(mirror: bool, tmp_path: Path) -> None:
    """The other end takes the connection and never says a word of TLS, as behind some firewalls."""
    with socket.create_server(("127.0.0.1", 0)) as silent, RangeServer({"a.bin": BODY}) as good:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        mirrors = [good.url_of("a.bin")] if mirror else []
        options: dict[str, Any] = {"folder": tmp_path, "timeout": 0.1, "deadline": 8, "progress": False}
        if mirror:
            assert Path(dataferry.retrieve(url, KNOWN, mirrors=mirrors, **options)).read_bytes() == BODY
        else:
            with pytest.raises(FileUnavailable) as caught:
                dataferry.retrieve(url, KNOWN, **options)
            assert {failure.kind for failure in caught.value.failures} == {Reason.TIMEOUT}


def test_a_mirror_takes_over_from_one_that_is_hardly_alive(tmp_path: Path) -> None:
    """300 bytes a second are more than the stall limit, and 17 minutes for this file."""
    with RangeServer({"a.bin": BODY}, rate=300) as slow, RangeServer({"a.bin": BODY}) as fast:
        path = dataferry.retrieve(
            slow.url_of("a.bin"), KNOWN, mirrors=[fast.url_of("a.bin")], deadline=30, progress=False
        )
        assert Path(path).read_bytes() == BODY


@dataclasses.dataclass(frozen=True)
class Answer(Fault):
    """A response with other headers, or another status."""

    headers: tuple[tuple[str, str], ...]
    status: int = 200

    def response(self, response: Any, request: Any) -> Any:
        if self.status != 200:
            response = Status(self.status).response(response, request)
        return dataclasses.replace(response, headers={**response.headers, **dict(self.headers)})


@pytest.mark.parametrize("headers", [{"X-RateLimit-Reset": "1"}, {"Retry-After": "1"}, {"RateLimit-Reset": "1"}])
def test_a_limit_of_requests_is_waited_for(headers: dict[str, str], tmp_path: Path) -> None:
    files = {f"{number}.bin": BODY[number : number + 2000] for number in range(20)}
    with RangeServer(files) as server:
        server.fault("*", Answer(tuple(headers.items()), 429), first=3)
        for name in list(files)[:4]:
            path = dataferry.retrieve(server.url_of(name), folder=tmp_path, progress=False)
            assert Path(path).read_bytes() == files[name]
        refused = [request.at for request in server.requests if request.status == 429]
        after = next(request.at for request in server.requests if request.at > refused[-1])
        assert after - refused[-1] >= 1
        assert len(refused) == 3


class FewAtATime(Fault):
    """At most so many requests a second, as the interfaces of archives allow."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()
        self._times: list[float] = []

    def response(self, response: Any, request: Any) -> Any:
        with self._lock:
            now = time.monotonic()
            self._times = [at for at in self._times if now - at < 1]
            if len(self._times) < self.number:
                self._times.append(now)
                return response
        refused = Status(429).response(response, request)
        return dataclasses.replace(refused, headers={**refused.headers, "X-RateLimit-Reset": "1"})


def test_many_files_arrive_from_a_host_that_limits_requests(make_package: Make) -> None:
    files = {f"{number}.bin": BODY[number : number + 2000] for number in range(60)}
    with RangeServer(files) as server:
        server.fault("*", FewAtATime(15))
        package = make_package(files, head=f'dataurl = "{server.url}"\ntimeout = 30')
        paths = dataferry.PackageData(package, show_progress=False).fetch(deadline=100)
        assert len(paths) == 60


@pytest.mark.parametrize("deadline", [60, None])
def test_a_limit_beyond_the_deadline_is_not_waited_for(deadline: float | None) -> None:
    """Without a deadline nobody waits for an hour either."""
    reset = str(int(time.time()) + 3600)
    with RangeServer({"a.bin": BODY}) as server:
        server.fault("*", Answer((("X-RateLimit-Reset", reset),), 429))
        with pytest.raises(FileUnavailable, match="asks to wait 3[56]"):
            dataferry.retrieve(server.url_of("a.bin"), KNOWN, deadline=deadline, progress=False)


@pytest.mark.parametrize("encoding", ["none", "identity", "None", "utf-8"])
def test_an_encoding_that_means_nothing_is_none(encoding: str) -> None:
    with RangeServer({"a.bin": BODY}) as server:
        server.fault("*", Answer((("Content-Encoding", encoding),)))
        path = dataferry.retrieve(server.url_of("a.bin"), KNOWN, progress=False)
        assert Path(path).read_bytes() == BODY


def test_right_bytes_are_right_whatever_the_encoding_is_called() -> None:
    data = gzip.compress(BODY)
    with RangeServer({"a.bin": data}) as server:
        server.fault("*", Answer((("Content-Encoding", "gzip"),)))
        known = "sha256:" + hashlib.sha256(data).hexdigest()
        assert Path(dataferry.retrieve(server.url_of("a.bin"), known, progress=False)).read_bytes() == data


@pytest.mark.parametrize("location", ["maps/a b.bin", "maps/ä ö.bin", "maps/a%20b.bin", "../maps/a b.bin#part"])
def test_a_redirect_with_raw_blanks_or_umlauts(location: str, make_package: Make) -> None:
    names = dict.fromkeys(("maps/a b.bin", "maps/ä ö.bin"), DATA)
    with RangeServer({**names, NAME: DATA}) as server:
        server.fault(NAME, RedirectTo(server.url + location.encode().decode("latin-1")))
        assert get(package_at(make_package, server)) == DATA
        assert sent(server) >= len(DATA)


@pytest.mark.parametrize("location", ["//[::1", "http://[::1/a", "http://127.0.0.1:0/", "file:///etc/passwd", "//"])
def test_a_redirect_to_what_is_no_url_is_a_failure_of_its_server(location: str, make_package: Make) -> None:
    with RangeServer({NAME: DATA}) as server, RangeServer({NAME: DATA}) as mirror:
        server.fault(NAME, RedirectTo(location))
        assert get(package_at(make_package, server, mirror)) == DATA


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_socks_proxy_is_used(variable: str, scheme: str, make_package: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with RangeServer({NAME: DATA}) as server, socks_proxy() as (port, asked):
        monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        host = "localhost" if scheme == "socks5h" else "127.0.0.1"  # which the proxy resolves, or nobody has to
        base = server.url.replace("127.0.0.1", host)
        assert get(make_package({NAME: DATA}, head=f'dataurl = "{base}"')) == DATA
        assert set(asked) == {host}


def test_deadline_and_timeout_are_those_of_the_user(make_package: Make) -> None:
    with TricklingServer() as server:
        base = server.url("body").removesuffix("body/a.bin")
        package = make_package({"body/a.bin": BODY}, head=f'dataurl = "{base}"\ntimeout = 60')
        with pytest.raises(FileUnavailable, match="deadline of 1 s"):
            dataferry.PackageData(package, show_progress=False).get("body/a.bin", deadline=1)


def test_many_files_from_a_host_that_hangs_after_some(make_package: Make) -> None:
    """Those that came are there, and the others fail soon: a host that hangs is not asked for each file."""
    from dataferry.errors import FetchErrors
    from dataferry.testing import NeverAnswers

    files = {f"{number}.bin": random.Random(number).randbytes(2000) for number in range(100)}
    config('[hosts."127.0.0.1"]\nconnections = 2\n')
    with RangeServer(files) as server:
        server.fault("*", NeverAnswers(), skip=50)
        package = make_package(files, head=f'dataurl = "{server.url}"\ntimeout = 1')
        data = dataferry.PackageData(package, show_progress=False)
        with pytest.raises(FetchErrors) as caught:
            data.fetch(deadline=60)
        assert len(caught.value.paths) == 50
        assert "deadline" not in str(caught.value)


def test_threads_of_a_run_end_with_it(make_package: Make) -> None:
    before = set(threading.enumerate())
    with RangeServer({NAME: DATA}) as server:
        assert get(package_at(make_package, server)) == DATA
        left = [thread.name for thread in set(threading.enumerate()) - before]
        assert [name for name in left if not name.startswith("dataferry-testing")] == []


WITHOUT_PYCURL = """
import sys
sys.modules["pycurl"] = None
import dataferry
try:
    dataferry.retrieve("http://127.0.0.1:9/a.bin", progress=False)
except dataferry.errors.MissingExtra as error:
    print(error)
"""


def test_a_missing_libcurl_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYCURL], capture_output=True, text=True, check=True)
    assert "pip install pycurl" in done.stdout


def test_the_pauses_before_further_attempts_are_shorter_than_the_timeout(
    make_package: Make, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses each connection is not waited for longer than one that never answers."""
    base, timeout = "http://127.0.0.1:9/", 0.4
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(TransferError, match="refused"):
        ApiClient(Settings(), base).call("GET", "x", timeout=timeout)
    assert len(pauses) == 4
    assert sum(pauses) < timeout
    pauses.clear()
    package = make_package({NAME: DATA}, head=f'dataurl = "{base}"\ntimeout = {timeout}')
    assert "refused" in command("check", package).output
    assert sum(sorted(pauses)[:3]) < timeout  # the others are those of questions without this timeout


MEASURED = """
import re, sys, dataferry, dataferry.download.fetch

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read()).group(1)) // 1024

idle = peak()
dataferry.retrieve(sys.argv[1], sys.argv[2], folder=sys.argv[3], progress=False)
print(peak() - idle)
"""


def test_a_slow_disk_fills_no_memory(need: Any, tmp_path: Path) -> None:
    """What arrives while the disk takes something waits at the server, not here."""
    strace, size = need("strace"), 100_000_000
    (tmp_path / "www").mkdir()
    with open(tmp_path / "www" / "a.bin", "wb") as file:
        file.truncate(size)
    digest = hashlib.sha256(bytes(size)).hexdigest()
    delay = ["-e", "trace=pwritev,pwritev2", "-e", "inject=pwritev,pwritev2:delay_enter=20ms"]
    with RangeServer(tmp_path / "www") as server:
        words = [sys.executable, "-c", MEASURED, server.url_of("a.bin"), f"sha256:{digest}", str(tmp_path / "out")]
        command = [strace, "-f", "-qq", "-o", str(tmp_path / "trace"), *delay, *words]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 45
