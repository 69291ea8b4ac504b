"""Values that nobody expects, in what a package, a server or another user wrote, are an error of dataferry."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.errors import DataferryError, FileUnavailable, RegistryError, SettingsError, UnknownFile
from dataferry.testing import Cut, Fault, RangeServer, Status

DATA = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
DIGITS = "9" * 5000  # more than Python converts
HEX = "0x" + "f" * 5000  # which tomllib converts, and Python does not print
DEEP = ".a" * 2000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "text",
    [
        f"mirrors = [{HEX}]",
        f"timeout = [{HEX}]",
        f"strict = [{HEX}]",
        f"strict{DEEP} = 1",
        f"[folders]\nany{DEEP} = 1",
        f'[files."a.bin"]\nsha256 = [{HEX}]',
        f'[files."a.bin"]\nsize{DEEP} = 1',
        f"env{'.a' * 30_000} = 1",
        f"[{'a.' * 30_000}a]",
        f'x = {{ "a"{" . b" * 30_000} = 1 }}',
    ],
    ids=lambda text: text[:20],
)
def test_a_registry(text: str, make_package: Callable[..., str]) -> None:
    package = make_package({}, head=text)
    with pytest.raises(RegistryError, match="dataferry.toml"):
        PackageData(package).names()


@pytest.mark.parametrize(
    "line",
    [
        f'"{"x" * 3_000_000}"',
        f"{SHA256}  {'./' * 1_000_000}a.bin",
        f"{SHA256}  5  x{'  a.bin' * 300_000}",
        f"#{'  a.bin' * 300_000}",
        f"x{'  a.bin' * 300_000}",
    ],
    ids=lambda line: line[60:80],
)
def test_long_lines_of_a_text_registry(line: str, tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text(f"{line}\n{SHA256}  5  other.dat\n")
    (tmp_path / "dataferry.toml").write_text('dataurl = "https://h.example/"\nregistry = "files.txt"\nstrict = true\n')
    data = PackageData("none", registry=tmp_path / "dataferry.toml")
    with pytest.raises(UnknownFile if line.startswith("#") else RegistryError):
        data.where("a.bin")


def test_dots_in_text_are_no_key(make_package: Callable[..., str]) -> None:
    urls = ", ".join(f'"https://a.b.c.d{number}.example/"' for number in range(100))
    head = f'mirrors = [{urls}]\n[about]\ntitle = \'{"a." * 500}\'\ndescription = """\n{"A word. " * 500}\n"""\n'
    assert PackageData(make_package({"a.bin": b"x"}, head=head)).names() == ["a.bin"]


@pytest.mark.parametrize("line", [f"folders = [{HEX}]", f"site = [{HEX}]", f"site{DEEP} = 1", f"folders.any{DEEP} = 1"])
def test_a_configuration(line: str, home: Path, make_package: Callable[..., str]) -> None:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "dataferry" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    with pytest.raises(SettingsError, match="config.toml"):
        PackageData(make_package({"a.bin": b"x"})).get("a.bin")


@pytest.mark.parametrize("entry", [nested(5000), {"sha256": nested(5000)}, {"sha256": SHA256, "size": nested(5000)}])
def test_files_in_python(entry: Any, make_package: Callable[..., str]) -> None:
    with pytest.raises(RegistryError, match=r"a\.bin"):
        PackageData(make_package({}), files={"a.bin": entry}).names()


class Headers(Fault):
    """Other headers."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self, response: Any, request: Any) -> Any:
        kept = response.without(*self.headers)
        return dataclasses.replace(kept, headers={**kept.headers, **self.headers})


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Length": DIGITS},
        {"Content_Range": f"bytes 0-{DIGITS}/*"},
        {"Content_Range": f"bytes {DIGITS}-{DIGITS}/{DIGITS}"},
        {"Retry_After": DIGITS},
        {"Last_Modified": f"Thu, {DIGITS} Nov 2024 10:00:00 GMT"},
    ],
    ids=str,
)
def test_numbers_in_headers(headers: dict[str, str], mirror: bool, make_package: Callable[..., str]) -> None:
    with RangeServer({"a.bin": DATA}) as server, RangeServer({"a.bin": DATA}) as other:
        server.fault("*", Headers(**headers))
        head = f'dataurl = "{server.url}"\ntimeout = 2' + (f'\nmirrors = ["{other.url}"]' if mirror else "")
        data = PackageData(make_package({"a.bin": DATA}, head=head), show_progress=False)
        try:
            assert Path(data.get("a.bin")).read_bytes() == DATA
        except FileUnavailable:
            assert not mirror


@pytest.mark.parametrize(
    "line",
    ["#5", "#null", "#[[1, 2]]", "#" + "[" * 100_000, '#{"size": [], "since": {}}', '#{"since": "x"}', f"0 {DIGITS}"],
    ids=lambda line: line[:20],
)
def test_a_journal_in_a_shared_cache(line: str, make_package: Callable[..., str]) -> None:
    with RangeServer({"a.bin": DATA}) as server:
        server.fault("*", Cut(after=1_500_000), first=1)
        server.fault("*", Status(404), skip=1)
        head = f'dataurl = "{server.url}"\ntimeout = 2'
        data = PackageData(make_package({"a.bin": DATA}, head=head), show_progress=False)
        with pytest.raises(FileUnavailable):
            data.get("a.bin")
        journals = list(Path(os.environ["XDG_CACHE_HOME"]).rglob("ranges"))
        assert journals
        for journal in journals:
            journal.write_bytes(line.encode() + b"\n" + journal.read_bytes())
        server.heal()
        assert Path(data.get("a.bin")).read_bytes() == DATA


class Answer(Fault):
    """A status line, a body and headers of one's own."""

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        self.raw = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def response(self, response: Any, request: Any) -> Any:
        return dataclasses.replace(response, head=self.raw, pieces=[])


def test_an_error_that_quotes_a_server_can_be_printed(make_package: Callable[..., str]) -> None:
    with RangeServer({"a.bin": DATA}) as server:
        server.fault("*", Answer(b"HTTP/1.1 404 \x1b]52;c;eA==\x07"))
        package = make_package({"a.bin": DATA}, head=f'dataurl = "{server.url}"')
        with pytest.raises(FileUnavailable, match="404") as caught:
            PackageData(package, show_progress=False).get("a.bin")
        assert "\x1b" not in str(caught.value)
        assert "\x1b" not in str(caught.value.tried)


def github(server: RangeServer, package: str, monkeypatch: pytest.MonkeyPatch) -> DataferryError:
    host = server.url.removeprefix("http://").rstrip("/")
    monkeypatch.setenv("GH_HOST", host)
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "secret")
    mirrors = [f"github-release:o/r@v1?server={server.url.rstrip('/')}"]
    data = PackageData(package, files={"a.bin": SHA256}, mirrors=mirrors, show_progress=False)
    with pytest.raises(FileUnavailable) as caught:
        data.get("a.bin")
    return caught.value


def test_a_list_with_a_further_page_each_time_ends(
    make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = {"id": 5, "tag_name": "v1", "draft": False, "upload_url": "https://h/", "html_url": "https://h/"}
    assets = "api/v3/repos/o/r/releases/5/assets"
    with RangeServer({"api/v3/repos/o/r/releases/tags/v1": json.dumps(release).encode(), assets: b"[]"}) as server:
        server.fault(assets, Headers(Link=f'<{server.url}{assets}>; rel="next"'))
        error = github(server, make_package({}), monkeypatch)
        assert "more than 100 pages" in str(error)


@pytest.mark.parametrize("message", [nested(900), "\ud800", "\x1b[31m", {"a": nested(900)}], ids=["deep", *"123"])
def test_the_reason_of_an_interface(
    message: Any, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"message": message, "errors": [message, {"code": message}]}).encode()
    with RangeServer({}) as server:
        server.fault("api/*", Answer(b"HTTP/1.1 422 Odd", body))
        error = github(server, make_package({}), monkeypatch)
        assert "422" in str(error)
        assert "\x1b" not in str(error)
        assert str(error).encode()


@pytest.mark.parametrize(
    "line",
    [
        "sftp://[/x/",
        "fsspec:sftp://[::1/x/",
        f"github-release:o/r@v1?part={DIGITS}",
        f"figshare:10.6084/m9.figshare.{DIGITS}",
    ],
    ids=lambda line: line[:30],
)
def test_a_declaration(line: str, make_package: Callable[..., str], command: Callable[..., Result]) -> None:
    result = command("add", make_package({"a.bin": b"x"}), "--from", line)
    assert result.exit_code in {1, 2}, result.output
    assert isinstance(result.exception, SystemExit)
    assert "module has an error" not in result.output
