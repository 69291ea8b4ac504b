"""Faults that authors and users met with archives: new versions, silence, odd answers, metadata written twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataferry import PackageData
from dataferry.config.settings import Settings
from dataferry.errors import Conflict, DataferryError, FileUnavailable, TransferError
from dataferry.hosts import make_host
from dataferry.publish import publish
from dataferry.registry.registry import Registry
from dataferry.testing import Flaky, NeverAnswers, RangeServer

DUST, BEAM, NEW = b"dust" * 700, b"beam" * 900, b"new." * 700


# -- a new data set under a new tag, and new bytes in a new version ---------------------------------------------------


@pytest.fixture
def author(github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")

    def run(tag: str, files: Mapping[str, bytes], registry: str = "dataferry.toml", **options: Any) -> Any:
        paths = {}
        for name, data in files.items():
            paths[name] = tmp_path / hashlib.sha256(name.encode() + data).hexdigest()
            paths[name].write_bytes(data)
        return publish(paths, github.spec(tag), tmp_path / registry, progress=False, **options)

    return run


def got(registry: Path, *names: str) -> list[bytes]:
    data = PackageData("mypkg", registry=registry, show_progress=False)
    return [Path(data.get(name)).read_bytes() for name in names]


@pytest.mark.parametrize("new_version", [False, True])
def test_new_bytes_under_an_old_tag_are_led_to_a_new_one(
    github: Any, author: Callable[..., Any], new_version: bool
) -> None:
    author("data-v1", {"dust.fits": DUST})
    with pytest.raises(Conflict) as caught:
        author("data-v1", {"dust.fits": NEW}, new_version=new_version)
    options = f"with --to '{github.spec('data-v2')}' --new-version"
    assert caught.value.remedy.endswith(f", or publish a new version of the data {options}")
    assert author("data-v2", {"dust.fits": NEW}, new_version=True).files[0].proven


def test_new_bytes_go_to_a_new_release_and_the_old_one_keeps_its_own(
    github: Any, author: Callable[..., Any], command: Callable[..., Result], tmp_path: Path
) -> None:
    registry = tmp_path / "dataferry.toml"
    author("v1", {"dust.fits": DUST, "beam.fits": BEAM})
    old = shutil.copy(registry, tmp_path / "old.toml")
    with pytest.raises(Conflict, match="--new-version"):
        author("v2", {"dust.fits": NEW})
    author("v2", {"dust.fits": NEW}, new_version=True)
    assert list(Registry(registry).mirrors) == [github.spec("v2"), github.spec("v1")]
    assert got(registry, "dust.fits", "beam.fits") == [NEW, BEAM]
    assert got(Path(old), "dust.fits", "beam.fits") == [DUST, BEAM]
    done = command("check", "mypkg", "--registry", registry)
    assert done.exit_code == 0, done.output
    before = github.count("(POST|PATCH|DELETE) (?!.*generate-notes)")
    author("v2", {"dust.fits": NEW}, new_version=True)
    assert github.count("(POST|PATCH|DELETE) (?!.*generate-notes)") == before


def test_a_new_data_set_with_the_same_names(
    github: Any, author: Callable[..., Any], command: Callable[..., Result], tmp_path: Path
) -> None:
    """As docs/publishing.rst has it: ``--to github-release:...@v2``, in a registry of its own."""
    author("v1", {"dust.fits": DUST})
    author("v2", {"dust.fits": NEW}, registry="new.toml")
    assert got(tmp_path / "dataferry.toml", "dust.fits") == [DUST]
    assert got(tmp_path / "new.toml", "dust.fits") == [NEW]
    author("v2", {"beam.fits": BEAM})  # a further file of the first registry, in the second release
    assert got(tmp_path / "dataferry.toml", "dust.fits", "beam.fits") == [DUST, BEAM]
    done = command("check", "mypkg", "--registry", tmp_path / "dataferry.toml")
    assert done.exit_code == 0, done.output


# -- checks, waits ----------------------------------------------------------------------------------------------------


def test_an_empty_202_is_no_fault_where_the_second_address_works(
    figshare: Any, make_package: Callable[..., str], command: Callable[..., Result]
) -> None:
    article = figshare.put({"a.fits": DUST})
    package = make_package({"a.fits": DUST}, head=f'mirrors = ["{figshare.spec(article.number)}"]')
    registry = Path(PackageData(package).registry.path)
    registry.write_text(registry.read_text() + f"figshare = {article.files[0]}\n")
    figshare.challenge = True
    done = command("check", package)
    assert done.exit_code == 0, done.output
    assert "proven" in done.output


def test_a_wait_for_an_archive_is_no_silence(
    figshare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-1")
    figshare.slowness = 9
    (tmp_path / "a.fits").write_bytes(DUST)
    article = figshare.put({}, owner=1, public=False)
    publish({"a.fits": tmp_path / "a.fits"}, figshare.spec(article.number), tmp_path / "dataferry.toml")
    lines = [line for line in re.split(r"[\r\n]+", capsys.readouterr().err) if "waiting" in line]
    assert len(lines) == 1
    assert re.search(r"figshare:\d+\S*: waiting up to \d+ s until Figshare has computed the digests", lines[0])


def test_a_long_rate_limit_of_an_archive_is_an_error_with_its_end(figshare: Any) -> None:
    article = figshare.put({"a.fits": DUST})
    figshare.fault("GET", r"/articles/\d+$", status=429, wait=2400)
    with pytest.raises(TransferError, match=r"until \d\d:\d\d UTC \(in 40 min\)"):
        make_host(figshare.spec(article.number)).hosted(Settings())
    assert set(make_host(figshare.spec(article.number)).hosted(Settings())) == {"a.fits"}


# -- damaged copies ---------------------------------------------------------------------------------------------------


def test_a_damaged_file_of_an_archive_is_replaced_in_a_new_version(
    figshare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIGSHARE_TOKEN", "token-1")
    registry, source = tmp_path / "dataferry.toml", tmp_path / "a.fits"
    source.write_bytes(DUST)
    article = figshare.put({}, owner=1, public=False)
    spec = figshare.spec(article.number)
    publish({"a.fits": source}, spec, registry, progress=False)
    [number] = article.files
    figshare.files[number].whole = DUST[:-1] + b"?"
    with pytest.raises(
        Conflict, match="has published is immutable: --new-version puts your file into the next version"
    ):
        publish({"a.fits": source}, spec, registry, progress=False, repair=True)
    assert publish({"a.fits": source}, spec, registry, progress=False, new_version=True).files[0].proven
    assert len(article.versions) == 2
    assert article.files != [number]
    assert got(registry, "a.fits") == [DUST]


# -- metadata that the package has already ----------------------------------------------------------------------------

CITATION = """\
cff-version: 1.2.0
title: Maps of the dust
abstract: "How they were made."
authors:
  - family-names: Author
    given-names: Ann
    orcid: https://orcid.org/0000-0002-1825-0097
  - name: A Team
keywords: [dust, cosmology]
license: CC-BY-4.0
"""
ZENODO = {
    "title": "Maps of the dust",
    "description": "<p>How they were made.</p>",
    "creators": [{"name": "Author, Ann", "orcid": "0000-0002-1825-0097"}, {"name": "Writer, Bo"}],
    "keywords": ["dust"],
    "license": {"id": "CC-BY-4.0"},
}


@pytest.mark.parametrize("file", ["CITATION.cff", ".zenodo.json", "CITATION.cff broken"])
def test_what_is_in_citation_cff_or_zenodo_json_is_not_written_again(
    invenio_standin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    rdm = invenio_standin
    monkeypatch.setenv("INVENIORDM_TOKEN", rdm.tokens["ann"])
    (tmp_path / ".git").mkdir()
    registry = tmp_path / "mypkg" / "data" / "dataferry.toml"
    registry.parent.mkdir(parents=True)
    registry.write_text('[about]\ntitle = "Another title"\n')
    text = {"CITATION.cff": CITATION, ".zenodo.json": json.dumps(ZENODO)}.get(file, "authors: [")
    (tmp_path / file.split(maxsplit=1)[0]).write_text(text)
    (tmp_path / "a.fits").write_bytes(DUST)

    def go() -> None:
        publish({"a.fits": tmp_path / "a.fits"}, f"inveniordm:{rdm.url}new", registry, progress=False)

    if "broken" in file:
        with pytest.raises(DataferryError, match="without authors"):
            go()
        return
    go()
    [record] = rdm.records.values()
    assert record.metadata["title"] == "Another title", "what the registry declares stands"
    assert "How they were made." in record.metadata["description"]
    first, second = (creator["person_or_org"] for creator in record.metadata["creators"])
    assert (first["family_name"], first["given_name"]) == ("Author", "Ann")
    assert first["identifiers"][0]["identifier"] == "0000-0002-1825-0097"
    assert second.get("name", second.get("family_name")) in {"A Team", "Writer"}
    assert record.metadata["rights"] == [{"id": "cc-by-4.0"}]
    assert "CITATION" not in registry.read_text()


# -- answers of a server that nobody should believe -------------------------------------------------------------------


class Hostile(BaseHTTPRequestHandler):
    """Answers every request with what the test has put into ``answer``."""

    protocol_version = "HTTP/1.1"
    answer: Callable[[Hostile], None]

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).answer(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hostile() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[assignment,method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


ASKED = [
    "figshare:1?server={url}",
    "inveniordm:{url}abcde-12345",
    "github-release:o/r@v1?server={url}",
    "dataverse:doi:10.5072/FK2/A?server={url}",
]
KINDS = [spec.partition(":")[0] for spec in ASKED]


def endless(handler: Hostile) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    while True:
        handler.wfile.write(b" " * (1 << 20))


def bomb(handler: Hostile) -> None:
    import zlib

    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(squeeze.compress(b" " * (1 << 24)) for _ in range(20)) + squeeze.flush()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    handler.wfile.write(head.encode() + body)


@pytest.mark.parametrize("spec", ASKED, ids=KINDS)
@pytest.mark.parametrize("answer", [endless, bomb])
def test_an_answer_has_a_limit_before_and_after_it_is_decoded(
    hostile: str, spec: str, answer: Callable[[Hostile], None]
) -> None:
    import resource

    Hostile.answer = answer
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TransferError):
        make_host(spec.format(url=hostile)).hosted(Settings())
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 2**20
    # what the stand-in itself compresses is in this process as well
    assert grown < 250, f"{grown:.0f} MiB more memory"


@pytest.mark.parametrize("spec", ASKED, ids=KINDS)
def test_no_answer_sends_an_escape_to_the_terminal(
    hostile: str, spec: str, command: Callable[..., Result], tmp_path: Path
) -> None:
    def act(handler: Hostile) -> None:
        body = json.dumps({"message": "no \x1b]52;c;ZXZpbA==\x07 \x9b31m"}).encode()
        handler.wfile.write(b"HTTP/1.1 400 \x1b]52;c;x\x07\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    Hostile.answer = act
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataferry.toml").touch()
    done = command("add", str(tmp_path / "data" / "dataferry.toml"), "--from", spec.format(url=hostile))
    assert done.exit_code != 0
    assert not [c for c in done.output if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert "no " in done.output


def test_a_list_of_a_host_does_not_brick_the_registry(
    hostile: str, command: Callable[..., Result], tmp_path: Path
) -> None:
    def act(handler: Hostile) -> None:
        items = [
            {"id": 1, "name": "minus.fits", "size": -1, "computed_md5": "0" * 32},
            {"id": 2, "name": "..", "size": 3, "computed_md5": "0" * 32},
            {"id": 3, "name": "digest.fits", "size": 3, "computed_md5": "x\n"},
        ]
        body = json.dumps(items if handler.path.partition("?")[0].endswith("files") else {"files": items}).encode()
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    Hostile.answer = act
    registry = tmp_path / "data" / "dataferry.toml"
    registry.parent.mkdir()
    registry.touch()
    done = command("add", str(registry), "--from", f"figshare:1?server={hostile}")
    assert done.exit_code != 0
    assert "minus.fits" in done.output
    assert "the size -1" in done.output
    assert list(Registry(registry).entries()) == []


@pytest.mark.parametrize("spec", ASKED, ids=KINDS)
def test_an_answer_that_trickles_ends(hostile: str, spec: str, make_package: Callable[..., str]) -> None:
    """The head of an answer, byte by byte: the deadline holds, whatever a provider does."""

    def act(handler: Hostile) -> None:
        handler.close_connection = True
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)

    Hostile.answer = act
    package = make_package({"a.fits": DUST}, head=f'mirrors = ["{spec.format(url=hostile)}"]')
    with pytest.raises(DataferryError, match="deadline of 2 s"):  # the whole head would take 500 s
        PackageData(package, show_progress=False).get("a.fits", deadline=2)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spec", [*(spec for spec in ASKED if not spec.startswith("github")), "git-lfs:{url}r.git"])
def test_an_interface_that_does_not_answer_gets_the_packages_timeout(
    spec: str, make_package: Callable[..., str]
) -> None:
    with RangeServer({}) as server:
        server.fault("*", NeverAnswers())
        head = f'mirrors = ["{spec.format(url=server.url)}"]\ntimeout = 0.25'
        data = PackageData(make_package({"a.fits": DUST}, head=head), show_progress=False)
        with pytest.raises(FileUnavailable, match=r"(GET|POST) .*connected, but no answer in 0\.25 s"):
            data.get("a.fits")


SILENT = [*(spec for spec in ASKED if not spec.startswith("github")), "git-lfs:{url}r.git"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spec", SILENT)
def test_an_interface_that_never_answers_is_asked_twice(spec: str, make_package: Callable[..., str]) -> None:
    """Each further request would cost the user another whole timeout."""
    with RangeServer({}) as server:
        server.fault("*", NeverAnswers())
        head = f'mirrors = ["{spec.format(url=server.url)}"]\ntimeout = 0.25'
        with pytest.raises(FileUnavailable):
            PackageData(make_package({"a.fits": DUST}, head=head), show_progress=False).get("a.fits")
        paths = [request.path for request in server.requests if not request.path.endswith("/content")]
        assert max(map(paths.count, paths)) == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spec", SILENT)
def test_one_answer_that_never_comes_is_asked_for_again(spec: str, make_package: Callable[..., str]) -> None:
    with RangeServer({}) as server:
        server.fault("*", Flaky(1, NeverAnswers()))
        head = f'mirrors = ["{spec.format(url=server.url)}"]\ntimeout = 0.25'
        with pytest.raises(FileUnavailable, match="HTTP 40[45]|404 Not Found|no public"):
            PackageData(make_package({"a.fits": DUST}, head=head), show_progress=False).get("a.fits")


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_is_not_asked_for_each_version(make_package: Callable[..., str]) -> None:
    """The files of a registry may be pinned to many versions of one record."""
    with RangeServer({}) as server:
        server.fault("*", NeverAnswers())
        head = f'mirrors = ["inveniordm:{server.url}abc"]\ntimeout = 0.25'
        names = [f"{number}.fits" for number in range(6)]
        package = make_package(dict.fromkeys(names, DUST), head=head)
        key = f"inveniordm:{server.url.split('/')[2]}"
        registry = Path(PackageData(package).registry.path or "")
        text = registry.read_text()
        for number, name in enumerate(names):
            table = f'[files."{name}"]\n'
            assert table in text
            text = text.replace(table, f'{table}"{key}" = "v{number}"\n')
        registry.write_text(text)
        with pytest.raises(DataferryError):
            PackageData(package, show_progress=False).fetch(names)
        assert sum("/files/" not in request.path for request in server.requests) == 2


@pytest.mark.timeout(60)
def test_a_list_of_a_store_that_does_not_answer_gets_the_packages_timeout(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    registry = tmp_path / "dataferry.toml"
    registry.write_text("timeout = 0.25")
    with RangeServer({}) as server:
        server.fault("*", NeverAnswers())
        done = command("add", registry, "--from", f"s3://bucket/v1/?endpoint={server.url.rstrip('/')}")
        assert len(server.requests) == 2
    assert done.exit_code == 1
    assert "timeout" in done.stderr.lower()


def test_a_store_that_is_busy_is_asked_for_its_list_again(hostile: str) -> None:
    """AWS answers 503 SlowDown while it divides a bucket that many read."""
    left = [2]

    def act(handler: Hostile) -> None:
        left[0] -= 1
        body, status = b"<ListBucketResult/>", b"503 Slow Down" if left[0] >= 0 else b"200 OK"
        handler.wfile.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    Hostile.answer = act
    assert make_host(f"s3://bucket/v1/?endpoint={hostile.rstrip('/')}").hosted(Settings()) == {}


@pytest.mark.timeout(40)  # boto3 waits for 60 s by default
def test_an_upload_that_a_store_does_not_answer_gets_the_packages_timeout(
    hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ACCESS_KEY_ID": "AKIA", "SECRET_ACCESS_KEY": "secret", "MAX_ATTEMPTS": "2"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    over = threading.Event()

    def act(handler: Hostile) -> None:
        question = handler.command != "PUT" or "uploadId" in handler.path
        if not question:
            over.wait()
            handler.close_connection = True
        elif handler.path.startswith("/bucket?"):
            body = b"<ListBucketResult/>"
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            handler.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    Hostile.answer = act
    registry = tmp_path / "dataferry.toml"
    registry.write_text("timeout = 0.25")
    (tmp_path / "dust.fits").write_bytes(DUST)
    spec = f"s3://bucket/v1/?endpoint={hostile.rstrip('/')}&acl=public-read"
    try:
        with pytest.raises(DataferryError, match="(?i)did not answer.*timeout"):
            publish({"dust.fits": tmp_path / "dust.fits"}, spec, registry, progress=False)
    finally:
        over.set()


@pytest.mark.timeout(12)  # paramiko's login took 15 s, ftplib takes 30 s by default
@pytest.mark.parametrize("protocol", ["ftp", "sftp"])
def test_a_library_of_fsspec_gets_the_packages_timeout(
    protocol: str, command: Callable[..., Result], tmp_path: Path
) -> None:
    """A server that accepts connections, and says nothing."""
    registry = tmp_path / "dataferry.toml"
    registry.write_text("timeout = 0.25")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = command("add", registry, "--from", f"{protocol}://127.0.0.1:{port}/data/")
    assert done.exit_code == 1
    assert f"{protocol}://127.0.0.1:{port}/data/" in done.stderr


@pytest.mark.timeout(60)  # git waits for ever by default
@pytest.mark.parametrize("scheme", ["http", "ssh"])
def test_a_git_server_that_never_answers_is_asked_twice(
    scheme: str, command: Callable[..., Result], tmp_path: Path, need: Any
) -> None:
    need(scheme.replace("http", "git"))
    registry = tmp_path / "dataferry.toml"
    registry.write_text("timeout = 1")
    (tmp_path / "dust.fits").write_bytes(DUST)
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):  # the test has ended
            while True:
                taken.append(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        spec = (
            f"github-pages:ann/data?git={scheme}://127.0.0.1:{listening.getsockname()[1]}/x.git&url=http://127.0.0.1:9/"
        )
        done = command("publish", tmp_path / "dust.fits", "--to", spec, "--package", registry, "--dry-run")
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in taken:
        connection.close()
    assert done.exit_code != 0
    assert "github-pages:ann/data" in done.stderr
    assert len(taken) == 2


@pytest.mark.nightly
def test_an_asset_of_nearly_the_largest_size(
    github: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Result]
) -> None:
    """1,900 MiB, the size of a part: uploaded as one request, proven, and fetched."""
    size = 1900 * 2**20
    if shutil.disk_usage(tmp_path).free < 4 * size:
        pytest.skip("needs 8 GB of disk")
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_ann")
    path = tmp_path / "map.fits"
    with open(path, "wb") as file:
        file.write(b"SIMPLE  =                    T")
        file.truncate(size)
    outcome = publish({"map.fits": path}, github.spec(), tmp_path / "dataferry.toml", progress=False)
    assert outcome.files[0].proven
    assert sys.modules["dataferry_test_servers.github.state"]
    entry = Registry(tmp_path / "dataferry.toml").find("map.fits")
    assert entry is not None and entry.size == size
    done = command("get", "mypkg", "map.fits", "--registry", tmp_path / "dataferry.toml")
    assert done.exit_code == 0, done.output
    assert Path(done.output.strip().splitlines()[-1]).stat().st_size == size
