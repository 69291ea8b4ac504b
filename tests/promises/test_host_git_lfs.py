"""git-lfs: servers that are read from, and published folders that are work trees."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from dataferry import PackageData
from dataferry.config import Settings, load_settings
from dataferry.errors import AccessDenied, BadName, Conflict, FileUnavailable, PublishError, TransferError
from dataferry.hosts import git as git_module
from dataferry.hosts import make_host
from dataferry.hosts.git_lfs import GitLFSHost
from dataferry.publish import publish
from dataferry.registry import Entry
from dataferry.testing import LookUpContract, PublishContract, RangeServer

TOKEN = "lfs-s3cret-write"


@pytest.fixture(autouse=True)
def quick(need: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    need("git-lfs")
    monkeypatch.setattr(git_module, "FIRST_WAIT", 0.05)


def git(folder: Path, *words: str | Path) -> str:
    who = {f"GIT_{who}_{what}": "ann@a.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *map(str, words)], cwd=folder, env={**os.environ, **who}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bare(path: Path) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main", ".")
    return path


def work_tree(path: Path, remote: str) -> Path:
    """The published folder as its owner made it."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main", ".")
    git(path, "remote", "add", "origin", remote)
    git(path, "lfs", "install", "--local")
    return path


def a_file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def clone(remote: str, path: Path) -> dict[str, bytes]:
    """What somebody with git and git-lfs gets."""
    git(
        path.parent,
        "-c",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "-c",
        "filter.lfs.required=true",
        "clone",
        "-q",
        remote,
        path,
    )
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(path).parts and file.name != ".gitattributes"
    }


def real_files(need: Any) -> dict[str, Path]:
    astropy = Path(need.module("astropy").__file__).parent
    fits = sorted(astropy.glob("io/fits/tests/data/*.fits"), key=lambda p: p.stat().st_size)[-3:]
    return {f"maps/{path.name}": path for path in fits}


class TestPublishToLFSFolder(PublishContract):
    """The whole contract with a repository behind the folder."""

    @contextmanager
    def publishing(self, folder: Path) -> Iterator[str]:
        self.remote = bare(folder / "bare.git")
        www = work_tree(folder / "www", f"file://{self.remote}")
        with RangeServer(www) as server:
            yield f"folder:{www}?url={server.url}&lfs=1"

    def writes(self) -> int:
        return int(git(self.remote, "rev-list", "--count", "--all"))


@pytest.mark.parametrize("server", ["nginx", "apache"])
@pytest.mark.parametrize("way", ["file", "giftless"])
def test_real_files(way: str, server: str, request: pytest.FixtureRequest, tmp_path: Path, need: Any) -> None:
    """Three real FITS files through a web server, in a clone, and straight from the git-lfs server."""
    repository = bare(tmp_path / "git" / "team" / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    if way == "giftless":
        lfs = request.getfixturevalue("giftless")(tmp_path / "store")
        git(www, "config", "lfs.url", f"{lfs.url}team/data.git/info/lfs")
        git(www, "config", "lfs.locksverify", "false")
    running = request.getfixturevalue(server)(www)
    names, registry = real_files(need), tmp_path / "mypkg" / "dataferry.toml"
    outcome = publish(names, f"folder:{www}?url={running.url}&lfs=1", registry, progress=False)
    assert all(file.proven for file in outcome.files)
    data = PackageData("mypkg", registry=registry, show_progress=False)
    expected = {name: path.read_bytes() for name, path in names.items()}
    assert {name: Path(data.get(name)).read_bytes() for name in names} == expected
    assert git(repository, "show", "main:" + next(iter(names))).startswith("version https://git-lfs.github.com/spec/v1")
    assert git(www, "status", "--porcelain") == ""
    objects = tmp_path / "store" if way == "giftless" else repository / "lfs" / "objects"
    stored = {path.name for path in objects.rglob("*") if path.is_file()}
    assert stored == {hashlib.sha256(content).hexdigest() for content in expected.values()}
    # the folder and git-lfs share the bytes
    assert all((www / name).stat().st_nlink >= 2 for name in names)
    if way == "file":
        assert clone(f"file://{repository}", tmp_path / "clone") == expected


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


class TestGitLFSHost(LookUpContract):
    """Reading from a real server, as a stranger."""

    @pytest.fixture(autouse=True)
    def start(self, giftless: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> None:
        self._start = lambda: giftless(tmp_path_factory.mktemp("store"), private=self.private)

    private = False

    def host_at(self, url: str) -> GitLFSHost:
        return GitLFSHost(url)

    @contextmanager
    def serving(self, files: Mapping[str, bytes]) -> Iterator[GitLFSHost]:
        self.lfs = self._start()
        writer = self.token("obj:team/data/*:read,write,verify") if self.private else ""
        try:
            with served(files, self.lfs.url, "team/data", Path(), writer) as host:
                yield host
        finally:
            self.lfs.stop()

    def token(self, scope: str) -> str:
        raise NotImplementedError


class TestPrivateGitLFSHost(TestGitLFSHost):
    """The same with a server that wants a token."""

    private = True

    @pytest.fixture(autouse=True)
    def make_tokens(self, lfs_token: Callable[[str], str]) -> None:
        self._token = lfs_token

    def token(self, scope: str) -> str:
        return self._token(scope)

    def settings(self) -> Settings:
        return Settings(hosts={f"127.0.0.1:{self.lfs.port}": {"token": self.token("obj:team/data/*:read")}})


def fetched(package: str, names: Sequence[str]) -> dict[str, bytes]:
    data = PackageData(package, show_progress=False)
    return {name: Path(path).read_bytes() for name, path in zip(names, data.fetch(names), strict=True)}


FILES = {"maps/a.fits": b"a" * 5000, "b c/Übersicht.fits": b"b" * 70_000}


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
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TransferError, match=r"(?i)large|bytes|MB|MiB"):
            host.look_up({"a.fits": entry}, Settings())
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
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


def test_two_folders_of_one_repository(tmp_path: Path) -> None:
    """Members publish into folders of their own; each folder gets all files, and no push is forced."""
    repository = bare(tmp_path / "data.git")
    folders = [work_tree(tmp_path / name, f"file://{repository}") for name in ("one", "two")]
    first, second = (a_file(tmp_path / f"{n}.src", os.urandom(10_000 + n)) for n in (1, 2))
    with RangeServer(folders[0]) as one, RangeServer(folders[1]) as two:
        to = [f"folder:{f}?url={s.url}&lfs=1" for f, s in zip(folders, (one, two), strict=True)]
        publish({"maps/a.fits": first}, to[0], tmp_path / "1.toml", progress=False)
        # the second folder has not seen that
        publish({"maps/b.hdf5": second}, to[1], tmp_path / "2.toml", progress=False)
        assert (folders[1] / "maps/a.fits").read_bytes() == first.read_bytes()
        assert stat.S_IMODE((folders[1] / "maps/a.fits").stat().st_mode) == 0o444
        assert "maps/a.fits" in (folders[1] / "SHA256SUMS").read_text()
        # somebody commits by hand in the first one, and did not push
        a_file(folders[0] / "by hand.fits", b"hand" * 1000)
        git(folders[0], "add", "by hand.fits")
        git(folders[0], "commit", "-q", "-m", "by hand")
        third = a_file(tmp_path / "3.src", b"no suffix")
        publish({"README first": third}, to[0], tmp_path / "1.toml", progress=False)
        assert (folders[0] / "maps/b.hdf5").read_bytes() == second.read_bytes()
        for folder in folders[:1]:
            assert git(folder, "status", "--porcelain") == ""
    got = clone(f"file://{repository}", tmp_path / "clone")
    assert got == {
        "README first": b"no suffix",
        "by hand.fits": b"hand" * 1000,
        "maps/a.fits": first.read_bytes(),
        "maps/b.hdf5": second.read_bytes(),
    }
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folders[0], check=True)


def test_a_push_that_loses_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another member pushes between fetch and push; the same name with other bytes is a conflict even then."""
    from dataferry.hosts.git import Branch

    repository = bare(tmp_path / "data.git")
    one, two = (work_tree(tmp_path / name, f"file://{repository}") for name in ("one", "two"))
    a, b = (a_file(tmp_path / f"{n}.src", os.urandom(1000)) for n in (1, 2))
    push, times = Branch.push, [0]
    with RangeServer(one) as first, RangeServer(two) as second:
        to_one, to_two = (f"folder:{f}?url={s.url}&lfs=1" for f, s in ((one, first), (two, second)))

        def late(self: Branch, commit: str, **options: Any) -> bool:
            if not options:
                times[0] += 1
                if times[0] == 1:
                    publish({"theirs.fits": b}, to_two, tmp_path / "2.toml", progress=False)
            return push(self, commit, **options)

        monkeypatch.setattr(Branch, "push", late)
        publish({"ours.dat": a}, to_one, tmp_path / "1.toml", progress=False)
        assert times[0] == 3
        assert (one / "theirs.fits").read_bytes() == b.read_bytes()
        with pytest.raises(Conflict):
            publish({"ours.dat": b}, to_two, tmp_path / "2.toml", progress=False)
    assert sorted(clone(f"file://{repository}", tmp_path / "clone")) == ["ours.dat", "theirs.fits"]
    lines = git(repository, "show", "main:.gitattributes").splitlines()
    assert len(lines) == 2 and all("filter=lfs" in line for line in lines)


def test_over_http_with_a_token(
    tmp_path: Path, git_http: Callable[..., Any], giftless: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token reaches git and is written nowhere; without it nothing is copied."""
    repository = bare(tmp_path / "git" / "team" / "data.git")
    server = git_http(tmp_path / "git", tokens={TOKEN: "write", "reader": "read"})
    lfs = giftless(tmp_path / "store")
    www = work_tree(tmp_path / "www", f"{server.url}team/data.git")
    git(www, "config", "lfs.url", f"{lfs.url}team/data.git/info/lfs")
    git(www, "config", "lfs.locksverify", "false")
    source = a_file(tmp_path / "a", os.urandom(50_000))
    with RangeServer(www) as web:
        to, registry = f"folder:{www}?url={web.url}&lfs=1", tmp_path / "r.toml"
        for token in ("", "wrong", "reader"):
            monkeypatch.setenv("GIT_TOKEN", token)
            with pytest.raises(AccessDenied) as caught:
                publish({"a.fits": source}, to, registry, progress=False)
            assert "GIT_TOKEN" in caught.value.remedy
            assert not (www / "a.fits").exists()
        monkeypatch.setenv("GIT_TOKEN", TOKEN)
        publish({"a.fits": source}, to, registry, progress=False)
    assert git(repository, "ls-tree", "-r", "--name-only", "main").split() == [".gitattributes", "a.fits"]
    for path in (*www.rglob("*"), *tmp_path.glob("*.toml")):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_detected_without_being_told(tmp_path: Path) -> None:
    repository = bare(tmp_path / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    source = a_file(tmp_path / "a", b"a" * 1000)
    with RangeServer(www) as web:
        to = f"folder:{www}?url={web.url}"
        publish({"a.fits": source}, to, tmp_path / "r.toml", progress=False)
        assert git(repository, "rev-list", "--count", "--all") == "0"
        a_file(www / ".gitattributes", b"*.fits filter=lfs diff=lfs merge=lfs -text\n")
        publish({"b.fits": source}, to, tmp_path / "r.toml", progress=False)
        assert git(repository, "ls-tree", "--name-only", "main").split() == [".gitattributes", "b.fits"]
        publish({"c.fits": source}, f"{to}&lfs=0", tmp_path / "r.toml", progress=False)
        assert git(repository, "rev-list", "--count", "--all") == "1"


def test_a_repository_without_a_remote(tmp_path: Path) -> None:
    """As the seed makes its folder: git init, git lfs track, git add, git commit. It is committed there alone."""
    www = tmp_path / "www"
    www.mkdir()
    git(www, "init", "-q", "-b", "main", ".")
    git(www, "lfs", "install", "--local")
    git(www, "lfs", "track", "*.fits")
    a_file(www / "old.fits", b"old" * 1000)
    git(www, "add", ".")
    git(www, "commit", "-q", "-m", "data")
    new, empty = a_file(tmp_path / "new", b"new" * 2000), a_file(tmp_path / "empty", b"")
    with RangeServer(www) as web:
        to, registry = f"folder:{www}?url={web.url}", tmp_path / "r.toml"
        who = make_host(to).publisher(Settings(), {}).check_rights()
        assert "pushed nowhere: the repository has no remote" in who
        outcome = publish({"maps/new.fits": new, "empty.fits": empty}, to, registry, progress=False)
        assert all(file.proven for file in outcome.files)
        publish({"maps/new.fits": new}, to, registry, progress=False)
    assert git(www, "status", "--porcelain") == ""
    assert git(www, "rev-list", "--count", "HEAD") == "2"
    assert git(www, "show", "HEAD:maps/new.fits").startswith("version https://git-lfs")
    assert sorted(git(www, "lfs", "ls-files", "-n").splitlines()) == ["maps/new.fits", "old.fits"]
    assert git(www, "lfs", "fsck").endswith("OK")
    got = clone(f"file://{www}", tmp_path / "clone")
    assert got == {"old.fits": b"old" * 1000, "maps/new.fits": new.read_bytes(), "empty.fits": b""}


def test_a_repository_that_the_web_server_gives_away(tmp_path: Path, nginx: Callable[..., Any]) -> None:
    www = tmp_path / "www"
    www.mkdir()
    git(www, "init", "-q", "-b", "main", ".")
    a_file(www / ".gitattributes", b"*.fits filter=lfs diff=lfs merge=lfs -text\n")
    for extra, served in (("", True), ("location ~ /\\.git { return 404; }", False)):
        publisher = make_host(f"folder:{www}?url={nginx(www, extra=extra).url}").publisher(Settings(), {})
        publisher.check_rights()
        assert ("return 404" in " ".join(publisher.remarks([]))) is served


def test_what_is_wrong_with_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no remote, on no branch, no git-lfs: each says what to do."""
    www = tmp_path / "www"
    www.mkdir()

    def said() -> str:
        with pytest.raises(PublishError) as caught:
            make_host(f"folder:{www}?url=http://127.0.0.1:1/&lfs=1").publisher(Settings(), {}).check_rights()
        return str(caught.value)

    assert "git lfs install --local" in said()
    git(www, "init", "-q", "-b", "main", ".")
    assert "git remote add origin URL" in said()
    git(www, "remote", "add", "origin", f"file://{tmp_path}/none.git")
    assert "none.git" in said()
    bare(tmp_path / "none.git")
    git(www, "commit", "-q", "--allow-empty", "-m", "x")
    git(www, "checkout", "-q", "--detach")
    assert "on no branch" in said()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "apt install git-lfs" in said()


@pytest.mark.nightly
def test_killed_at_any_time(tmp_path: Path) -> None:
    """SIGKILL at random times, between copy, lists, objects, commit and push; in the end all is there once."""
    repository = bare(tmp_path / "data.git")
    www = work_tree(tmp_path / "www", f"file://{repository}")
    files = {f"maps/{n}.fits": os.urandom(300_000 + n) for n in range(6)}
    paths = {name: str(a_file(tmp_path / "src" / name, data)) for name, data in files.items()}
    with RangeServer(www) as server:
        script = (
            "from dataferry.publish import publish\n"
            f"publish({paths!r}, 'folder:{www}?url={server.url}&lfs=1', {str(tmp_path / 'r.toml')!r}, progress=False)"
        )
        words = [sys.executable, "-c", script]
        for _ in range(40):
            process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                process.wait(random.uniform(0.2, 2.0))
                (tmp_path / "r.toml").unlink(missing_ok=True)  # begin again with the registry
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert git(www, "status", "--porcelain") == ""
    assert clone(f"file://{repository}", tmp_path / "clone") == files
    assert git(repository, "rev-list", "--count", "--all") == "1"
    assert not [path for path in www.rglob(".dataferry-*") if ".git" not in path.relative_to(www).parts]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=www, check=True)
