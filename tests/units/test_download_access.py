"""The way over the wire: real servers, proxies, TLS, logins, redirects; and what lies on disk meanwhile."""

from __future__ import annotations

import hashlib
import os
import random
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import RANDOM

from dataferry import testing
from dataferry.config import Settings
from dataferry.download.fetch import Arrived, Wanted, fetch
from dataferry.download.host_limiter import HostLimiter
from dataferry.download.partial_file import PartialFile, stale_partials
from dataferry.download.segments import Ranges
from dataferry.errors import FileUnavailable, SettingsError
from dataferry.files import put_content
from dataferry.hosts.base import Source
from dataferry.testing import RedirectTo
from dataferry.testing.fixtures import range_server  # noqa: F401

FILES = {
    "a.bin": RANDOM,
    **{f"small/{i}.bin": random.Random(i).randbytes(20_000) for i in range(40)},
}
Serve = Callable[..., Any]
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.download.host_limiter.backoff", lambda *_: 0.02)
    for name in (*PROXY_VARIABLES, "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("www")
    place.chmod(0o755)
    (place / "small").mkdir()
    for name, data in FILES.items():
        (place / name).write_bytes(data)
    return place


def bring(
    place: Path,
    *urls: str,
    settings: Settings | None = None,
    names: tuple[str, ...] = ("a.bin",),
    stall_timeout: float = 3,
) -> list[Any]:
    out = place / "cache"
    out.mkdir(exist_ok=True)
    wanted = [
        Wanted(
            name,
            urls[0] + name,
            len(FILES[name]),
            hashlib.sha256(FILES[name]).hexdigest(),
            tuple(Source(url + name, url) for url in urls),
        )
        for name in names
    ]
    return list(
        fetch(
            wanted,
            find=lambda _: None,
            store=lambda item, content: put_content(content, out / item.name.replace("/", "-")),
            workdir=place / "incoming",
            settings=settings or Settings(),
            connect_timeout=3,
            stall_timeout=stall_timeout,
            progress=False,
        )
    )


def check(results: list[Any]) -> None:
    for result in results:
        assert isinstance(result, Arrived), str(result)
        assert result.path.read_bytes() == FILES[result.wanted.name]


@pytest.mark.parametrize("name", ["nginx", "apache", "caddy", "lighttpd", "python_http"])
def test_real_servers(name: str, tmp_path: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(name)(folder)
    check(bring(tmp_path, server.url, names=tuple(FILES)))


def test_nginx_with_slow_connections(tmp_path: Path, folder: Path, nginx: Serve) -> None:
    server = nginx(folder, limit_rate="2m")
    check(bring(tmp_path, server.url))
    server.stop()  # now all is logged
    assert server.log.read_text().count(" 206 ") > 4  # more than one connection


@pytest.mark.parametrize("proxy", ["tinyproxy", "squid"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_with_login(
    proxy: str,
    scheme: str,
    tmp_path: Path,
    folder: Path,
    nginx: Serve,
    tls_ca: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = nginx(folder, tls=scheme == "https")
    through = request.getfixturevalue(proxy)(("ada", "secret9"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_ca.pem))
    names = ("a.bin", "small/1.bin", "small/2.bin")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://ada:%73ecret9@127.0.0.1:{through.port}")
    check(bring(tmp_path, server.url, names=names))
    monkeypatch.setenv(f"{scheme}_proxy", f"http://ada:wrong@127.0.0.1:{through.port}")
    (result,) = bring(tmp_path, server.url)
    assert "407" in str(result) or "the proxy" in str(result) or "401" in str(result)  # tinyproxy says 401
    assert "wrong" not in str(result)
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    check(bring(tmp_path, server.url))


def test_a_proxy_that_is_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://ada:secret@127.0.0.1:9")
    (result,) = bring(tmp_path, "http://example.org/")
    assert "127.0.0.1:9" in str(result)
    assert "secret" not in str(result)


@pytest.mark.parametrize("password", ["s3cr/et", "12/34", "s3cr?et", "s3cr#et", "[s3cr", "s3://cr"])
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_login_that_breaks_the_url_of_a_proxy_is_told_without_it(
    variable: str,
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": FILES["a.bin"]})
    monkeypatch.setenv(variable, f"http://ada:{password}@127.0.0.1:3128")
    with pytest.raises(SettingsError, match=f"^{variable} is not http://HOST:PORT .*%2F") as caught:
        bring(tmp_path, server.url)
    assert not {"ada", "s3cr", "12", "34", "et"} & set(re.split(r"\W+", str(caught.value)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    check(bring(tmp_path, server.url))


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["ftp", "gopher"])
def test_what_speaks_no_http_is_no_proxy(
    variable: str,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": FILES["a.bin"]})
    monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{server.port}")
    with pytest.raises(SettingsError, match=f"^{variable} .*http"):
        bring(tmp_path, server.url)
    assert not server.requests


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ca_bundle"])
def test_own_authority(
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": FILES["a.bin"]}, tls="good")
    (result,) = bring(tmp_path, server.url)
    assert "not trusted" in str(result)
    settings = Settings()
    if how == "ca_bundle":
        settings.hosts["127.0.0.1"] = {"ca_bundle": str(server.ca.pem)}
    else:
        monkeypatch.setenv(how, str(server.ca.pem))
    check(bring(tmp_path, server.url, settings=settings))


@pytest.mark.parametrize("tls", ["bad-name", "expired"])
def test_bad_certificates(
    tls: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    server = range_server({"a.bin": FILES["a.bin"]}, tls=tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca.pem))
    (result,) = bring(tmp_path, server.url)
    assert "certificate" in str(result)
    assert len(result.tried) == 1


def test_a_bundle_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no.pem"))
    with pytest.raises(SettingsError, match="REQUESTS_CA_BUNDLE"):
        bring(tmp_path, "https://127.0.0.1:9/")


def test_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": FILES["a.bin"]}, basic=("ada", "s:cret"), bearer="t0ken")
    host = f"127.0.0.1:{server.port}"
    (result,) = bring(tmp_path, server.url)
    assert "401" in str(result)
    assert "netrc" in str(result)
    check(bring(tmp_path, server.url.replace("//", "//ada:s%3Acret@")))
    for options in ({"token": "t0ken"}, {"user": "ada", "password": "s:cret"}):
        check(bring(tmp_path, server.url, settings=Settings(hosts={host: options})))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s:cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    check(bring(tmp_path, server.url))


def test_a_login_stays_with_its_host(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    other = range_server({"a.bin": FILES["a.bin"]})
    first = range_server({"a.bin": FILES["a.bin"]})
    first.fault("*", RedirectTo(other.url_of("a.bin")))
    settings = Settings(hosts={f"127.0.0.1:{first.port}": {"token": "t0ken"}})
    check(bring(tmp_path, first.url, settings=settings))
    assert all(request.headers["authorization"] == "Bearer t0ken" for request in first.requests)
    assert not any("authorization" in request.headers for request in other.requests)
    assert len(first.requests) == 1


def test_a_redirect_never_leads_out_of_tls(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    plain = range_server({"a.bin": FILES["a.bin"]}, host="127.0.0.2")  # which nobody calls loopback
    secure = range_server({"a.bin": FILES["a.bin"]}, tls="good")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca.pem))
    plain_url = plain.url
    login = Settings(hosts={name: {"token": "t0ken"} for name in ("127.0.0.1", "127.0.0.2")})
    check(bring(tmp_path, plain_url))  # there is a way
    plain.forget()
    secure.fault("*", RedirectTo(plain_url))
    (result,) = bring(tmp_path, secure.url, settings=login)
    assert isinstance(result, FileUnavailable)
    assert "redirects from https to http://127.0.0.2" in str(result)
    assert [failure.kind for failure in result.failures] == ["redirect"]
    assert len(secure.requests) == 1
    assert not plain.requests


def test_secrets_are_not_shown(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({})
    (result,) = bring(tmp_path, server.url.replace("//", "//ada:secret@"))
    assert isinstance(result, FileUnavailable)
    assert "secret" not in str(result)
    assert "404" in str(result)


def test_it_says_who_it_is(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server({"a.bin": FILES["a.bin"]})
    check(bring(tmp_path, server.url))
    headers = server.requests[0].headers
    assert headers["user-agent"].startswith("dataferry/")
    assert headers["accept-encoding"] == "identity"


def test_a_rate_is_kept(tmp_path: Path, range_server: Serve) -> None:  # noqa: F811
    server = range_server(FILES)
    names = tuple(name for name in FILES if name.startswith("small/"))
    options = {"rate": 1_000_000, "connections": 1}
    check(bring(tmp_path, server.url, names=names, settings=Settings(hosts={"127.0.0.1": options})))
    began, before = server.requests[0].at, 0
    ahead = 16 * 20_000 + 200_000  # requests that are sent before the answers, and a short burst
    for asked in server.requests:
        assert before <= options["rate"] * (asked.at - began) + ahead
        before += asked.sent
    assert before > ahead  # so that there was something to hold back


def grown(rate_of: Callable[[int], float], limit: int = 64) -> tuple[int, int]:
    """The most connections that a host gets which sends so much over so many, and how many it has in the end."""
    host = HostLimiter("host", limit)
    host.round_trip, now, most = 0.001, 100.0, 1
    for _ in range(60):
        host.active = host.target
        most = max(most, host.target)
        host.bytes += int(0.05 * rate_of(host.active))
        now += 0.05
        host.measure(now)
    return most, host.target


def test_connections_grow_as_long_as_they_pay() -> None:
    assert grown(lambda count: 1e6 * count) == (64, 64)
    assert grown(lambda count: 1e6 * count, limit=5) == (5, 5)
    assert grown(lambda count: 1e7) == (6, 1)  # it gives no more, however many ask
    assert grown(lambda count: 1e6 * min(count, 4)) == (36, 6)


def test_a_server_that_closes_kept_connections(tmp_path: Path, folder: Path, nginx: Serve) -> None:
    server = nginx(folder, extra="keepalive_requests 3;")
    check(bring(tmp_path, server.url, names=tuple(FILES)))


ODD = {
    3: (testing.Status(404), "404"),
    7: (testing.Truncated(40_000), ""),  # no length: read to its end
    11: (testing.Truncated(100), "registered"),
    15: (testing.OtherFile(), "sha256"),
    19: (testing.WrongLength(5), "registered"),
    23: (testing.GzipEncoding(), "encoded"),
    27: (testing.Cut(after=5_000), "cut"),
    31: (testing.LoginPage(), "HTML"),
    35: (testing.Flaky(times=1, fault=testing.Reset(after=3_000)), ""),
    39: (testing.Garbage(), "HTTP"),
    43: (testing.WrongContentLength(10), "registered|cut"),
    47: (testing.Flaky(times=1, fault=testing.Status(503)), ""),
    51: (testing.Stall(after=6_000), "nothing came|bytes/s"),
}


@pytest.mark.parametrize("tls", [None, "good"])
def test_odd_answers_among_many_small_files(
    tls: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    range_server: Serve,  # noqa: F811
) -> None:
    files = {f"{i}.bin": random.Random(i).randbytes(20_000 + i) for i in range(200)}
    monkeypatch.setattr(sys.modules[__name__], "FILES", files)
    server, other = range_server(files, tls=tls), range_server(files)
    if tls:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca.pem))
    else:
        for number in (55, 56, 57):
            server.fault(f"{number}.bin", RedirectTo(other.url_of(f"{number}.bin")))
    for number, (fault, _) in ODD.items():
        server.fault(f"{number}.bin", fault)
    results = bring(tmp_path, server.url, names=tuple(files), stall_timeout=2)
    for number, result in enumerate(results):
        words = ODD.get(number, (None, ""))[1]
        if words:
            assert isinstance(result, FileUnavailable), number
            assert re.search(words, str(result)), str(result)
        else:
            check([result])


def test_a_read_only_place_is_named(tmp_path: Path, need: Any) -> None:
    from dataferry.errors import CacheError

    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(CacheError, match="ASTROPY_CACHE_DIR"):
        fetch(
            [Wanted("a", "http://127.0.0.1:9/a", None, None, (Source("http://127.0.0.1:9/a", "x"),))],
            find=lambda _: None,
            store=lambda _, content: Path("never"),
            workdir=place / "incoming",
            settings=Settings(),
            progress=False,
        )


def test_ranges() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        ranges, truth = Ranges(), set()
        for _ in range(dice.randrange(12)):
            start = dice.randrange(40)
            stop = start + dice.randrange(12)
            ranges.add(start, stop)
            truth |= set(range(start, stop))
        missing = [i for a, b in ranges.missing(40) for i in range(a, b)]
        assert missing == sorted(set(range(40)) - truth)
        assert ranges.total() == len(truth)
        assert ranges.prefix() == next(i for i in range(99) if i not in truth)


def test_a_partial_is_adopted_once(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "a.bin")
    partial.write(10, [b"x" * 20])
    partial.keep()
    opened: list[PartialFile] = []
    threads = [
        threading.Thread(target=lambda: opened.append(PartialFile.open(tmp_path, "ab" * 32, 100))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.resumed for p in opened) == [0] * 7 + [20]
    for partial in opened:
        partial.discard()


def test_a_torn_journal_claims_nothing(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "a.bin")
    partial.write(0, [b"x" * 20])
    partial.keep()
    with (tmp_path / ("ab" * 32) / "ranges").open("ab") as journal:
        journal.write(b"20 9")
    again = PartialFile.open(tmp_path, "ab" * 32, 100)
    assert again.ranges.total() == 20
    again.discard()


def test_old_partials_are_listed_and_cleared(tmp_path: Path) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 100, "maps/a.bin")
    partial.write(0, [b"x" * 20])
    assert stale_partials(tmp_path) == []  # in use
    partial.keep()
    (old,) = stale_partials(tmp_path)
    assert (old.name, old.have, old.size) == ("maps/a.bin", 20, 100)
    assert stale_partials(tmp_path, older_than_days=1) == []
    os.utime(old.path / "ranges", (0, 0))
    assert [item.name for item in stale_partials(tmp_path, older_than_days=1)] == ["maps/a.bin"]


def test_transport_needs_no_astropy() -> None:
    import subprocess
    import sys

    code = "import sys, dataferry.download.fetch; print({'astropy', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_reserved_space_that_was_not_needed_is_given_back(tmp_path: Path, need: Any) -> None:
    partial = PartialFile.open(tmp_path, "ab" * 32, 64_000_000, "a.bin")
    partial.reserve()
    need.that("fallocate", partial.path.stat().st_blocks * 512 >= 64_000_000, "this file system reserves nothing")
    partial.write(20_000_000, [b"x" * 1_000_000])
    partial.keep()
    again = PartialFile.open(tmp_path, "ab" * 32, 64_000_000)
    assert again.ranges.total() == 1_000_000
    assert again.path.stat().st_blocks * 512 < 2_000_000
    assert again.path.read_bytes()[20_000_000:21_000_000] == b"x" * 1_000_000
    again.discard()
