"""RangeServer without faults: the same answers as nginx, files, logins, TLS, speed limits, log, threads."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dataferry.testing import CertificateAuthority, RangeServer, Trickle

DATA = bytes(range(256)) * 1000
STAMP = 1_700_000_000
NAMES = {"maps/dust 064+ü#.fits": DATA, "empty.dat": b"", "one.dat": b"1"}

DUST = "/maps/dust%20064%2B%C3%BC%23.fits"
SAME = ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges", "Content-Encoding")

REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    ("GET", DUST, {}),
    ("HEAD", DUST, {}),
    ("GET", "/empty.dat", {}),
    ("GET", "/empty.dat", {"Range": "bytes=0-"}),
    ("GET", "/empty.dat", {"Range": "bytes=-1"}),
    ("GET", "/one.dat", {"Range": "bytes=0-0"}),
    ("GET", "/no/such.dat", {}),
    ("GET", "/no/such.dat", {"Range": "bytes=0-9"}),
    ("GET", "/one.dat?version=2", {}),
    *(
        (method, DUST, {"Range": value})
        for method in ("GET", "HEAD")
        for value in (
            "bytes=0-0",
            "bytes=0-",
            "bytes=1000-1999",
            "bytes=255999-",
            "bytes=255999-256000",
            "bytes=200000-999999999",
            "bytes=256000-",
            "bytes=300000-400000",
            "bytes=-1",
            "bytes=-1000",
            "bytes=-0",
            "bytes=-9999999",
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "BYTES=0-9",
            "bytes= 0 - 9 ",
            "lines=0-9",
            "0-9",
        )
    ),
    *(
        ("GET", DUST, headers)
        for headers in (
            {"If-None-Match": "{etag}"},
            {"If-None-Match": 'W/"x", {etag}'},
            {"If-None-Match": "W/{etag}"},
            {"If-None-Match": "*"},
            {"If-None-Match": '"other"'},
            {"If-None-Match": "{etag}", "Range": "bytes=0-9"},
            {"If-Modified-Since": "{date}"},
            {"If-Modified-Since": "{old}"},
            {"If-Modified-Since": "not a date"},
            {"If-Match": "{etag}"},
            {"If-Match": '"other"'},
            {"If-Match": "*"},
            {"If-Unmodified-Since": "{date}"},
            {"If-Unmodified-Since": "{old}"},
            {"If-Range": "{etag}", "Range": "bytes=10-19"},
            {"If-Range": "W/{etag}", "Range": "bytes=10-19"},
            {"If-Range": '"other"', "Range": "bytes=10-19"},
            {"If-Range": "{date}", "Range": "bytes=10-19"},
            {"If-Range": "{old}", "Range": "bytes=10-19"},
            {"If-Range": "nonsense", "Range": "bytes=10-19"},
            {"If-Range": "{etag}", "Range": "bytes=256000-"},
            {"If-Range": '"other"', "Range": "bytes=256000-"},
        )
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "maps").mkdir()
    for name, data in NAMES.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (STAMP, STAMP))
    return folder


@pytest.fixture(scope="module")
def twins(folder: Path, nginx: Callable[..., Any]) -> Iterator[tuple[int, int]]:
    """The ports of a RangeServer and of nginx over the same folder."""
    with RangeServer(folder) as server:
        yield server.port, nginx(folder).port


def ask(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[Any, ...]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    kept = {key: response.headers[key] for key in SAME}
    if response.status not in (200, 206):  # the page of an error is each server's own
        kept["Content-Length"], body = None, b""
    return response.status, kept, body


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS, ids=lambda value: str(value)[:60])
def test_same_answer_as_nginx(method: str, path: str, headers: dict[str, str], twins: tuple[int, int]) -> None:
    ours, real = twins
    etag = f'"{STAMP:x}-{len(DATA):x}"'
    filled = {
        key: value.replace("{etag}", etag)
        .replace("{date}", "Tue, 14 Nov 2023 22:13:20 GMT")
        .replace("{old}", "Mon, 13 Nov 2023 22:13:20 GMT")
        for key, value in headers.items()
    }
    assert ask(ours, method, path, filled) == ask(real, method, path, filled)


def test_connection_is_kept(folder: Path) -> None:
    with RangeServer(folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for path, headers in (("/one.dat", {}), ("/none", {}), (DUST, {"Range": "bytes=999999-"}), (DUST, {})):
            connection.request("GET", path, headers=headers)
            connection.getresponse().read()
        connection.request("HEAD", DUST)
        connection.getresponse().read()
        connection.close()
        assert server.connections == 1
        assert [(r.method, r.name, r.range, r.status, r.connection) for r in server.requests] == [
            ("GET", "one.dat", None, 200, 1),
            ("GET", "none", None, 404, 1),
            ("GET", "maps/dust 064+ü#.fits", "bytes=999999-", 416, 1),
            ("GET", "maps/dust 064+ü#.fits", None, 200, 1),
            ("HEAD", "maps/dust 064+ü#.fits", None, 200, 1),
        ]
        assert [r.sent for r in server.requests][3:] == [len(DATA), 0]
        server.forget()
        assert server.requests == []


def test_pipelined_and_old_clients(folder: Path) -> None:
    with RangeServer(folder) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"GET /one.dat HTTP/1.1\r\nHost: x\r\n\r\nGET /one.dat HTTP/1.0\r\n\r\n")
            text = read_all(sock)
        assert text.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert text.endswith(b"Connection: close\r\n\r\n1")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"what is this\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_other_methods_are_refused() -> None:
    with RangeServer({"a": b"1"}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("PUT", "/a", b"2")
        response = connection.getresponse()
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        connection.close()


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/maps", "/maps/", "/", "/maps//a", "/a%00b"])
def test_nothing_but_files_below_the_folder(path: str, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    with RangeServer(folder) as server:
        assert ask(server.port, "GET", path, {})[0] == 404


def test_mapping_holds_bytes_and_paths_and_may_change(folder: Path) -> None:
    files: dict[str, Any] = {"a.fits": b"old", "big.fits": folder / "maps/dust 064+ü#.fits"}
    with RangeServer(files) as server:
        before = ask(server.port, "GET", "/a.fits", {})
        assert ask(server.port, "GET", "/big.fits", {"Range": "bytes=-4"})[2] == DATA[-4:]
        files["a.fits"] = b"new"
        after = ask(server.port, "GET", "/a.fits", {"If-None-Match": before[1]["ETag"]})
        assert (before[2], after[0], after[2]) == (b"old", 200, b"new")
        del files["a.fits"]
        assert ask(server.port, "GET", "/a.fits", {})[0] == 404


def test_url_of_quotes_names() -> None:
    with RangeServer(NAMES) as server:
        assert server.url_of("maps/dust 064+ü#.fits") == f"http://127.0.0.1:{server.port}{DUST}"


def test_logins() -> None:
    with RangeServer({"a": b"1"}, basic=("ann", "pass:word"), bearer="t0ken") as server:
        for login, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer t0ken"}, 200),
            ({"Authorization": "Basic YW5uOnBhc3M6d29yZA=="}, 200),
        ):
            assert ask(server.port, "GET", "/a", login)[0] == status
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/a")
        assert connection.getresponse().headers["WWW-Authenticate"] == 'Bearer realm="data", Basic realm="data"'
        connection.close()


def get_tls(port: int, context: ssl.SSLContext) -> bytes:
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)) as connection:
        connection.request("GET", "/a")
        return connection.getresponse().read()


def test_tls(need: Any, tmp_path: Path) -> None:
    need.module("trustme")
    (tmp_path / "a").write_bytes(DATA)
    with RangeServer(tmp_path, tls="good") as server:
        assert server.ca is not None
        assert server.url.startswith("https://")
        assert get_tls(server.port, server.ca.client_context()) == DATA
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            get_tls(server.port, ssl.create_default_context())
    for kind, reason in (("bad-name", "not valid for '127.0.0.1'"), ("expired", "certificate has expired")):
        with RangeServer(tmp_path, tls=kind) as server:  # type: ignore[arg-type]
            assert server.ca is not None
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                get_tls(server.port, server.ca.client_context())
            assert server.requests == []


def test_tls_with_a_context_of_ones_own(need: Any) -> None:
    need.module("trustme")
    ca = CertificateAuthority()
    with RangeServer({"a": b"1"}, tls=ca.server_context("127.0.0.1")) as server:
        assert get_tls(server.port, ca.client_context()) == b"1"
        # a client that speaks no TLS is sent away
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server.port, "GET", "/a", {})


def test_missing_trustme_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from dataferry.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dataferry\[test\]'"):
        RangeServer({}, tls="good")


def test_rate_and_delay() -> None:
    with RangeServer({"a": DATA}, rate=1_000_000, delay=0.1) as server:
        began = time.monotonic()
        assert ask(server.port, "GET", "/a", {})[2] == DATA
        assert time.monotonic() - began > 0.35  # two delays and 256 kB
    with RangeServer({"a": DATA}, rate=10) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/a")
        assert connection.getresponse().read(3) == DATA[:3]
        connection.close()


def test_many_connections_at_once() -> None:
    with RangeServer({"a": DATA}, delay=0.05) as server:
        answers: list[Any] = []
        ask_one = lambda: answers.append(ask(server.port, "GET", "/a", {})[2] == DATA)  # noqa: E731
        threads = [threading.Thread(target=ask_one) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 64
        assert server.connections == 64


def test_threads_are_named_and_gone_at_the_end() -> None:
    before = set(threading.enumerate())
    with RangeServer({"a": DATA}, rate=10) as server:
        idle, busy = (socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(2))
        busy.sendall(b"GET /a HTTP/1.1\r\n\r\n")
        busy.recv(10)
        ours = set(threading.enumerate()) - before
        assert len(ours) == 3
        assert all(thread.name.startswith(f"dataferry-testing-{server.port}") for thread in ours)
    assert not set(threading.enumerate()) - before  # those of earlier tests may end meanwhile
    idle.close()
    busy.close()


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(9999), b""))


def test_down_and_up_again() -> None:
    with RangeServer({"a": DATA}) as server:
        url = server.url
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"HEAD /a HTTP/1.1\r\n\r\n")
            sock.recv(9999)
            server.stop()
            assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=10)
        server.start()
        assert server.url == url
        assert ask(server.port, "GET", "/a", {})[2] == DATA
        for slow in (False, True):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            if slow:
                server.fault("a", Trickle(10))
                sock.sendall(b"GET /a HTTP/1.1\r\n\r\n")
                sock.recv(1)
            server.stop(reset=True)
            with sock, pytest.raises(ConnectionResetError):
                read_all(sock)
            server.start()


def test_taken_port_is_an_error() -> None:
    with RangeServer({}) as server, pytest.raises(OSError, match=r"(?i)address already in use"):
        RangeServer({}, port=server.port).start()
