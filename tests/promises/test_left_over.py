"""Bytes that a server sends behind an answer are never the end of the next file on the same connection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from dataferry_test_servers.downloads import config

from dataferry import PackageData
from dataferry.errors import FileUnavailable
from dataferry.testing import Fault, RangeServer, Status

FILES = {f"{number}.bin": random.Random(number).randbytes(20_000) for number in range(6)} | {
    "large.bin": random.Random(7).randbytes(3_000_000)
}
LEFT_OVER = {
    "another size": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    "another file": b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + FILES["0.bin"],
    "no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n",
    "a page": b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n<html><body>log in</body>\r\n",
    "a pointer": b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\nversion https://git-lfs.github.com/spec/v1\n",
    "not there": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "not allowed": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "a range": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-5/6\r\nContent-Length: 6\r\n\r\npoison",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: /none.bin\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"poison\r\n\r\n",
}


class LateBytes(Fault):
    """Each connection but for its first answer has such bytes in front of the right answer, as if they came late."""

    def __init__(self, late: bytes) -> None:
        self.late = late
        self.seen: set[int] = set()

    def response(self, response: Any, request: Any) -> Any:
        if request.connection not in self.seen:
            self.seen.add(request.connection)
            return response
        return dataclasses.replace(response, head=self.late, pieces=[])


@pytest.fixture(autouse=True)
def _one_connection(home: Path) -> None:
    config('[hosts."127.0.0.1"]\nconnections = 1\n')


@pytest.mark.parametrize("late", LEFT_OVER)
def test_registered_files_are_asked_for_again(late: str, make_package: Callable[..., str]) -> None:
    with RangeServer(FILES) as server:
        server.fault("*", LateBytes(LEFT_OVER[late]))
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        paths = PackageData(package, show_progress=False).fetch()
        assert {Path(path).name: Path(path).read_bytes() for path in paths} == FILES


@pytest.mark.parametrize("size", [True, False])
def test_another_file_is_an_error(size: bool, tmp_path: Path, make_package: Callable[..., str]) -> None:
    with RangeServer({**FILES, "3.bin": b"other"}) as server:
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        if not size:
            registry = tmp_path / "packages" / package / "data" / "dataferry.toml"
            registry.write_text(re.sub(r"size = \d+\n", "", registry.read_text()))
        data = PackageData(package, show_progress=False)
        for name in ("1.bin", "2.bin"):
            data.get(name)
        with pytest.raises(FileUnavailable, match="registered"):
            data.get("3.bin")
        assert len([request for request in server.requests if request.name == "3.bin"]) <= 3


def test_what_a_host_does_not_have_is_asked_for_once(make_package: Callable[..., str]) -> None:
    files = {f"{number}.bin": b"x" * 100 for number in range(50)}
    with RangeServer(files) as server, RangeServer(files) as mirror:
        server.fault("*", Status(404))
        head = f'dataurl = "{server.url}"\nmirrors = ["{mirror.url}"]'
        assert len(PackageData(make_package(files, head=head), show_progress=False).fetch()) == 50
        assert len(server.requests) <= 51


@pytest.mark.parametrize("late", LEFT_OVER)
def test_an_interface_is_asked_again(
    late: str, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RangeServer(FILES) as downloads:
        asset = {"id": 7, "name": "1.bin", "url": downloads.url_of("1.bin"), "state": "uploaded", "size": 20_000}
        release = {"id": 5, "tag_name": "v1", "draft": False, "upload_url": "https://h/", "html_url": "https://h/"}
        answers = {"tags/v1": release, "5/assets": [asset]}
        found = {f"api/v3/repos/o/r/releases/{path}": json.dumps(answer).encode() for path, answer in answers.items()}
        with RangeServer(found) as server:
            server.fault("api/*", LateBytes(LEFT_OVER[late]))
            monkeypatch.setenv("GH_HOST", server.url.removeprefix("http://").rstrip("/"))
            monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "secret")
            files = {"1.bin": hashlib.sha256(FILES["1.bin"]).hexdigest()}
            mirrors = [f"github-release:o/r@v1?server={server.url.rstrip('/')}"]
            data = PackageData(make_package({}), files=files, mirrors=mirrors, show_progress=False)
            assert Path(data.get("1.bin")).read_bytes() == FILES["1.bin"]


@pytest.mark.parametrize("late", LEFT_OVER)
def test_check_asks_again(late: str, make_package: Callable[..., str], command: Callable[..., Result]) -> None:
    with RangeServer(FILES) as server:
        server.fault("*", LateBytes(LEFT_OVER[late]))
        package = make_package(FILES, head=f'dataurl = "{server.url}"')
        result = command("check", package)
        assert result.exit_code == 0, result.output
