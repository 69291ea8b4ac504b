"""The HTTP interface of a provider, against a small server that answers as it is told to."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dataferry.config import Settings
from dataferry.errors import HostRefused, SettingsError, TransferError
from dataferry.hosts.api_client import ApiClient, FileBody

Answer = tuple[int, dict[str, str], bytes]


class Provider:
    """Answers each path with the next of its answers, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                provider.asked.append((self.command, self.path, headers, body))
                answers = provider.answers[self.path.partition("?")[0]]
                status, sent, told = answers.pop(0) if len(answers) > 1 else answers[0]
                if status == 0:  # cut
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(told)), **sent}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = do_PUT = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def says(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield provider
    provider.server.shutdown()
    thread.join()
    provider.server.server_close()


@pytest.fixture
def service(provider: Provider) -> ApiClient:
    return ApiClient(Settings(), provider.url + "api/", headers={"Authorization": "Bearer s3cret"})


OK: Answer = (200, {}, b'{"id": 7}')
AGAIN: Answer = (503, {"Retry-After": "0"}, b"")


def test_json_goes_and_comes(provider: Provider, service: ApiClient) -> None:
    provider.says("/api/articles", OK)
    assert service.call("POST", "articles", json={"title": "Σ"}, query={"page": 2}).json() == {"id": 7}
    method, path, headers, body = provider.asked[0]
    assert (method, path) == ("POST", "/api/articles?page=2")
    assert json.loads(body) == {"title": "Σ"}
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["user-agent"].startswith("dataferry/")


def test_the_token_stays_with_its_host(provider: Provider, service: ApiClient) -> None:
    other = Provider()
    thread = threading.Thread(target=other.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        other.says("/file", OK)
        provider.says("/api/file", (302, {"Location": other.url + "file"}, b""))
        service.call("GET", "file")
        service.call("GET", other.url + "file")
    finally:
        other.server.shutdown()
        thread.join()
        other.server.server_close()
    assert len(other.asked) == 2
    assert not any("authorization" in headers for _, _, headers, _ in other.asked)


def test_a_part_of_a_file_is_read_again_for_a_retry(provider: Provider, service: ApiClient, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    provider.says("/api/part", AGAIN, (0, {}, b""), OK)
    moved: list[int] = []
    with FileBody(tmp_path / "file", 100_000, 150_000, moved.append) as body:
        service.call("PUT", "part", body=body)
    assert [asked[3] for asked in provider.asked] == [data[100_000:250_000]] * 3
    assert sum(moved) == 150_000


@pytest.mark.parametrize(("method", "status", "tries"), [("GET", 500, 2), ("POST", 500, 1), ("POST", 429, 2)])
def test_only_what_does_no_harm_is_sent_twice(
    provider: Provider, service: ApiClient, method: str, status: int, tries: int
) -> None:
    provider.says("/api/x", (status, {}, b'{"message": "not now"}'), OK)
    if tries == 1:
        with pytest.raises(HostRefused, match="HTTP 500: not now"):
            service.call(method, "x")
    else:
        service.call(method, "x")
    assert len(provider.asked) == tries


def test_a_limit_is_no_answer_even_where_its_status_would_be_one(provider: Provider, service: ApiClient) -> None:
    provider.says("/api/x", (403, {"Retry-After": "0"}, b'{"message": "too fast"}'), OK)
    assert service.call("GET", "x", accept={403}).status == 200
    provider.says("/api/y", (403, {}, b'{"message": "not yours"}'))
    assert service.call("GET", "y", accept={403}).status == 403


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message": "Validation Failed", "errors": [{"code": "already_exists"}]}', "already_exists"),
        (b'{"code": "QuotaExceeded", "message": "no room"}', "no room"),
        (b"plain words", "plain words"),
        (b"<html>a page</html>", ""),
    ],
)
def test_the_message_of_the_provider_is_in_the_error(
    provider: Provider, service: ApiClient, body: bytes, said: str
) -> None:
    provider.says("/api/x", (422, {}, body))
    with pytest.raises(HostRefused) as caught:
        service.call("POST", "x?token=hidden")
    assert caught.value.status == 422
    assert said in caught.value.message
    assert "html" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert service.call("POST", "x", accept={422}).status == 422


def test_no_json_and_no_server_are_errors(provider: Provider, service: ApiClient) -> None:
    provider.says("/api/x", (200, {}, b"<html>"))
    with pytest.raises(TransferError, match="not JSON"):
        service.call("GET", "x").json()
    with pytest.raises(TransferError, match="GET http://127.0.0.1:9/x: ") as caught:
        ApiClient(Settings(), "http://127.0.0.1:9/").call("GET", "x")
    assert caught.value.kind == "connect"


def test_it_goes_through_the_users_proxy(
    provider: Provider, tinyproxy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = tinyproxy(login=("ann", "pass-word"))
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:pass%2Dword@127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    provider.says("/api/x", OK)
    service = ApiClient(Settings(), provider.url + "api/")
    assert service.call("GET", "x").status == 200
    assert "via" in provider.asked[0][2]


def test_a_proxy_of_another_protocol_is_named(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://ada:secret@127.0.0.1:1080")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(SettingsError, match="^http_proxy .*socks5h"):
        ApiClient(Settings(), provider.url).call("GET", "x")


def test_an_answer_has_a_longest_length(provider: Provider, service: ApiClient) -> None:
    bomb = gzip.compress(b"0" * 3_000_000)
    provider.says("/api/long", (200, {}, b"0" * 200_000))
    provider.says("/api/bomb", (200, {"Content-Encoding": "gzip"}, bomb))
    provider.says("/api/gzip", (200, {"Content-Encoding": "gzip"}, gzip.compress(b"{}")))
    for path in ("long", "bomb"):
        with pytest.raises(TransferError, match="longer than 100000 bytes"):
            service.call("GET", path, max_bytes=100_000)
    assert len(bomb) < 100_000
    assert service.call("GET", "gzip", max_bytes=100_000).json() == {}


def test_own_roots_are_trusted(nginx: Callable[..., Any], tls_ca: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    server = nginx(tmp_path, tls=True)
    with pytest.raises(TransferError, match="not trusted"):
        ApiClient(Settings(), server.url).call("GET", "x")
    settings = Settings(hosts={"127.0.0.1": {"ca_bundle": str(tls_ca.pem)}})
    service = ApiClient(settings, server.url)
    assert service.call("GET", "x").json() == {}
