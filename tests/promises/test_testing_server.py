"""Every fault of RangeServer: what is on the wire."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from dataferry import testing
from dataferry.testing import faults

DATA = bytes(range(256)) * 400
SIZE = len(DATA)


@pytest.fixture
def server() -> Iterator[testing.RangeServer]:
    with testing.RangeServer({"maps/a.fits": DATA, "b.fits": DATA[::-1]}) as server:
        yield server


def wire(server: testing.RangeServer, stays: int | None = None, **headers: str) -> tuple[bytes, bytes, str]:
    """One GET on a raw socket: the head, what follows, and how it ended ("end", "reset" or "open").

    ``stays`` is after how many bytes nothing is to come on a connection that is left open: only then a short wait says
    "open", with -1 before any byte.
    """
    lines = [f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items()]
    text, ending = b"", "end"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(f"GET /maps/a.fits HTTP/1.1\r\nHost: x\r\n{''.join(lines)}\r\n".encode())
        try:
            while True:
                _, end, follows = text.partition(b"\r\n\r\n")
                if stays is not None and (stays < 0 or (end and len(follows) >= stays)):
                    sock.settimeout(0.3)
                if not (data := sock.recv(1 << 20)):
                    break
                text += data
        except ConnectionResetError:
            ending = "reset"
        except TimeoutError:
            ending = "open"
    head, _, body = text.partition(b"\r\n\r\n")
    return head, body, ending


def get(server: testing.RangeServer, path: str = "/maps/a.fits", **headers: str) -> tuple[int, Any, bytes]:
    """One GET by http.client, which checks the form: status, headers, body."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def whole(server: testing.RangeServer) -> bool:
    """True if the server answers as it should."""
    status, headers, body = get(server, Range="bytes=0-")
    return (status, headers["Content-Range"], body) == (206, f"bytes 0-{SIZE - 1}/{SIZE}", DATA)


def test_every_fault_is_tabled_and_tested() -> None:
    names = set(faults.__all__) - {"Fault", "login_page"}
    assert faults.__doc__ is not None
    assert all(f"\n`{name}` " in faults.__doc__ for name in names)
    assert names | {"Fault"} <= set(testing.__all__)
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f"testing.{name}(" in text for name in names)


@pytest.mark.parametrize("after", [0, 1000, SIZE])
def test_reset(server: testing.RangeServer, after: int) -> None:
    server.fault("*", testing.Reset(after))
    head, body, ending = wire(server)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {SIZE}".encode() in head
    assert (body, ending) == (DATA[:after], "reset")
    assert [(r.status, r.sent, r.faults) for r in server.requests] == [(200, after, ("Reset",))]


def test_reset_before_the_status_line(server: testing.RangeServer) -> None:
    server.fault("*", testing.Reset(None))
    assert wire(server) == (b"", b"", "reset")
    assert [(r.status, r.sent) for r in server.requests] == [(None, 0)]


def test_reset_in_a_range(server: testing.RangeServer) -> None:
    server.fault("*", testing.Reset(10))
    head, body, ending = wire(server, Range="bytes=500-999")
    assert head.startswith(b"HTTP/1.1 206 ")
    assert (body, ending) == (DATA[500:510], "reset")


def test_reset_over_tls_and_from_disk(need: Any, tmp_path: Path) -> None:
    need.module("trustme")
    (tmp_path / "a").write_bytes(DATA * 30)
    for tls in (None, "good"):
        with testing.RangeServer(tmp_path, tls=tls) as server:  # type: ignore[arg-type]
            server.fault("a", testing.Reset(2_000_000))
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            text, ending = b"", "end"
            with server.ca.client_context().wrap_socket(raw, server_hostname="127.0.0.1") if server.ca else raw as sock:
                sock.sendall(b"GET /a HTTP/1.1\r\n\r\n")
                try:
                    while data := sock.recv(1 << 16):
                        text += data
                except ConnectionResetError:
                    ending = "reset"
            assert len(text.partition(b"\r\n\r\n")[2]) == 2_000_000
            assert ending == "reset" or tls  # ssl shows a reset as an end


@pytest.mark.parametrize("after", [0, 1000])
def test_cut(server: testing.RangeServer, after: int) -> None:
    server.fault("*", testing.Cut(after))
    head, body, ending = wire(server)
    assert f"Content-Length: {SIZE}".encode() in head
    assert (body, ending) == (DATA[:after], "end")
    with pytest.raises(http.client.IncompleteRead):
        get(server)


def test_cut_before_the_status_line(server: testing.RangeServer) -> None:
    server.fault("*", testing.Cut(None))
    assert wire(server) == (b"", b"", "end")
    with pytest.raises(http.client.RemoteDisconnected):
        get(server)


def test_cut_chunked(server: testing.RangeServer) -> None:
    server.fault("*", testing.Cut(1000, chunked=True))
    head, body, ending = wire(server)
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert (body, ending) == (b"3e8\r\n" + DATA[:1000] + b"\r\n", "end")
    with pytest.raises(http.client.IncompleteRead):
        get(server)


def test_truncated_looks_whole(server: testing.RangeServer) -> None:
    server.fault("*", testing.Truncated(1000))
    for headers in ({}, {"Range": "bytes=5-"}):
        status, got, body = get(server, **headers)
        assert (status, body, got["Content-Length"], got["ETag"]) == (200, DATA[:1000], None, None)
        assert (got["Connection"], got["Transfer-Encoding"], got["Accept-Ranges"]) == ("close", None, None)
    assert wire(server)[2] == "end"


def test_stall(server: testing.RangeServer) -> None:
    server.fault("*", testing.Stall(1000))
    head, body, ending = wire(server, 1000)
    assert f"Content-Length: {SIZE}".encode() in head
    assert (body, ending) == (DATA[:1000], "open")


def test_never_answers(server: testing.RangeServer) -> None:
    server.fault("*", testing.NeverAnswers())
    assert wire(server, -1) == (b"", b"", "open")


def test_stalled_connections_end_with_the_server() -> None:
    with testing.RangeServer({"maps/a.fits": DATA}) as server:
        server.fault("*", testing.Stall(10))
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        sock.sendall(b"GET /maps/a.fits HTTP/1.1\r\n\r\n")
        sock.recv(1)
    with sock:
        while sock.recv(9999):
            pass


def test_trickle(server: testing.RangeServer) -> None:
    server.fault("*", testing.Trickle(100))
    _, body, ending = wire(server, 50, Range="bytes=0-49")
    assert (body, ending) == (DATA[:50], "open")
    began = time.monotonic()
    assert get(server, Range="bytes=0-49")[2] == DATA[:50]
    assert time.monotonic() - began > 0.4


def test_garbage(server: testing.RangeServer) -> None:
    server.fault("*", testing.Garbage())
    head, body, ending = wire(server)
    assert (head[:8], body, ending) == (b"SSH-2.0-", b"", "end")
    with pytest.raises(http.client.BadStatusLine):
        get(server)


def test_header_flood(server: testing.RangeServer) -> None:
    server.fault("*", testing.HeaderFlood(200, 50))
    head, body, _ = wire(server, SIZE)
    assert head.count(b"X-Flood-") == 200
    assert body == DATA
    with pytest.raises(http.client.HTTPException, match="got more than 100 headers"):
        get(server)


@pytest.mark.parametrize("code", [403, 404, 408, 425, 429, 500, 503])
def test_status(server: testing.RangeServer, code: int) -> None:
    server.fault("*", testing.Status(code))
    status, headers, body = get(server, Range="bytes=5-9")
    assert (status, headers["Content-Type"], headers["Retry-After"]) == (code, "text/html", None)
    assert str(code).encode() in body
    assert headers["Connection"] == ("close" if code == 408 else None)


def test_status_with_retry_after(server: testing.RangeServer) -> None:
    server.fault("*", testing.Status(429, retry_after=2))
    assert get(server)[1]["Retry-After"] == "2"
    server.fault("*", testing.Status(503, retry_after=2, as_date=True, body=b"slow down"))
    _, headers, body = get(server)
    assert body == b"slow down"
    assert 2 <= parsedate_to_datetime(headers["Retry-After"]).timestamp() - time.time() + 0.5 <= 4


@pytest.mark.parametrize("code", [200, 202])
def test_empty(server: testing.RangeServer, code: int) -> None:
    server.fault("*", testing.Empty(code))
    status, headers, body = get(server, Range="bytes=5-9")
    assert (status, headers["Content-Length"], body) == (code, "0", b"")


def test_flaky_counts_each_path(server: testing.RangeServer) -> None:
    server.fault("*", testing.Flaky(2, testing.Reset(100)))
    assert wire(server)[2] == "reset"
    for path in ("/b.fits", "/b.fits"):
        with pytest.raises(ConnectionResetError):
            get(server, path)
    assert wire(server)[2] == "reset"
    assert whole(server)
    assert get(server, "/b.fits")[2] == DATA[::-1]


def test_login_page(server: testing.RangeServer) -> None:
    server.fault("*", testing.LoginPage())
    status, headers, body = get(server, Range="bytes=5-9")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (headers["ETag"], headers["Content-Range"]) == (None, None)
    assert body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_to(server: testing.RangeServer, code: int) -> None:
    server.fault("maps/*", testing.RedirectTo("http://localhost:9/mirror/", code))
    server.fault("b.fits", testing.RedirectTo("/maps/a.fits", code))
    status, headers, _ = get(server, "/maps/a.fits?version=2")
    assert (status, headers["Location"]) == (code, "http://localhost:9/mirror/maps/a.fits?version=2")
    assert get(server, "/b.fits")[1]["Location"] == "/maps/a.fits"


def test_redirect_loop(server: testing.RangeServer) -> None:
    server.fault("maps/*", testing.RedirectLoop())
    server.fault("b.fits", testing.RedirectLoop(growing=True))
    assert (get(server)[0], get(server)[1]["Location"]) == (302, "/maps/a.fits")
    assert [get(server, "/b.fits")[1]["Location"] for _ in range(2)] == ["/b.fits?hop=1", "/b.fits?hop=2"]


def test_redirect_to_login(server: testing.RangeServer) -> None:
    server.fault("maps/*", testing.RedirectToLogin())
    status, headers, _ = get(server)
    assert (status, headers["Location"]) == (302, "/login?next=/maps/a.fits")
    status, headers, body = get(server, headers["Location"])
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Sign in" in body


def test_ignores_range(server: testing.RangeServer) -> None:
    server.fault("*", testing.IgnoresRange())
    status, headers, body = get(server, Range="bytes=5-9")
    assert (status, headers["Content-Range"], headers["Accept-Ranges"], body) == (200, None, None, DATA)


def test_ignores_if_range(server: testing.RangeServer) -> None:
    assert get(server, Range="bytes=5-9", If_Range='"old"')[0] == 200
    server.fault("*", testing.IgnoresIfRange())
    status, _, body = get(server, Range="bytes=5-9", If_Range='"old"')
    assert (status, body) == (206, DATA[5:10])


def test_wrong_content_range(server: testing.RangeServer) -> None:
    for fault, told in (
        (testing.WrongContentRange(), f"bytes 612-711/{SIZE}"),
        (testing.WrongContentRange(0, grow=10), f"bytes 100-199/{SIZE + 10}"),
        (testing.WrongContentRange(missing=True), None),
    ):
        server.fault("*", fault)
        status, headers, body = get(server, Range="bytes=100-199")
        assert (status, headers["Content-Range"], body) == (206, told, DATA[100:200])
        assert get(server)[2] == DATA


def test_other_range(server: testing.RangeServer) -> None:
    server.fault("*", testing.OtherRange(4096))
    status, headers, body = get(server, Range="bytes=5000-5999")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 4096-8191/{SIZE}", DATA[4096:8192])
    assert get(server, Range="bytes=5000-")[2] == DATA[4096:]


def test_other_file(server: testing.RangeServer) -> None:
    good = get(server)[1]
    server.fault("*", testing.OtherFile())
    status, headers, body = get(server)
    assert (status, headers["Content-Length"]) == (200, str(SIZE))
    assert headers["ETag"] != good["ETag"]
    assert all(a != b for a, b in zip(body, DATA, strict=True))
    status, headers, part = get(server, Range="bytes=100-199")
    assert (status, headers["Content-Range"], part) == (206, f"bytes 100-199/{SIZE}", body[100:200])
    server.fault("*", testing.OtherFile(b"something else"))
    assert get(server, Range="bytes=10-")[2] == b"else"


@pytest.mark.parametrize("at", [0, 150, -1])
def test_flipped_byte(server: testing.RangeServer, at: int) -> None:
    good = get(server)[1]
    server.fault("*", testing.FlippedByte(at))
    _, headers, body = get(server)
    assert (headers["ETag"], headers["Content-Length"]) == (good["ETag"], str(SIZE))
    assert [i for i in range(SIZE) if body[i] != DATA[i]] == [at % SIZE]
    for start, stop in ((0, 100), (100, 200), (SIZE - 50, SIZE)):
        assert get(server, Range=f"bytes={start}-{stop - 1}")[2] == body[start:stop]


@pytest.mark.parametrize("by", [-10, 10, -2 * SIZE])
def test_wrong_length(server: testing.RangeServer, by: int) -> None:
    server.fault("*", testing.WrongLength(by))
    expected = (DATA + bytes(max(by, 0)))[: max(0, SIZE + by)]
    status, headers, body = get(server)
    assert (status, headers["Content-Length"], body) == (200, str(len(expected)), expected)
    if by > 0:
        status, headers, part = get(server, Range="bytes=-15")
        assert (status, headers["Content-Range"]) == (206, f"bytes {SIZE - 5}-{SIZE + 9}/{SIZE + 10}")
        assert part == DATA[-5:] + bytes(10)
        assert get(server, Range=f"bytes={SIZE + 5}-")[2] == bytes(5)


def test_wrong_content_length(server: testing.RangeServer) -> None:
    server.fault("*", testing.WrongContentLength(7))
    head, body, ending = wire(server)
    assert f"Content-Length: {SIZE + 7}".encode() in head
    assert (body, ending) == (DATA, "end")
    server.fault("*", testing.WrongContentLength(-7))
    head, body, ending = wire(server, SIZE)
    assert f"Content-Length: {SIZE - 7}".encode() in head
    assert (body, ending) == (DATA, "open")


def test_wrong_etag(server: testing.RangeServer) -> None:
    for etag in ('"wrong"', 'W/"weak"', None):
        server.fault("*", testing.WrongETag(etag))
        assert get(server)[1]["ETag"] == etag
    server.fault("*", testing.WrongETag('W/"weak"'))
    assert get(server, Range="bytes=5-9", If_Range='W/"weak"')[0] == 200


def test_changing_etag(server: testing.RangeServer) -> None:
    server.fault("*", testing.ChangingETag())
    first, second = (get(server)[1]["ETag"] for _ in range(2))
    assert first != second
    assert get(server, Range="bytes=5-9", If_Range=second)[0] == 200


def test_lfs_pointer(server: testing.RangeServer) -> None:
    server.fault("*", testing.LfsPointer())
    status, headers, body = get(server)
    digest = hashlib.sha256(DATA).hexdigest()
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert body.decode() == f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {SIZE}\n"
    assert get(server, Range="bytes=0-6")[2] == b"version"
    assert get(server, Range="bytes=5000-")[0] == 416


def test_gzip_encoding(server: testing.RangeServer) -> None:
    server.fault("*", testing.GzipEncoding())
    status, headers, body = get(server, Range="bytes=5-9", Accept_Encoding="identity")
    assert (status, headers["Content-Encoding"], headers["Transfer-Encoding"]) == (200, "gzip", "chunked")
    assert (headers["Content-Length"], headers["Accept-Ranges"], headers["ETag"][:3]) == (None, None, 'W/"')
    assert gzip.decompress(body) == DATA
    server.fault("*", testing.GzipEncoding("stored"))
    _, headers, body = get(server)
    assert (headers["Content-Encoding"], headers["Content-Length"]) == ("gzip", str(len(body)))
    assert gzip.decompress(body) == DATA
    assert get(server, Range="bytes=5-9")[2] == body[5:10]
    server.fault("*", testing.GzipEncoding("label"))
    _, headers, body = get(server)
    assert (headers["Content-Encoding"], body) == ("gzip", DATA)


def test_rules_newest_first_and_only_for_some_requests(server: testing.RangeServer) -> None:
    base = server.fault("*", testing.Status(500))
    rule = server.fault("maps/*", testing.Status(503), skip=1, first=2)
    assert [get(server)[0] for _ in range(5)] == [500, 503, 503, 500, 500]
    assert (rule.hits, get(server, "/b.fits")[0]) == (5, 500)
    base.off()
    assert whole(server)
    server.fault("*", testing.Status(500))
    server.heal()
    assert whole(server)


def test_faults_work_together(server: testing.RangeServer) -> None:
    server.fault("*", testing.FlippedByte(0), testing.IgnoresRange(), testing.Cut(10))
    head, body, ending = wire(server, Range="bytes=5-9")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert (body, ending) == (b"\xff" + DATA[1:10], "end")
    assert server.requests[0].faults == ("FlippedByte", "IgnoresRange", "Cut")


def test_fault_for_a_missing_file(server: testing.RangeServer) -> None:
    for name in sorted(set(faults.__all__) - {"Fault", "login_page", "RedirectTo", "Stall", "NeverAnswers", "Trickle"}):
        server.fault("none", getattr(testing, name)())
        head, _, _ = wire_of(server, "none")
        assert head[:9] in (b"HTTP/1.1 ", b"SSH-2.0-O", b""), name


def wire_of(server: testing.RangeServer, name: str) -> tuple[bytes, bytes, str]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
        text = b""
        try:
            while data := sock.recv(1 << 20):
                text += data
        except ConnectionResetError:
            pass
    head, _, body = text.partition(b"\r\n\r\n")
    return head, body, ""
