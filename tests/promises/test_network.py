"""The way over the wire: real servers, proxies, TLS, logins, redirects, and odd answers among many good ones."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from dataferry_test_servers.downloads import RANDOM, Make, cache, config

from dataferry import PackageData
from dataferry.errors import Failure, FetchErrors, FileUnavailable, SettingsError
from dataferry.testing import (
    Cut,
    Flaky,
    Garbage,
    GzipEncoding,
    LoginPage,
    OtherFile,
    RedirectTo,
    Reset,
    Stall,
    Status,
    Truncated,
    WrongContentLength,
    WrongLength,
)

FILES = {
    "a.bin": RANDOM,
    **{f"small/{i}.bin": random.Random(i).randbytes(20_000) for i in range(40)},
}
Serve = Callable[..., Any]
Bring = Callable[..., dict[str, Any]]
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
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


@pytest.fixture
def bring(make_package: Make) -> Bring:
    """Fetch files into an empty cache: the bytes or the error of each, by name."""

    def run(
        url: str,
        *,
        names: tuple[str, ...] = ("a.bin",),
        hosts: Mapping[str, Mapping[str, object]] = {},
        timeout: float = 3,
        files: Mapping[str, bytes] = FILES,
    ) -> dict[str, Any]:
        options = {
            host: [f"{key} = {json.dumps(value)}" for key, value in keys.items()] for host, keys in hosts.items()
        }
        config("\n".join(line for host, lines in options.items() for line in (f'[hosts."{host}"]', *lines)))
        shutil.rmtree(cache())
        cache()
        package = make_package({name: files[name] for name in names}, head=f'dataurl = "{url}"\ntimeout = {timeout}')
        data = PackageData(package, show_progress=False)
        errors: dict[str, Any] = {}
        try:
            paths = dict(zip(names, data.fetch(list(names)), strict=True))
        except FetchErrors as several:
            paths = several.paths
            errors = {error.name: error for error in several.exceptions if isinstance(error, FileUnavailable)}
        return {name: Path(paths[name]).read_bytes() if name in paths else errors[name] for name in names}

    return run


def check(results: Mapping[str, Any]) -> None:
    for name, result in results.items():
        assert result == FILES[name], str(result)[:2000]


def asked(error: FileUnavailable) -> list[Failure]:
    """What servers answered."""
    return [failure for failure in error.failures if failure.place.startswith("http")]


@pytest.mark.parametrize("name", ["nginx", "apache", "caddy", "lighttpd", "python_http"])
def test_real_servers(name: str, bring: Bring, folder: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(name)(folder)
    check(bring(server.url, names=tuple(FILES)))


def test_nginx_with_slow_connections(bring: Bring, folder: Path, nginx: Serve) -> None:
    server = nginx(folder, limit_rate="2m")
    check(bring(server.url))
    server.stop()  # now all is logged
    assert server.log.read_text().count(" 206 ") > 4  # more than one connection


@pytest.mark.parametrize("proxy", ["tinyproxy", "squid"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_with_login(
    proxy: str,
    scheme: str,
    bring: Bring,
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
    check(bring(server.url, names=names))
    monkeypatch.setenv(f"{scheme}_proxy", f"http://ada:wrong@127.0.0.1:{through.port}")
    [result] = bring(server.url).values()
    assert "407" in str(result) or "the proxy" in str(result) or "401" in str(result)  # tinyproxy says 401
    assert "wrong" not in str(result)
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    check(bring(server.url))


def test_a_proxy_that_is_down_is_named(bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://ada:secret@127.0.0.1:9")
    [result] = bring("http://example.org/").values()
    assert "127.0.0.1:9" in str(result)
    assert "secret" not in str(result)


@pytest.mark.parametrize(
    "password", ["s3cr/et", "12/34", "s3cr?et", "s3cr#et", "[s3cr", "s3://cr", "s3cr et", "s3cr\n12", "é34"]
)
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_an_error_for_a_login_that_breaks_the_url_of_a_proxy_does_not_have_it(
    variable: str,
    password: str,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    server = serve({"a.bin": FILES["a.bin"]})
    monkeypatch.setenv(variable, f"http://ada:{password}@127.0.0.1:3128")
    with pytest.raises(SettingsError, match=f"^{variable} is not http://HOST:PORT .*%2F") as caught:
        bring(server.url)
    assert not {"ada", "s3cr", "12", "34", "et"} & set(re.split(r"\W+", str(caught.value)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    check(bring(server.url))


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["ftp", "gopher"])
def test_what_speaks_no_http_is_no_proxy(
    variable: str,
    scheme: str,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    server = serve({"a.bin": FILES["a.bin"]})
    monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{server.port}")
    with pytest.raises(SettingsError, match=f"^{variable} .*http"):
        bring(server.url)
    assert not server.requests


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ca_bundle"])
def test_own_authority(
    how: str,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    server = serve({"a.bin": FILES["a.bin"]}, tls="good")
    [result] = bring(server.url).values()
    assert "not trusted" in str(result)
    hosts: dict[str, dict[str, object]] = {}
    if how == "ca_bundle":
        hosts["127.0.0.1"] = {"ca_bundle": str(server.ca.pem)}
    else:
        monkeypatch.setenv(how, str(server.ca.pem))
    check(bring(server.url, hosts=hosts))


def test_a_bundle_without_certificates_is_named(
    bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    server = serve({"a.bin": FILES["a.bin"]}, tls="good")
    hosts: dict[str, dict[str, object]] = {"127.0.0.1": {"ca_bundle": str(server.ca.pem)}}
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))  # as OpenSSL, which passes over it
    check(bring(server.url, hosts=hosts))
    (tmp_path / "ca.der").write_bytes(b"\x30\x82\x01\x0a")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.der"))
    with pytest.raises(SettingsError, match="REQUESTS_CA_BUNDLE names .*ca.der.* it contains no PEM certificate"):
        bring(server.url, hosts=hosts)


@pytest.mark.parametrize("how", ["SSL_CERT_DIR", "several", "ca_bundle"])
def test_an_authority_in_a_folder_whose_name_is_not_ascii(
    how: str,
    bring: Bring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
    need: Any,
) -> None:
    server = serve({"a.bin": FILES["a.bin"]}, tls="good")
    home = tmp_path / "jürgen"
    home.mkdir()
    bundle = Path(shutil.copy(server.ca.pem, home / "ca.pem"))
    if how == "ca_bundle":
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))  # as OpenSSL, which passes over it
        check(bring(server.url, hosts={"127.0.0.1": {"ca_bundle": str(bundle)}}))
        [result] = bring(server.url, hosts={"127.0.0.1": {"client_cert": str(home / "no.pem")}}).values()
        assert "jürgen/no.pem" in str(result)
    else:
        subprocess.run([need("openssl"), "rehash", home], check=True)
        folders = [str(home)] if how == "SSL_CERT_DIR" else [str(tmp_path / "none"), str(tmp_path), str(home)]
        monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(folders))
        check(bring(server.url))


@pytest.mark.parametrize("tls", ["bad-name", "expired"])
def test_bad_certificates(
    tls: str,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    server = serve({"a.bin": FILES["a.bin"]}, tls=tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca.pem))
    [result] = bring(server.url).values()
    assert "certificate" in str(result)
    assert len(asked(result)) == 1


def test_a_bundle_that_is_not_there(bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no.pem"))
    with pytest.raises(SettingsError, match="REQUESTS_CA_BUNDLE"):
        bring("https://127.0.0.1:9/")


def test_logins(bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    server = serve({"a.bin": FILES["a.bin"]}, basic=("ada", "s:cret"), bearer="t0ken")
    host = f"127.0.0.1:{server.port}"
    [result] = bring(server.url).values()
    assert "401" in str(result)
    assert "netrc" in str(result)
    check(bring(server.url.replace("//", "//ada:s%3Acret@")))
    for options in ({"token": "t0ken"}, {"user": "ada", "password": "s:cret"}):
        check(bring(server.url, hosts={host: options}))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s:cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    check(bring(server.url))
    other = serve({"a.bin": b""})
    other.fault("*", RedirectTo(server.url_of("a.bin")))
    [result] = bring(other.url).values()
    assert "answered 401" in str(result)  # .netrc is for the place that was asked for
    [result] = bring(server.url, hosts={host: {"token": "t0ken\nX-More: 1"}}).values()
    assert "not legal" in str(result)


def test_a_login_stays_with_its_host(bring: Bring, serve: Serve) -> None:
    other = serve({"a.bin": FILES["a.bin"]})
    first = serve({"a.bin": FILES["a.bin"]})
    first.fault("*", RedirectTo(other.url_of("a.bin")))
    hosts = {f"127.0.0.1:{first.port}": {"token": "t0ken"}}
    check(bring(first.url, hosts=hosts))
    assert all(request.headers["authorization"] == "Bearer t0ken" for request in first.requests)
    assert not any("authorization" in request.headers for request in other.requests)
    assert len(first.requests) == 1


def test_a_redirect_never_leads_out_of_tls(
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    plain = serve({"a.bin": FILES["a.bin"]}, host="127.0.0.2")  # which nobody calls loopback
    secure = serve({"a.bin": FILES["a.bin"]}, tls="good")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca.pem))
    plain_url = plain.url
    login = {name: {"token": "t0ken"} for name in ("127.0.0.1", "127.0.0.2")}
    check(bring(plain_url))  # there is a way
    plain.forget()
    secure.fault("*", RedirectTo(plain_url))
    [result] = bring(secure.url, hosts=login).values()
    assert isinstance(result, FileUnavailable)
    assert "redirects from https to http://127.0.0.2" in str(result)
    assert [failure.kind for failure in asked(result)] == ["redirect"]
    assert len(secure.requests) == 1
    assert not plain.requests


def test_secrets_are_not_printed(bring: Bring, serve: Serve) -> None:
    server = serve({})
    [result] = bring(server.url.replace("//", "//ada:s3cr3t@")).values()
    assert isinstance(result, FileUnavailable)
    assert "s3cr3t" not in str(result)
    assert "404" in str(result)


def test_it_says_who_it_is(bring: Bring, serve: Serve) -> None:
    server = serve({"a.bin": FILES["a.bin"]})
    check(bring(server.url))
    headers = server.requests[0].headers
    assert headers["user-agent"].startswith("dataferry/")
    assert headers["accept-encoding"] == "identity"


def test_a_rate_is_kept(bring: Bring, serve: Serve) -> None:
    server = serve(FILES)
    names = tuple(name for name in FILES if name.startswith("small/"))
    options = {"rate": 1_000_000, "connections": 1}
    check(bring(server.url, names=names, hosts={"127.0.0.1": options}))
    began, before = server.requests[0].at, 0
    ahead = 16 * 20_000 + 200_000  # requests that are sent before the answers, and a short burst
    for asked in server.requests:
        assert before <= options["rate"] * (asked.at - began) + ahead
        before += asked.sent
    assert before > ahead  # so that there was something to hold back


def test_a_server_that_closes_kept_connections(bring: Bring, folder: Path, nginx: Serve) -> None:
    server = nginx(folder, extra="keepalive_requests 3;")
    check(bring(server.url, names=tuple(FILES)))


ODD = {
    3: (Status(404), "404"),
    7: (Truncated(40_000), ""),  # no length: read to its end
    11: (Truncated(100), "registered"),
    15: (OtherFile(), "sha256"),
    19: (WrongLength(5), "registered"),
    23: (GzipEncoding(), "encoded"),
    27: (Cut(after=5_000), "cut"),
    31: (LoginPage(), "HTML"),
    35: (Flaky(times=1, fault=Reset(after=3_000)), ""),
    39: (Garbage(), "HTTP"),
    43: (WrongContentLength(10), "registered|cut"),
    47: (Flaky(times=1, fault=Status(503)), ""),
    51: (Stall(after=6_000), "nothing came|bytes/s"),
}


@pytest.mark.parametrize("tls", [None, "good"])
def test_odd_answers_among_many_small_files(
    tls: str | None,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
) -> None:
    files = {f"{i}.bin": random.Random(i).randbytes(20_000 + i) for i in range(200)}
    server, other = serve(files, tls=tls), serve(files)
    if tls:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca.pem))
    else:
        for number in (55, 56, 57):
            server.fault(f"{number}.bin", RedirectTo(other.url_of(f"{number}.bin")))
    for number, (fault, _) in ODD.items():
        server.fault(f"{number}.bin", fault)
    results = bring(server.url, names=tuple(files), timeout=2, files=files)
    for number, (name, result) in enumerate(results.items()):
        words = ODD.get(number, (None, ""))[1]
        if words:
            assert isinstance(result, FileUnavailable), number
            assert re.search(words, str(result)), str(result)
        else:
            assert result == files[name]
