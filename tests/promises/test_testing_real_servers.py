"""The fixtures of real servers and proxies: each starts, and serves a part of a file."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest

from dataferry.testing import CertificateAuthority, RangeServer

DATA = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "maps").mkdir()
    (folder / "maps/a b.fits").write_bytes(DATA)
    return folder


def ask(url: str, *, proxy: str = "", ca: CertificateAuthority | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a GET, by urllib."""
    tls = HTTPSHandler(context=ca.client_context() if ca else ssl.create_default_context())
    opener = build_opener(ProxyHandler({"http": proxy, "https": proxy} if proxy else {}), tls)
    request = Request(url, headers={key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize("kind", ["nginx", "apache", "caddy", "lighttpd"])
def test_web_server_gives_a_range(kind: str, folder: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(kind)(folder)
    status, headers, body = ask(f"{server.url}maps/a%20b.fits", Range="bytes=1000-1999")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 1000-1999/{len(DATA)}", DATA[1000:2000])
    assert headers["ETag"]
    server.stop()
    assert "/maps/a" in server.log.read_text()


def test_python_http_server_knows_no_range(python_http: Callable[..., Any], folder: Path) -> None:
    status, headers, body = ask(f"{python_http(folder).url}maps/a%20b.fits", Range="bytes=1000-1999")
    assert (status, headers["ETag"], body) == (200, None, DATA)


def test_nginx_options(nginx: Callable[..., Any], tls_ca: CertificateAuthority, folder: Path) -> None:
    server = nginx(folder, autoindex="json", basic=("ann", "pass:word"), tls=True, http2=True)
    assert server.url.startswith("https://")
    assert ask(server.url, ca=tls_ca)[0] == 401
    login = "Basic " + base64.b64encode(b"ann:pass:word").decode()
    assert [entry["name"] for entry in json.loads(ask(server.url, ca=tls_ca, Authorization=login)[2])] == ["maps"]
    slow = nginx(folder, limit_rate="100k")
    began = time.monotonic()
    assert ask(f"{slow.url}maps/a%20b.fits")[2] == DATA
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("kind", ["tinyproxy", "squid"])
@pytest.mark.parametrize("tls", [None, "good"])
def test_proxy_wants_a_login_and_passes_ranges(kind: str, tls: Any, request: pytest.FixtureRequest) -> None:
    proxy = request.getfixturevalue(kind)(("ann", "secret"))
    with RangeServer({"a.fits": DATA}, tls=tls) as server:
        if tls is None:
            assert ask(server.url_of("a.fits"), proxy=proxy.url)[0] == 407
        else:
            with pytest.raises(OSError, match="407"):
                ask(server.url_of("a.fits"), proxy=proxy.url, ca=server.ca)
        known = proxy.url.replace("//", "//ann:secret@")
        status, _, body = ask(server.url_of("a.fits"), proxy=known, ca=server.ca, Range="bytes=5-9")
        assert (status, body) == (206, DATA[5:10])
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["tinyproxy", "squid"])
def test_proxy_without_a_login(kind: str, request: pytest.FixtureRequest) -> None:
    proxy = request.getfixturevalue(kind)()
    with RangeServer({"a.fits": DATA}) as server:
        assert ask(server.url_of("a.fits"), proxy=proxy.url)[2] == DATA


def test_delay_proxy_adds_a_round_trip(
    delay_proxy: Callable[..., Any], nginx: Callable[..., Any], folder: Path
) -> None:
    link = delay_proxy(nginx(folder).url, delay=0.2)
    began = time.monotonic()
    assert ask(f"{link.url}maps/a%20b.fits")[2] == DATA
    assert time.monotonic() - began > 0.4  # one for the connection, one for the request


def test_delay_proxy_passes_a_reset(delay_proxy: Callable[..., Any]) -> None:
    from dataferry.testing import Reset

    with RangeServer({"a.fits": DATA}) as server:
        link = delay_proxy(server.url)
        server.fault("*", Reset(1000))
        with pytest.raises(ConnectionResetError):
            ask(f"{link.url}a.fits")
