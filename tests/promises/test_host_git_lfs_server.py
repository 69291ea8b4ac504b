"""Reading from git-lfs servers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import resource
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from dataferry import PackageData
from dataferry.config import Settings, load_settings
from dataferry.errors import BadName, FileUnavailable, TransferError
from dataferry.hosts import make_host
from dataferry.hosts.git_lfs import GitLFSHost
from dataferry.registry import Entry
from dataferry.testing import LookUpContract, RangeServer

TOKEN = "lfs-s3cret-write"
FILES = {"maps/a.fits": b"a" * 5000, "b c/Übersicht.fits": b"b" * 70_000}


@pytest.fixture(autouse=True)
def quick(need: Any) -> None:
    need("git-lfs")


def a_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@contextmanager
def served(files: Mapping[str, bytes], url: str, scope: str, tmp_path: Path, token: str = "") -> Iterator[GitLFSHost]:
    """Files in a git-lfs server, put there as git-lfs puts them."""
    from urllib.request import Request

    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)} for data in files.values()]
    by_oid = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
    headers = {"Content-Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    body = json.dumps({"operation": "upload", "transfers": ["basic"], "objects": objects}).encode()
    with urlopen(Request(f"{url}{scope}.git/info/lfs/objects/batch", body, headers)) as answer:
        told = json.load(answer)
    for item in told["objects"]:
        action = item["actions"]["upload"]
        put = Request(action["href"], by_oid[item["oid"]], action.get("header", {}), method="PUT")
        urlopen(put).close()
    yield GitLFSHost(f"git-lfs:{url}{scope}")


@pytest.fixture(scope="module")
def servers(giftless: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A server, public or private, for all tests that do not stop it; each puts its objects into its own repository."""
    start = partial(giftless, tmp_path_factory.mktemp("store"))
    shared: dict[bool, Any] = {}

    def serve(private: bool, stopped: bool) -> Any:
        if stopped:
            return start(private=private)
        if private not in shared:
            shared[private] = start(private=private)
        return shared[private]

    return serve


class TestGitLFSHost(LookUpContract):
    """Reading from a real server, as a stranger."""

    private = False
    numbers = itertools.count()

    @pytest.fixture(autouse=True)
    def start(self, servers: Callable[..., Any], request: pytest.FixtureRequest) -> None:
        self.stopped = "gone" in request.node.name
        self._start = partial(servers, self.private, self.stopped)

    def host_at(self, url: str) -> GitLFSHost:
        return GitLFSHost(url)

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[GitLFSHost]:
        self.lfs, self.repository = self._start(), f"team/data{next(self.numbers)}"
        try:
            with served(files, self.lfs.url, self.repository, Path(), self.token("read,write,verify")) as host:
                yield host
        finally:
            if self.stopped:
                self.lfs.stop()

    def token(self, rights: str) -> str:
        return ""


class TestPrivateGitLFSHost(TestGitLFSHost):
    """The same with a server that wants a token."""

    private = True

    @pytest.fixture(autouse=True)
    def make_tokens(self, lfs_token: Callable[[str], str]) -> None:
        self._token = lfs_token

    def token(self, rights: str) -> str:
        return self._token(f"obj:{self.repository}/*:{rights}")

    def settings(self) -> Settings:
        return Settings(hosts={f"127.0.0.1:{self.lfs.port}": {"token": self.token("read")}})


def fetched(package: str, names: Sequence[str]) -> dict[str, bytes]:
    data = PackageData(package, show_progress=False)
    return {name: Path(path).read_bytes() for name, path in zip(names, data.fetch(names), strict=True)}


@pytest.mark.parametrize("private", [False, True])
def test_read_from_a_server(
    private: bool,
    giftless: Callable[..., Any],
    lfs_token: Callable[[str], str],
    make_package: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mirror that knows nothing but sha256; a private one wants a token, and tells what it wants."""
    lfs = giftless(tmp_path / "store", private=private)
    writer = lfs_token("obj:team/data/*:read,write,verify") if private else ""
    with served(FILES, lfs.url, "team/data", tmp_path, writer):
        spec = f"git-lfs:{lfs.url}team/data.git"
        package = make_package(FILES, head=f'mirrors = ["{spec}"]\n')
        if private:
            with pytest.raises(FileUnavailable, match="wants a token that may read it"):
                PackageData(package, show_progress=False).get("maps/a.fits")

            def settle(token: str) -> None:
                config = Path(os.environ["XDG_CONFIG_HOME"], "dataferry", "config.toml")
                a_file(config, f'[hosts."127.0.0.1:{lfs.port}"]\ntoken = "{token}"\n'.encode())

            reader = lfs_token("obj:team/data/*:read")
            monkeypatch.setenv("GIT_TOKEN", reader)  # it is for whom the user names, and no package
            settle(lfs_token("obj:team/other/*:read"))
            with pytest.raises(FileUnavailable, match="wants a token that may read it"):
                PackageData(package, show_progress=False).get("maps/a.fits")
            settle(reader)
            stranger = load_settings().as_anonymous()
            entry = Entry("maps/a.fits", hashlib.sha256(FILES["maps/a.fits"]).hexdigest(), 5000)
            with pytest.raises(TransferError) as caught:
                make_host(spec).look_up({"maps/a.fits": entry}, stranger)
            assert reader not in str(caught.value)
        assert fetched(package, list(FILES)) == FILES


def test_a_pointer_instead_of_the_file(
    giftless: Callable[..., Any], make_package: Callable[..., str], tmp_path: Path, nginx: Callable[..., Any]
) -> None:
    """A web server of a clone without git-lfs serves pointers; with the mirror declared, the files come."""
    www = tmp_path / "www"
    for name, data in FILES.items():
        oid = hashlib.sha256(data).hexdigest()
        a_file(www / name, f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode())
    url, lfs = nginx(www).url, giftless(tmp_path / "store")
    with served(FILES, lfs.url, "team/data", tmp_path) as host:
        alone = make_package(FILES, head=f'dataurl = "{url}"\n')
        with pytest.raises(FileUnavailable, match="are registered|git-lfs pointer"):
            PackageData(alone, show_progress=False).get("maps/a.fits")
        package = make_package(FILES, head=f'dataurl = "{url}"\nmirrors = ["{host.spec}"]\n')
        assert fetched(package, list(FILES)) == FILES
        gone = make_package({"gone.fits": b"never there"}, head=f'mirrors = ["{host.spec}"]\n')
        with pytest.raises(FileUnavailable, match="gone.fits"):
            PackageData(gone, show_progress=False).get("gone.fits")


def test_errors_of_single_objects(tmp_path: Path, make_package: Callable[..., str]) -> None:
    """One object is over a quota: it is named with the server's words, and the others come; so does an empty file."""
    good, refused = FILES["maps/a.fits"], b"over the quota" * 100
    asked: list[dict[str, Any]] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.extend(body["objects"])
            objects = [
                {**item, "error": {"code": 509, "message": "bandwidth quota exceeded"}}
                if item["oid"] == hashlib.sha256(refused).hexdigest()
                else {**item, "actions": {"download": {"href": f"{web.url}a.fits"}}}
                for item in body["objects"]
            ]
            answer = json.dumps({"objects": objects}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, form: str, *args: object) -> None:
            """Quiet."""

    with RangeServer({"a.fits": good}) as web, ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        files = {"a.fits": good, "quota.fits": refused, "empty.fits": b""}
        spec = f"git-lfs:http://127.0.0.1:{server.server_port}/team/data"
        package = make_package(files, head=f'mirrors = ["{spec}"]\n')
        above = next(Path(entry) for entry in sys.path if (Path(entry) / package).is_dir())
        registry = above / package / "data" / "dataferry.toml"
        registry.write_text(registry.read_text().replace(f"size = {len(good)}\n", ""))
        assert fetched(package, ["a.fits", "empty.fits"]) == {"a.fits": good, "empty.fits": b""}
        with pytest.raises(FileUnavailable, match="bandwidth quota exceeded"):
            PackageData(package, show_progress=False).get("quota.fits")
        server.shutdown()
    assert {"oid": hashlib.sha256(good).hexdigest(), "size": 0} in asked
    assert hashlib.sha256().hexdigest() not in {item["oid"] for item in asked}


@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_endless_answer_ends_at_its_limit(kind: str) -> None:
    """Neither a body without an end nor 500 MB in 2 MB of gzip fills the memory."""

    class Hostile(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            if kind == "bomb":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            packer, block = zlib.compressobj(1, wbits=31), b" " * (1 << 20)
            with contextlib.suppress(OSError):
                for _ in range(500):
                    self.wfile.write(block if kind == "endless" else packer.compress(block))

        def log_message(self, *args: object) -> None:
            pass

    entry = Entry("a.fits", "0" * 64, 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = GitLFSHost(f"git-lfs:http://127.0.0.1:{server.server_port}/team/data.git")
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TransferError, match=r"(?i)large|bytes|MB|MiB"):
            host.look_up({"a.fits": entry}, Settings())
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000 * 1024 / unit
        server.shutdown()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("git-lfs:team/data", "with the http or https URL"),
        ("git-lfs:ssh://git@a.example/team/data", "with the http or https URL"),
        ("git-lfs:https://ann:s3cret@a.example/team/data.git", "everybody reads"),
    ],
)
def test_declarations_that_are_wrong(spec: str, said: str) -> None:
    with pytest.raises(BadName, match=said) as caught:
        make_host(spec)
    assert "s3cret" not in str(caught.value)
