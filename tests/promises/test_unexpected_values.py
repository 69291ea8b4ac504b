"""Values that nobody expects, in what a package, a server or another user wrote, are an error of dataferry."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from dataferry import PackageData, maps, publish, retrieve
from dataferry.config import Settings
from dataferry.errors import (
    ArchiveError,
    BadName,
    DataferryError,
    FileUnavailable,
    MapError,
    RegistryError,
    SettingsError,
    TransferError,
    UnknownFile,
)
from dataferry.hosts import make_host
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
        f'[files."a.bin"]\nsha256 = "{SHA256}"\nfigshare = {HEX}',
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


@pytest.mark.parametrize(
    "line", [f"folders = [{HEX}]", f"site = [{HEX}]", f"site{DEEP} = 1", f"site{'.a' * 30_000} = 1"]
)
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


RELEASE = {"id": 5, "tag_name": "v1", "draft": False, "upload_url": "https://h/", "html_url": "https://h/"}
RELEASES = "api/v3/repos/o/r/releases"


@pytest.mark.parametrize("url", ["http://[", "https://\u2100.example/", 5, None])
def test_the_url_of_an_asset(url: Any, make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    asset = {"id": 7, "name": "a.bin", "url": url, "state": "uploaded", "size": 3_000_000}
    release, assets = json.dumps(RELEASE).encode(), json.dumps([asset]).encode()
    with RangeServer({f"{RELEASES}/tags/v1": release, f"{RELEASES}/5/assets": assets}) as server:
        assert "github-release" in str(github(server, make_package({}), monkeypatch))


def test_a_list_with_a_further_page_each_time_ends(
    make_package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = f"{RELEASES}/5/assets"
    with RangeServer({f"{RELEASES}/tags/v1": json.dumps(RELEASE).encode(), assets: b"[]"}) as server:
        server.fault(assets, Headers(Link=f'<{server.url}{assets}>; rel="next"'))
        error = github(server, make_package({}), monkeypatch)
        assert "more than 100 pages" in str(error)


def test_a_list_of_figshare_whose_pages_are_all_full_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.hosts.figshare.MOST_PAGES", 20)  # it is asked for one page a second
    full = {"articles/1": b'{"files": [{}]}', "articles/1/files": json.dumps([{}] * 1000).encode()}
    with RangeServer(full) as server:
        with pytest.raises(TransferError, match="its list has more than 100 pages"):
            make_host(f"figshare:1?server={server.url}").hosted(Settings())
        assert len(server.requests) == 21


@pytest.mark.parametrize(("size", "options"), [(2**62, ""), (10**9, "?part=1")])
def test_a_file_of_more_parts_than_there_can_be(size: int, options: str, make_package: Callable[..., str]) -> None:
    text = f'mirrors = ["github-release:o/r@v1{options}"]\n[files."a.bin"]\nsha256 = "{SHA256}"\nsize = {size}\n'
    tracemalloc.start()
    with pytest.raises(FileUnavailable, match="more than 100000 parts"):
        PackageData(make_package({}, head=text)).get("a.bin", deadline=5)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


class EndlessBucket(Fault):
    """Lists of objects with another token each time."""

    def __init__(self) -> None:
        self.pages = 0

    def response(self, response: Any, request: Any) -> Any:
        self.pages += 1
        key = f"<Contents><Key>{self.pages}.bin</Key><Size>1</Size></Contents>"
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{self.pages}</NextContinuationToken>"
        body = f"<ListBucketResult>{key}{more}</ListBucketResult>".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
        return dataclasses.replace(response, head=head + body, pieces=[])


@pytest.mark.usefixtures("no_aws_keys")
def test_a_list_of_a_bucket_with_a_further_page_each_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataferry.hosts.s3_client.MOST_PAGES", 20)
    with RangeServer({}) as server:
        bucket = EndlessBucket()
        server.fault("*", bucket)
        with pytest.raises(TransferError, match="gives no list: its list has more than 20 pages"):
            make_host(f"s3://bucket/v1/?endpoint={server.url.rstrip('/')}").hosted(Settings())
        assert bucket.pages == 21


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


@pytest.mark.parametrize("url", ["http://[", "https://\u2100.example/", "http://[::1/x", 5, None, "http://a:99999/"])
def test_a_url_that_an_interface_answers(url: Any, make_package: Callable[..., str]) -> None:
    found = {"objects": [{"oid": SHA256, "size": 3_000_000, "actions": {"download": {"href": url}}}]}
    with RangeServer({}) as server, RangeServer({"a.bin": DATA}) as other:
        server.fault("*", Answer(b"HTTP/1.1 200 OK", json.dumps(found).encode()))
        mirrors = [f"git-lfs:{server.url}o/r.git"]
        package = make_package({})
        with pytest.raises(FileUnavailable, match="git-lfs"):
            PackageData(package, files={"a.bin": SHA256}, mirrors=mirrors, show_progress=False).get("a.bin")
        data = PackageData(package, files={"a.bin": SHA256}, mirrors=[*mirrors, other.url], show_progress=False)
        assert Path(data.get("a.bin")).read_bytes() == DATA


class Policy(Fault):
    """A store that answers this where it is asked for a bucket's policy."""

    def __init__(self, policy: str) -> None:
        self.policy = policy

    def response(self, response: Any, request: Any) -> Any:
        body = (self.policy if "policy" in request.path else "<Empty></Empty>").encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
        return dataclasses.replace(response, head=head + body, pieces=[])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        *((text, "does not have the expected form") for text in ("[", "null", "[]", "{}")),
        ("[" * 100_000, "does not have the expected form"),
        ('{"Statement": {"Sid": "one"}}', "to do"),  # IAM allows a single statement without a list
    ],
    ids=lambda text: text[:9],
)
def test_the_policy_of_a_bucket(
    policy: str, expected: str, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with RangeServer({}) as server:
        server.fault("*", Policy(policy))
        result = command("host", "s3", "setup", "bucket", "--endpoint", server.url.rstrip("/"), "--dry-run")
    assert result.exit_code == (0 if expected == "to do" else 1)
    assert expected in result.output + result.stderr


@pytest.mark.parametrize(
    "note", ["[" * 100_000, '{"up PLACE": "fast", "back PLACE": []}', '{"up PLACE": NaN, "back PLACE": -1}']
)
def test_notes_of_an_upload_in_a_shared_cache(note: str, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "a.bin").write_bytes(b"01234")
    with RangeServer({}) as server:
        spec = f"folder:{tmp_path}/served?url={server.url}"
        words = {"a.bin": tmp_path / "a.bin"}, spec, tmp_path / "dataferry.toml"
        [host] = publish.plan(*words, progress=False).hosts
        home = Path(os.environ["XDG_CACHE_HOME"]) / "astropy" / "dataferry" / "publish"
        home.mkdir(parents=True, exist_ok=True)
        (home / "rates.json").write_text(note.replace("PLACE", host.redacted))
        [host] = publish.plan(*words, progress=False).hosts
    assert host.seconds is None


def test_a_name_in_a_wheel(tmp_path: Path, command: Callable[..., Result]) -> None:
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        archive.writestr("mypkg/é.dat", b"x")
    (tmp_path / "mypkg.whl").write_bytes(packed.getvalue().replace("é".encode(), b"\xff\xff"))
    result = command("check-dist", tmp_path / "mypkg.whl")
    assert result.exit_code == 2
    assert "cannot be read as a wheel or an sdist" in result.stderr


@pytest.mark.parametrize("scheme", ["s3", "zenodo", "github-release"])
def test_a_url_of_many_slashes(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr("dataferry.lookup.file_url.make_host", lambda spec: tried.append(spec) or make_host(spec))
    with pytest.raises(BadName):
        retrieve(f"{scheme}:{'?x/' * 30_000}{'x/' * 30_000}a.bin")
    with pytest.raises(BadName):
        retrieve(f"{scheme}:{'x/' * 30_000}?{'x' * 30_000}")
    assert len(tried) < 200


def test_the_url_of_a_file() -> None:
    with pytest.raises(BadName, match="is not a URL"):
        retrieve("http://[::1/a.bin")


@pytest.mark.parametrize("number", ["--5", DIGITS, "²"])
def test_the_number_of_an_hdu(number: str, tmp_path: Path, command: Callable[..., Result]) -> None:
    maps.write_map(tmp_path / "a.fits", np.zeros(12))
    result = command("show", tmp_path / "a.fits", "-o", tmp_path / "a.png", f"--hdu={number}")
    assert result.exit_code == 1
    assert "a.fits" in result.stderr


@pytest.mark.parametrize("number", ["²", DIGITS, "-3"])
def test_a_number_of_threads(number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps.write_map(tmp_path / "a.fits", np.arange(12.0))
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    assert maps.read_map(tmp_path / "a.fits").value.tolist() == list(range(12))


def test_a_member_without_a_name(tmp_path: Path, make_package: Callable[..., str]) -> None:
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        archive.writestr("x", b"x")
    data = bytearray(packed.getvalue())
    at = data.index(b"PK\x01\x02")
    data[at + 28] = 0
    del data[at + 46]
    end = data.index(b"PK\x05\x06")
    data[end + 12] -= 1
    with RangeServer({"a.zip": bytes(data)}) as server:
        package = make_package({"a.zip": bytes(data)}, head=f'dataurl = "{server.url}"')
        with pytest.raises(ArchiveError):
            PackageData(package, show_progress=False).unpack("a.zip")


@pytest.mark.parametrize("cards", [{"NAXIS1": 0, "TFORM2": ""}, {"NAXIS2": 10**30}, {"PCOUNT": 10**19}], ids=str)
@pytest.mark.parametrize("packed", [True, False])
def test_a_header_of_fits(cards: dict[str, Any], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    maps.write_map(path, np.zeros((2, 12 * 4**2), "f4"))
    raw = path.read_bytes()
    for key, value in cards.items():
        at = raw.index(f"{key:8}=".encode(), 2880)
        card = f"{key:8}= {value!r:>20}".ljust(80).encode()
        raw = raw[:at] + card + raw[at + 80 :]
    path = tmp_path / ("b.fits.gz" if packed else "b.fits")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    for read in (
        maps.read_map,
        maps.info,
        maps.header,
        maps.read_partial,
        partial(maps.cutout, section=(slice(0, 2),)),
    ):
        with contextlib.suppress(MapError):
            read(path)


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
